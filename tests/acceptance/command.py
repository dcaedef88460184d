"""The real command as a user runs it, to its end or while it goes on: no secret may be said."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline import standby
from tests.processes import children, title_of, until

ROOT = Path(__file__).parents[2]
# Settings that make a test run quick; everything else is as a user has it.
QUICK = {"BATCH_TIMEOUT": "1", "OPS_PORT": "0", "LOG_FORMAT": "json", "NUM_PROCESSES": "2"}
# Of the machine's own environment, what a command keeps.
KEPT = ("PATH", "HOME", "LANG", "AZURE_COLLECTOR_CACHE")
# Nothing listens on this port of loopback.
CLOSED_PORT = 1
# An account key that is well formed and opens nothing.
OTHER_KEY = base64.b64encode(b"of another account" * 3).decode()
# Every dependency that is away has to be told within this time.
START_LIMIT_S = 30.0
END_LIMIT_S = 60.0


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A clean environment with these settings: none of the machine's own reach the collector."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), **QUICK, **settings}


# ── to its end ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """All it printed."""
        return self.out + self.err

    def assert_ended(self, code: int, *words: str) -> None:
        """It ended with this code, and said these words on standard error."""
        assert self.code == code, self.said
        assert [word for word in words if word not in self.err] == [], self.err


def command(
    arguments: Sequence[str],
    settings: Mapping[str, str],
    *,
    stdin: str = "",
    cwd: Path = ROOT,
    limit_s: float = 60.0,
    secrets: Sequence[str] = (),
) -> Ended:
    """Run ``python -m pipeline`` to its end; none of the settings' secrets may be in its output.

    Args:
        arguments: of the command.
        settings: its environment.
        stdin: what it reads.
        cwd: folder it runs in.
        limit_s: seconds it may take.
        secrets: more texts that must not be in its output.
    """
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        env=environment(settings),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began_s)
    assert_no_secret(ended.said, settings, secrets)
    return ended


def collect(settings: Mapping[str, str], *, limit_s: float = 120.0) -> None:
    """Run the collector until the queue is empty; it has to end with 0."""
    ended = command(["--until-empty"], settings, limit_s=limit_s)
    assert ended.code == 0, ended.out[-4000:] + ended.err[-4000:]


# ── while it goes on ─────────────────────────────────────────────────────────────────────────────


class Running:
    """A collector that runs: the supervisor's process, its output, its stages."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """Standard output and standard error so far."""
        return self._output.read_text()

    def stages(self) -> dict[str, int]:
        """Process ids of the stages, by name, e.g. ``execute 0``."""
        return stages_of(self.process.pid)

    def await_stages(self, count: int = 5) -> dict[str, int]:
        """All stages, once they have their names and messages are taken."""
        until(lambda: '"action":"started"' in self.output, what=self.output)
        found: dict[str, int] = until(lambda: (s := self.stages()) and len(s) == count and s)
        return found

    def await_standby(self) -> int:
        """Process id of the one that stands by for ``load``, once it has imported all and waits."""
        name = f"{standby.TITLE}: load"
        found = until(lambda: [p for p in children(self.process.pid) if title_of(p) == name])
        return int(found[0])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, limit_s: float = END_LIMIT_S) -> int:
        """Wait for the end; the exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output[-6000:]) from None


@contextmanager
def collector(
    settings: Mapping[str, str], output: Path, *arguments: str, module: str = "pipeline"
) -> Iterator[Running]:
    """Start ``python -m pipeline``, and look for the settings' secrets in its output afterwards."""
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment(settings),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        running = Running(process, output)
        try:
            yield running
        finally:
            process.kill()
    assert_no_secret(running.output, settings)


def stages_of(supervisor: int) -> dict[str, int]:
    """Process ids of a supervisor's stages, by name."""
    titles = {pid: title_of(pid) for pid in children(supervisor)}
    prefix = "azure-collector: "
    return {
        title.removeprefix(prefix): pid for pid, title in titles.items() if title.startswith(prefix)
    }


# ── secrets and endpoints ────────────────────────────────────────────────────────────────────────


def assert_no_secret(said: str, settings: Mapping[str, str], secrets: Sequence[str] = ()) -> None:
    """None of the settings' secrets, nor these, is in what was said."""
    leaked = [secret for secret in [*secrets_in(settings), *secrets] if secret in said]
    assert not leaked, said


def secrets_in(settings: Mapping[str, str]) -> list[str]:
    """The secrets of an environment: keys, passwords, tokens."""
    names = ("_PASSWORD", "_TOKEN", "_SECRET", "_PRIVATE_KEY", "_CONNECTION_STRING")
    values = [
        value
        for name, value in settings.items()
        if name.endswith(names) and not value.startswith("kv:")
    ]
    keys = [key for value in values for key in re.findall(r"AccountKey=([^;]+)", value)]
    return [secret for secret in [*values, *keys] if secret]


def with_key(connection_string: str, key: str) -> str:
    """The connection string with another account key."""
    return re.sub("AccountKey=[^;]*", f"AccountKey={key}", connection_string)


def with_endpoint(connection_string: str, endpoint: str) -> str:
    """The connection string with another queue endpoint, without the account at its end."""
    return re.sub("QueueEndpoint=[^;]*", f"QueueEndpoint={endpoint}/sandbox", connection_string)

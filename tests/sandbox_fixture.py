"""A sandbox that tests share, and the real command run against it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.sandbox.runner import Sandbox, create_queues

ROOT = Path(__file__).parents[1]
END_LIMIT_S = 60.0
POLL_S = 0.02


def until(condition: Callable[[], Any], limit_s: float = 30.0, what: str = "") -> Any:
    """Poll until the condition holds, and return what it gave."""
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, what or "it did not come to be in time"
        time.sleep(POLL_S)
    return found


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests that keep to a queue, spool and message ids of their own."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sandbox(folder, arm_options=["--subscriptions", "8", "--vms", "6"]) as sandbox:
        yield sandbox


@pytest.fixture
def settings(shared_sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Environment of a collector in the shared sandbox, with a queue and a spool of its own."""
    name = f"q-{secrets.token_hex(4)}"
    create_queues(shared_sandbox.settings["AZURE_QUEUE_CONNECTION_STRING"], name)
    return {
        **shared_sandbox.settings,
        "AZURE_QUEUE_NAME": name,
        "SPOOL_DIR": str(tmp_path / "spool"),
        "NUM_PROCESSES": "2",
        "BATCH_TIMEOUT": "0.3",
        "BATCH_SIZE": "100",
        "OPS_PORT": "0",
        "LOG_FORMAT": "json",
    }


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
        found = {}
        for pid in children(self.process.pid):
            title = title_of(pid)
            if title.startswith("azure-collector: "):
                found[title.removeprefix("azure-collector: ")] = pid
        return found

    def await_stages(self, count: int = 5) -> dict[str, int]:
        """All stages, once they have their names and messages are taken."""
        until(lambda: '"action":"started"' in self.output, what=self.output)
        return until(lambda: (s := self.stages()) and len(s) == count and s)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, limit_s: float = END_LIMIT_S) -> int:
        """Wait for the end; the exit code."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.output[-6000:]) from None


@contextmanager
def collector(settings: Mapping[str, str], output: Path, *arguments: str) -> Iterator[Running]:
    """Start ``python -m pipeline`` with these settings and nothing of the machine's own."""
    kept = {n: os.environ[n] for n in ("PATH", "HOME", "LANG") if n in os.environ}
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            env={**kept, **settings},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield Running(process, output)
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(number) for number in listed.split()]


def title_of(pid: int) -> str:
    """What ``ps`` shows of a process; "" once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that waits to be reaped has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"

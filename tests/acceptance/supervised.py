"""The collector as a service of a host: the project's ``supervisord.conf`` under supervisord."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import secrets_seen
from tests.acceptance.command import ROOT, environment, stages_of
from tests.processes import children, title_of, until

CONF = ROOT / "supervisord.conf"
SUPERVISOR = "azure-collector: supervisor"
STAGES = 5
DRAIN_TIMEOUT_S = 10
CONTROL_LIMIT_S = 30.0
# Of the collector, as the conf names it.
LOG = "azure-collector.log"


class Supervisord:
    """A supervisord that runs, with the collector as its program."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.log_file = folder / LOG

    @property
    def log(self) -> str:
        """What the collector has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def logged(self, text: str) -> bool:
        """Whether a log file of any program has this text, rotated ones included."""
        for path in self.folder.glob("*.log*"):
            # A rotation may just have given it another name.
            with contextlib.suppress(FileNotFoundError):
                if text in path.read_text():
                    return True
        return False

    @property
    def said(self) -> str:
        """What supervisord has said of itself."""
        return (self.folder / "supervisord.out").read_text()

    def collectors(self) -> list[int]:
        """Process ids of the supervisors of all collectors."""
        return [pid for pid in children(self.process.pid) if title_of(pid) == SUPERVISOR]

    def collector(self) -> int | None:
        """Process id of the collector's supervisor."""
        return next(iter(self.collectors()), None)

    def control(self, *arguments: str) -> str:
        """What ``supervisorctl`` answers."""
        ended = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", CONF.name, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=CONTROL_LIMIT_S,
            check=False,
        )
        return ended.stdout + ended.stderr

    def await_collecting(self, times: int = 1) -> tuple[int, list[int]]:
        """Process ids of the collector's supervisor and of its stages, once they collect."""
        until(lambda: self.log.count('"action":"started"') >= times, what=self.log)
        pid: int = until(self.collector)
        stages: dict[str, int] = until(
            lambda: (found := stages_of(pid)) and len(found) == STAGES and found
        )
        return pid, list(stages.values())


@contextmanager
def supervisord(
    settings: dict[str, str], folder: Path, edit: Callable[[str], str] = str
) -> Iterator[Supervisord]:
    """Run it in the foreground on a copy of the conf, as a user does.

    Args:
        settings: the collector's environment; the spool is where the conf has it.
        folder: of the copy, the log and the spool.
        edit: what the user changes in the copy.
    """
    (folder / CONF.name).write_text(edit(CONF.read_text("utf-8")), "utf-8")
    secrets_seen.file(folder / LOG, secrets_seen.where())
    env = environment({**settings, "DRAIN_TIMEOUT": str(DRAIN_TIMEOUT_S)})
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    del env["SPOOL_DIR"]
    with (
        (folder / "supervisord.out").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / CONF.name)],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        ) as process,
    ):
        up = Supervisord(process, folder)
        try:
            yield up
        finally:
            groups = up.collectors()
            process.kill()
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)

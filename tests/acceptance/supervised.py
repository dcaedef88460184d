"""The collector as a service of a host: the project's ``supervisord.conf`` under supervisord."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.command import ROOT, environment, stages_of
from tests.processes import children, title_of, until

CONF = ROOT / "supervisord.conf"
SUPERVISOR = "azure-collector: supervisor"
STAGES = 5
DRAIN_TIMEOUT_S = 10


class Supervisord:
    """A supervisord that runs, with the collector as its one program."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.log_file = folder / "azure-collector.log"

    @property
    def log(self) -> str:
        """What the collector has logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def said(self) -> str:
        """What supervisord has said of itself."""
        return (self.folder / "supervisord.out").read_text()

    def collector(self) -> int | None:
        """Process id of the collector's supervisor."""
        return next((p for p in children(self.process.pid) if title_of(p) == SUPERVISOR), None)

    def await_collecting(self, times: int = 1) -> tuple[int, list[int]]:
        """Process ids of the collector's supervisor and of its stages, once they collect."""
        until(lambda: self.log.count('"action":"started"') >= times, what=self.log)
        pid: int = until(self.collector)
        stages: dict[str, int] = until(
            lambda: (found := stages_of(pid)) and len(found) == STAGES and found
        )
        return pid, list(stages.values())


@contextmanager
def supervisord(settings: dict[str, str], folder: Path) -> Iterator[Supervisord]:
    """Run it in the foreground on a copy of the conf, as a user does.

    Args:
        settings: the collector's environment; the spool is where the conf has it.
        folder: of the copy, the log and the spool.
    """
    shutil.copy(CONF, folder)
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
            group = up.collector()
            process.kill()
            if group is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)

"""Places for collectors on one host: in each one runs, ends or is ended, and another is started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.acceptance.chaos.events import EventLog
from tests.acceptance.chaos.strikes import Target
from tests.acceptance.command import ROOT, environment
from tests.processes import is_gone


class Seat:
    """One place; a context manager that leaves no process behind.

    Args:
        name: of its log file.
        settings: of its collectors, whose LOG_LEVEL is DEBUG.
        folder: for the log of all that sit here, one after another.

    Attributes:
        starts: collectors started here.
        drains: of them, ended by SIGTERM.
        exits: how they ended, by exit code; negative is a signal.
        target: the one that sits here now.
    """

    def __init__(self, name: str, settings: Mapping[str, str], folder: Path) -> None:
        self.starts = 0
        self.drains = 0
        self.exits: Counter[int] = Counter()
        self._settings = dict(settings)
        self._file = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._draining = False
        # Monotonic time of the next start, None for never.
        self._next_start_s: float | None = None
        port = urlsplit(settings["AZURE_ARM_ENDPOINT"]).port or 0
        self.target = Target(EventLog(self._file), self._supervisor, port)

    @property
    def taken(self) -> bool:
        """A collector sits here, whatever it does."""
        return self._process is not None

    @property
    def collecting(self) -> bool:
        """All stages of the collector have stood, and it is not drained."""
        begun = self.target.log.first("started", self._started_s) is not None
        return self.taken and begun and not self._draining

    def start(self) -> None:
        """Start a collector."""
        self._next_start_s = None
        self._draining = False
        self._started_s = time.time()
        self.starts += 1
        with self._file.open("ab") as log, self._file.with_suffix(".err").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline"],
                env=environment(self._settings),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
            )

    def look(self, again_s: float) -> None:
        """See whether the collector has ended, and start another when it is time.

        Args:
            again_s: seconds from an end to the next start.
        """
        now_s = time.monotonic()
        if self._process is not None and (code := self._process.poll()) is not None:
            self.exits[code] += 1
            self._process = None
            self._next_start_s = now_s + again_s
        if self._next_start_s is not None and now_s >= self._next_start_s:
            self.start()

    def drain(self) -> None:
        """Ask the collector to end."""
        if self._process is not None and not self._draining:
            self._process.send_signal(signal.SIGTERM)
            self._draining = True
            self.drains += 1

    def await_end(self, limit_s: float) -> int | None:
        """Wait for the collector's end, and let nobody else sit here; its exit code."""
        self._next_start_s = None
        if self._process is None:
            return None
        code = self._process.wait(limit_s)
        self.exits[code] += 1
        self._process = None
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _supervisor(self) -> int | None:
        return self._process.pid if self._process is not None else None


def processes_with(name: str, value: str) -> list[int]:
    """Process ids of those that run with this in their environment."""
    mark = f"{name}={value}".encode()
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            there = mark in file.read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        if there and not is_gone(int(file.parent.name)):
            found.append(int(file.parent.name))
    return found

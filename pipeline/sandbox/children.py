"""A started program of the sandbox: its ready line, the tail of its output, its death, its end.

Each child gets a pipe as standard input that nobody writes to; it ends when the pipe closes, so
none outlives this process (see ``lifeline``). It runs in a session of its own: Ctrl-C on a terminal
goes to the collector, which needs the sandbox until it has drained.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import SandboxError

# What is kept of a child's output for an error text.
TAIL_LINES = 30
LINE_BYTES = 2000
# From SIGTERM to SIGKILL.
STOP_LIMIT_S = 5.0
# For the kernel to hand over what a killed process left.
REAP_LIMIT_S = 5.0

OnDeath = Callable[[str], None]


class Child:
    """A running program. Starts at once.

    Args:
        name: what to call it in an error, e.g. ``Azurite``.
        command: program and arguments.
        ready: what the line looks like that says it can be used; its match is kept.
        env: its whole environment; this process's if not given.
        cwd: its working folder; this process's if not given.
        on_death: called once, from another thread, with a text if it ends without being stopped
            after it was ready.

    Raises:
        SandboxError: the program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: re.Pattern[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_death: OnDeath | None = None,
    ) -> None:
        self.name = name
        self._ready_pattern = ready
        self._on_death = on_death
        self._ready: re.Match[str] | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._ended = False
        self._stopping = False
        self._news = threading.Condition()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"{name} could not be started: {error}") from error
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def await_ready(self, limit_s: float) -> re.Match[str]:
        """Wait for the ready line.

        Args:
            limit_s: seconds from now.

        Raises:
            SandboxError: it ended, or said nothing of the kind in time; with its last output.
        """
        with self._news:
            self._news.wait_for(lambda: self._ready or self._ended, timeout=limit_s)
            ready, ended = self._ready, self._ended
        if ready is not None:
            return ready
        if ended:
            raise SandboxError(self.obituary())
        raise SandboxError(f"{self.name} was not ready after {limit_s:.0f} s{self._last_output()}")

    def wait(self, limit_s: float) -> int | None:
        """Wait for its end.

        Returns:
            Its exit code (negative: the signal that ended it), or None if it runs still.
        """
        deadline = time.monotonic() + limit_s
        try:
            code = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        self._reader.join(max(0.0, deadline - time.monotonic()))  # so that the tail is whole
        return code

    def tail(self) -> str:
        """The last lines it wrote, standard output and standard error together."""
        with self._news:
            return "\n".join(self._tail)

    def obituary(self) -> str:
        """How it ended and what it said last."""
        code = self._process.poll()
        if code is None:
            how = "closed its output"
        elif code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return f"{self.name} {how}{self._last_output()}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM and do not wait."""
        self._stopping = True
        if self.alive:
            self._process.terminate()

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """End it: SIGTERM, then SIGKILL after ``limit_s`` seconds. Harmless when repeated."""
        self.ask_to_stop()
        if self.wait(limit_s) is None:
            self._process.kill()
            self.wait(REAP_LIMIT_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A reader that is stuck holds the buffer's lock, and closing it would wait for ever.
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def _last_output(self) -> str:
        tail = self.tail()
        return "; its last output:\n" + tail if tail else "; it wrote nothing"

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # asked for above
        while raw := stdout.readline(LINE_BYTES):
            line = raw.decode("utf-8", "replace").rstrip()
            with self._news:
                self._tail.append(line)
                if self._ready is None and self._ready_pattern is not None:
                    self._ready = self._ready_pattern.search(line)
                self._news.notify_all()
        # Its output closes a moment before it can be waited for.
        self._await_exit()
        with self._news:
            self._ended = True
            self._news.notify_all()
        if self._ready is not None and not self._stopping and self._on_death is not None:
            self._on_death(self.obituary())

    def _await_exit(self) -> None:
        try:
            self._process.wait(REAP_LIMIT_S)
        except subprocess.TimeoutExpired:
            return


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours as a child that ends with its parent."""
    return [sys.executable, "-m", "pipeline.sandbox.lifeline", module, *arguments]

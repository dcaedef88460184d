"""One stage process as the supervisor sees it: started, answering, ready, dead."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from multiprocessing.process import BaseProcess

from pipeline.config import Config
from pipeline.launch import Launched, launch
from pipeline.links import ControlLink
from pipeline.messages import AnyLink, Attach, Heartbeat

# Restarts: the first at once, then doubling.
RESTART_FIRST_DELAY_S = 0.25
RESTART_MAX_DELAY_S = 30.0
# A process that stood this long after it was ready was no crash loop.
STABLE_S = 5.0
# Deaths in a row without standing STABLE_S that make a crash loop.
CRASH_LOOP_DEATHS = 8


class Child:
    """A stage process and all that have stood in its place before.

    Args:
        name: ``fetch``, ``execute-0``, …
        config: settings for it.
    """

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.generation = 0
        self.ready = False
        self.drained = False
        self.idle = False
        self.beaten = False
        self.last_beat_s = 0.0
        self.gauges: dict[str, float] = {}
        self.restarts = 0
        self._config = config
        self._process: BaseProcess | None = None
        self._control: ControlLink | None = None
        self._counters: dict[str, float] = {}
        self._past_counters: Counter[str] = Counter()
        self._deaths_in_a_row = 0
        self.ready_since_s = 0.0

    def start(self, now_s: float, standby: Launched | None = None) -> socket.socket:
        """Have a process in this place; return the supervisor's end of its control link.

        Args:
            now_s: monotonic seconds.
            standby: one that stands by for it; another is started if not given.
        """
        self.generation += 1
        self.restarts = self.generation - 1
        self.ready = self.drained = self.idle = self.beaten = False
        self.last_beat_s = now_s
        launched = standby or launch(self.name, self._config)
        self._process = launched.process
        return launched.control

    def control(self, link: ControlLink) -> None:
        """Take over the supervisor's end of the control link."""
        self._control = link

    def send(self, message: AnyLink) -> None:
        """Send over the control link; dropped when the process is gone."""
        if self._control is not None:
            self._control.send(message)

    def attach(self, peer: Child, end: socket.socket) -> None:
        """Hand this process its end of a link to a peer."""
        if self._control is not None:
            self._control.send(Attach(peer.name, peer.generation), [end.fileno()])

    @property
    def alive(self) -> bool:
        """A process stands in this place."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Process id, or None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the process has ended."""
        assert self._process is not None
        return self._process.sentinel

    def became_ready(self, now_s: float) -> None:
        """The process said that it stands."""
        self.ready = True
        self.ready_since_s = now_s

    def beat(self, beat: Heartbeat, now_s: float) -> None:
        """Take in a heartbeat."""
        self.beaten = True
        self.last_beat_s = now_s
        self.idle = beat.idle
        self._counters = beat.counters
        self.gauges = beat.gauges

    def totals(self) -> Counter[str]:
        """Counters of all processes that have stood in this place."""
        total = self._past_counters.copy()
        total.update(self._counters)
        return total

    def reap(self, now_s: float, counted: bool = True) -> str:
        """Clean up after the process ended; return the cause in words.

        Args:
            now_s: monotonic seconds.
            counted: this death may be part of a crash loop.
        """
        assert self._process is not None
        self._process.join()
        cause = _cause(self._process.exitcode)
        self._process.close()
        self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None
        stood = self.ready and now_s - self.ready_since_s >= STABLE_S
        if stood:
            self._deaths_in_a_row = 0
        if counted:
            self._deaths_in_a_row += 1
        self._past_counters = self.totals()
        self._counters = {}
        self.gauges = {}
        self.ready = self.idle = False
        return cause

    def excuse(self) -> None:
        """The last death was no fault of the process's own."""
        self._deaths_in_a_row = max(0, self._deaths_in_a_row - 1)

    def kill(self) -> None:
        """SIGKILL, if it is there."""
        if self._process is not None:
            self._process.kill()

    @property
    def crash_loop(self) -> bool:
        """It died again and again without ever standing."""
        return self._deaths_in_a_row >= CRASH_LOOP_DEATHS

    @property
    def restart_delay_s(self) -> float:
        """How long to wait before the next start."""
        if self._deaths_in_a_row <= 1:
            return 0.0
        return min(RESTART_MAX_DELAY_S, RESTART_FIRST_DELAY_S * 2.0 ** (self._deaths_in_a_row - 2))


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        try:
            return f"killed by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"killed by signal {-exit_code}"
    return f"exit code {exit_code}"

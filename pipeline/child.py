"""One stage process as the supervisor sees it: started, answering, ready, dead."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter, deque
from multiprocessing.process import BaseProcess

from pipeline.config import Config
from pipeline.launch import Launched, launch
from pipeline.links import ControlLink
from pipeline.messages import AnyLink, Attach, Heartbeat, LogEvent, ScopeLevel
from pipeline.metrics.merged import Merged, add_histogram

# Restarts: the first at once, then doubling.
RESTART_FIRST_DELAY_S = 0.25
RESTART_MAX_DELAY_S = 30.0
# A process that stood this long after it was ready was no crash loop.
STABLE_S = 5.0
# Log events of a process that are kept.
EVENTS_KEPT = 50
# Deaths in a row without standing STABLE_S that make a crash loop.
CRASH_LOOP_DEATHS = 8


class Child:
    """A stage process and all that have stood in its place before.

    Args:
        name: ``fetch``, ``execute-0``, …
        config: settings for it.

    Attributes:
        gauges: by series, of the last heartbeat.
        reached: by dependency, of the last heartbeat; see :class:`Heartbeat`.
        scopes: of the last heartbeat that told of them.
        events: the last ones of its log.
        last_cause: of its last death, in words; "" if none has died.
        last_died_at_s: when that was, in seconds since 1970.
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
        self.reached: dict[str, float | None] = {}
        self.scopes: list[ScopeLevel] = []
        self.events: deque[LogEvent] = deque(maxlen=EVENTS_KEPT)
        self.last_cause = ""
        self.last_died_at_s = 0.0
        self.restarts = 0
        self._config = config
        self._process: BaseProcess | None = None
        self._control: ControlLink | None = None
        self._merged = Merged()
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
        self._merged.take(beat.counters, beat.histograms)
        self.gauges = beat.gauges
        self.reached = beat.reached
        self.events.extend(beat.events)
        if beat.scopes is not None:
            self.scopes = beat.scopes

    def totals(self) -> Counter[str]:
        """Counters of all processes that have stood in this place."""
        return self._merged.counters()

    def add_histograms(self, total: dict[str, list[float]]) -> None:
        """Add the histograms of all processes that have stood in this place to these."""
        for series, counted in self._merged.histograms().items():
            add_histogram(total, series, counted)

    def hear_out(self) -> None:
        """Take in what a process that has died had still said."""
        if self._control is not None:
            self._control.read_rest()

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
        self._merged.ended()
        self.gauges = {}
        self.reached = {}
        self.scopes = []
        self.last_cause = cause
        self.last_died_at_s = time.time()
        self.ready = self.idle = False
        return cause

    def not_started(self) -> None:
        """The system gave no process for this place: one more death in a row."""
        self._deaths_in_a_row += 1

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

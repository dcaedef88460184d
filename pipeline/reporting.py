"""What a stage tells the supervisor with each heartbeat."""

from __future__ import annotations

import time
from typing import Protocol

from pipeline.links import DataLink
from pipeline.log_events import LogEvents
from pipeline.messages import Heartbeat, ScopeLevel
from pipeline.metrics.link_fill import fill_ratio
from pipeline.metrics.series import series_of
from pipeline.metrics.store import Store

# What is long to look up is told so often.
SCOPES_EVERY_S = 2.0


class Reported(Protocol):
    """A stage, as far as it is reported on."""

    name: str
    metrics: Store
    links: dict[str, DataLink]

    def idle(self) -> bool: ...

    def gauges(self) -> dict[str, float]: ...

    def reached(self, now_s: float) -> dict[str, float | None]: ...

    def scope_levels(self, now_s: float) -> list[ScopeLevel]: ...


class Reporting:
    """The heartbeats of one process.

    Args:
        stage: whose they are.

    Attributes:
        events: what it has logged.
    """

    def __init__(self, stage: Reported) -> None:
        self.events = LogEvents(stage.name)
        self._stage = stage
        self._cpu = series_of("process_cpu_seconds_total", stage.name)
        self._scopes_due_s = 0.0

    def heartbeat(self, now_s: float, *, last: bool = False) -> Heartbeat:
        """How things are.

        Args:
            now_s: monotonic seconds.
            last: the process ends.
        """
        stage = self._stage
        self.events.count(stage.metrics.counters)
        counters = stage.metrics.changed_counters()
        counters[self._cpu] = time.process_time()
        scopes = None
        if now_s >= self._scopes_due_s:
            self._scopes_due_s = now_s + SCOPES_EVERY_S
            scopes = stage.scope_levels(now_s)
        return Heartbeat(
            idle=stage.idle(),
            counters=counters,
            gauges=stage.gauges() | self._links(),
            histograms=stage.metrics.changed_histograms(),
            reached=stage.reached(now_s),
            events=self.events.take(now_s, everything=last),
            scopes=scopes,
        )

    def _links(self) -> dict[str, float]:
        name = self._stage.name
        return {
            series_of("link_fill_ratio", name, peer): fill_ratio(link.sock)
            for peer, link in self._stage.links.items()
        }

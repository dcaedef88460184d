"""What an execute process tells of its requests and calls: a fraction of a microsecond each.

But for spans, which cost some tens of them, and are made only if they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, TypeVar

from pipeline.messages import Outcome
from pipeline.metrics.series import series_of
from pipeline.metrics.store import Cell, Histogram, Store
from stages.execute.run import RequestRun
from stages.execute.traced import trace_request

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

SHARED_ANSWERS = series_of("shared_answers_total")
HELD_BACK = series_of("requests_held_back_total")
# A call without a whole answer.
NO_ANSWER = "error"
# Combinations that are looked up at once. The store bounds its own; what comes beyond is slower.
MAX_KNOWN = 2_000

K = TypeVar("K")
V = TypeVar("V")


class Counted:
    """The counters that have labels, and the spans of requests.

    Args:
        metrics: of the process.
        tracer: the same, or None if there are no traces.
    """

    def __init__(self, metrics: Store, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._calls_total = metrics.counters_of("calls_total")
        self._call_seconds = metrics.histograms_of("call_seconds")
        self._requests_total = metrics.counters_of("requests_total")
        self._throttled_total = metrics.counters_of("throttled_total")
        self._calls: dict[tuple[str, int], tuple[Cell, Histogram]] = {}
        self._requests: dict[tuple[str, str], Cell] = {}

    def call(self, service: str, status: int, seconds: float) -> None:
        """A call is over.

        Args:
            service: as the message names it.
            status: of HTTP; 0 if no whole answer came.
            seconds: that it took.
        """
        found = self._calls.get((service, status))
        if found is None:
            found = (
                self._calls_total(service, str(status) if status else NO_ANSWER),
                self._call_seconds(service),
            )
            _know(self._calls, (service, status), found)
        calls, lasting = found
        calls.value += 1.0
        # As Histogram.observe() does it; a call of a method costs as much as all of it.
        lasting.counts[bisect_left(lasting.bounds, seconds)] += 1
        lasting.sum += seconds

    def request(self, run: RequestRun, ended: Outcome) -> None:
        """A request has its outcome."""
        service, outcome = run.planned.service, ended.outcome
        cell = self._requests.get((service, outcome))
        if cell is None:
            cell = self._requests_total(service, outcome)
            _know(self._requests, (service, outcome), cell)
        cell.value += 1.0
        if self._tracer is not None:
            trace_request(self._tracer, run.lease, run.planned, ended)

    def throttled(self, kind: str) -> None:
        """A call of a scope of this kind was refused."""
        self._throttled_total(kind).add()


def _know(known: dict[K, V], key: K, value: V) -> None:
    if len(known) < MAX_KNOWN:
        known[key] = value

"""What has happened within the last minute, out of sums that only grow. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.metrics.catalogue import BY_NAME
from pipeline.metrics.quantile import mean, quantile
from pipeline.metrics.series import labels_of, name_of
from pipeline.ops.status import Service

LENGTH_S = 60.0
# A sum is kept so often.
SAMPLE_S = 5.0
CALL_SECONDS = "call_seconds"
P95 = 0.95


class Sums(msgspec.Struct, frozen=True):
    """What was counted until then.

    Attributes:
        at_s: monotonic seconds.
        messages: that have left the queue for good.
        calls: to Azure.
        rows: loaded.
        histograms: by series; only ``call_seconds`` matters.
    """

    at_s: float
    messages: float
    calls: float
    rows: float
    histograms: Mapping[str, Sequence[float]]


class Window:
    """The last minute."""

    def __init__(self) -> None:
        self._sums: deque[Sums] = deque()

    def due(self, now_s: float) -> bool:
        """It is time for another sum."""
        return not self._sums or now_s - self._sums[-1].at_s >= SAMPLE_S

    def add(self, sums: Sums) -> None:
        """Keep a sum."""
        self._sums.append(sums)
        # The oldest one stands at the beginning of the minute, or just before.
        while len(self._sums) > 1 and sums.at_s - self._sums[1].at_s >= LENGTH_S:
            self._sums.popleft()

    def rates(self, now: Sums) -> tuple[float, float, float]:
        """Messages, calls and rows a second."""
        then = self._sums[0] if self._sums else now
        passed_s = now.at_s - then.at_s
        if passed_s <= 0.0:
            return 0.0, 0.0, 0.0
        return (
            (now.messages - then.messages) / passed_s,
            (now.calls - then.calls) / passed_s,
            (now.rows - then.rows) / passed_s,
        )

    def slowest(self, now: Sums, most: int) -> list[Service]:
        """The services whose calls took longest, the slowest first.

        Args:
            now: what was counted until now.
            most: services.
        """
        then = self._sums[0].histograms if self._sums else {}
        bounds = BY_NAME[CALL_SECONDS].buckets
        found = []
        for series, counted in now.histograms.items():
            if name_of(series) != CALL_SECONDS:
                continue
            before = then.get(series) or [0.0] * len(counted)
            grown = [a - b for a, b in zip(counted, before, strict=True)]
            if calls := int(sum(grown[1:])):
                p95_s = quantile(P95, bounds, grown)
                service = labels_of(series)["service"]
                found.append(Service(service, calls, round(mean(grown), 4), round(p95_s, 4)))
        return sorted(found, key=lambda timing: -timing.mean_s)[:most]

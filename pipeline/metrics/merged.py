"""What all processes that have stood in one place have counted: it never goes down. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Merged:
    """Sums over processes of which one counts at a time, each from nothing."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = {}
        self._past_counters: Counter[str] = Counter()
        self._histograms: dict[str, list[float]] = {}
        self._past_histograms: dict[str, list[float]] = {}

    def take(self, counters: Mapping[str, float], histograms: Mapping[str, list[float]]) -> None:
        """Take in what the process has counted so far.

        Args:
            counters: by series, those that have changed.
            histograms: by series, those that have changed: sum, then count of each bucket.
        """
        self._counters.update(counters)
        self._histograms.update(histograms)

    def ended(self) -> None:
        """The process is gone; what it has counted stays, and the next one begins at nothing."""
        self._past_counters.update(self._counters)
        self._counters = {}
        self._past_histograms = self.histograms()
        self._histograms = {}

    def counters(self) -> Counter[str]:
        """All counters, by series."""
        total = self._past_counters.copy()
        total.update(self._counters)
        return total

    def histograms(self) -> dict[str, list[float]]:
        """All histograms, by series."""
        total = dict(self._past_histograms)
        for series, counted in self._histograms.items():
            add_histogram(total, series, counted)
        return total


def add_histogram(total: dict[str, list[float]], series: str, counted: list[float]) -> None:
    """Add a histogram to those of this series."""
    past = total.get(series)
    if past is None:
        total[series] = counted
    else:
        total[series] = [a + b for a, b in zip(past, counted, strict=True)]

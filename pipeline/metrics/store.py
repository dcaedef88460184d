"""What one process has counted: cells that are cheap to count in, and what of them has changed.

A cell is looked up once and kept by whoever counts; counting is then an addition. Cells are not for
threads: whoever counts runs in the process's loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from pipeline.metrics.catalogue import BY_NAME, OTHER, Kind, Metric
from pipeline.metrics.series import MAX_VALUE_CHARS, series_of


class Cell:
    """A counter with its labels' values.

    Attributes:
        value: the sum so far.
    """

    __slots__ = ("sent", "series", "value")

    def __init__(self, series: str, metric: Metric) -> None:
        self.series = series
        self.value = 0.0
        self.sent = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Count; never less than nothing."""
        self.value += amount


class Histogram:
    """A histogram with its labels' values.

    Attributes:
        counts: observations by bucket, each in one of them; the last has no upper bound.
        sum: of all that was observed.
    """

    __slots__ = ("bounds", "counts", "sent", "series", "sum")

    def __init__(self, series: str, metric: Metric) -> None:
        self.series = series
        self.bounds = metric.buckets
        self.counts = [0] * (len(metric.buckets) + 1)
        self.sum = 0.0
        self.sent = 0

    def observe(self, value: float) -> None:
        """Count a value; one that equals a bucket's bound is in it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


C = TypeVar("C", Cell, Histogram)


class Family(Generic[C]):
    """All cells of a metric, by their labels' values.

    Args:
        metric: which.
        make: what its cells are.
    """

    def __init__(self, metric: Metric, make: Callable[[str, Metric], C]) -> None:
        self.metric = metric
        self._make: Callable[[str, Metric], C] = make
        self._cells: dict[tuple[str, ...], C] = {}

    def __call__(self, *values: str) -> C:
        """The cell of these values, in the order of the metric's labels."""
        cell = self._cells.get(values)
        return cell if cell is not None else self._new(values)

    def __iter__(self) -> Iterator[C]:
        return iter(self._cells.values())

    def _new(self, values: tuple[str, ...]) -> C:
        if len(values) != len(self.metric.labels):
            raise ValueError(f"{self.metric.name} takes {self.metric.labels}; got {values}")
        values = tuple(value[:MAX_VALUE_CHARS] for value in values)
        if values not in self._cells and len(self._cells) >= self.metric.limit:
            values = (OTHER,) * len(values)
        if (known := self._cells.get(values)) is not None:
            return known
        cell = self._cells[values] = self._make(series_of(self.metric.name, *values), self.metric)
        return cell


class Store:
    """The metrics of one process.

    Attributes:
        counters: of those whose series is known beforehand; see :func:`series_of`.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._sent: dict[str, int] = {}
        self._families: dict[str, Family[Cell]] = {}
        self._histograms: dict[str, Family[Histogram]] = {}

    def counters_of(self, name: str) -> Family[Cell]:
        """The counters of this name."""
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(_metric(name, "counter"), Cell)
        return family

    def histograms_of(self, name: str) -> Family[Histogram]:
        """The histograms of this name."""
        family = self._histograms.get(name)
        if family is None:
            family = self._histograms[name] = Family(_metric(name, "histogram"), Histogram)
        return family

    def counter(self, name: str, **labels: str) -> Cell:
        """The counter with these labels."""
        family = self.counters_of(name)
        return family(*_values(family.metric, labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram with these labels."""
        family = self.histograms_of(name)
        return family(*_values(family.metric, labels))

    def changed_counters(self) -> dict[str, float]:
        """By series, the sums of those that have grown since this was last asked."""
        grown = {
            series: value for series, value in self.counters.items()
            if value != self._sent.get(series)
        }  # fmt: skip
        self._sent.update(grown)
        changed: dict[str, float] = {**grown}
        for family in self._families.values():
            for cell in family:
                if cell.value != cell.sent:
                    changed[cell.series] = cell.sent = cell.value
        return changed

    def changed_histograms(self) -> dict[str, list[float]]:
        """By series, those that have grown since this was last asked: their sum, then counts."""
        changed: dict[str, list[float]] = {}
        for family in self._histograms.values():
            for cell in family:
                if (count := sum(cell.counts)) != cell.sent:
                    cell.sent = count
                    changed[cell.series] = [cell.sum, *cell.counts]
        return changed


def _metric(name: str, kind: Kind) -> Metric:
    metric = BY_NAME[name]
    if metric.kind != kind:
        raise ValueError(f"{name} is a {metric.kind}, not a {kind}")
    return metric


def _values(metric: Metric, labels: dict[str, str]) -> tuple[str, ...]:
    if labels.keys() != set(metric.labels):
        raise ValueError(f"{metric.name} takes {metric.labels}; got {tuple(labels)}")
    return tuple(labels[label] for label in metric.labels)

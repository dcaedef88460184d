"""Rates and the slowest services of the last minute."""

from __future__ import annotations

import pytest

from pipeline.metrics.catalogue import BY_NAME
from pipeline.metrics.quantile import quantile
from pipeline.metrics.store import Store
from pipeline.ops.window import SAMPLE_S, Sums, Window


def sums(at_s: float, calls: float, store: Store | None = None) -> Sums:
    counted = store.changed_histograms() if store is not None else {}
    return Sums(at_s, calls / 10, calls, calls * 3, counted)


def test_rates_are_of_the_last_minute_and_of_less_at_the_beginning() -> None:
    window = Window()
    assert window.rates(sums(0, 0)) == (0, 0, 0)
    window.add(sums(0, 0))
    assert window.rates(sums(10, 100)) == (1, 10, 30)
    for step in range(1, 100):
        assert window.due(step * SAMPLE_S)
        window.add(sums(step * SAMPLE_S, 0 if step < 50 else 1200))
    assert window.rates(sums(495, 1200)) == (0, 0, 0), "what came was longer ago"
    assert window.rates(sums(495, 1800))[1] == pytest.approx(10, rel=0.1)


def test_the_slowest_services_come_first_with_mean_and_percentile() -> None:
    window, store = Window(), Store()
    for _ in range(100):
        store.histogram("call_seconds", service="old").observe(50)
    window.add(sums(0, 0, store))
    for _ in range(95):
        store.histogram("call_seconds", service="compute").observe(0.02)
    for _ in range(5):
        store.histogram("call_seconds", service="compute").observe(4)
    store.histogram("call_seconds", service="network").observe(0.3)
    slowest = window.slowest(sums(30, 0, store), 10)
    assert [(one.service, one.calls) for one in slowest] == [("network", 1), ("compute", 100)]
    assert slowest[1].mean_s == pytest.approx(0.219)
    assert slowest[1].p95_s == 0.025
    assert len(window.slowest(sums(30, 0, store), 1)) <= 1


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    bounds = BY_NAME["call_seconds"].buckets
    assert quantile(0.95, bounds, [1e6, *[0] * len(bounds), 3]) == bounds[-1]

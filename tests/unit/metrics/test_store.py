"""Counting: cells are bounded, told of once they have grown, and never lost or lowered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics.catalogue import BY_NAME, METRICS, OTHER
from pipeline.metrics.merged import Merged
from pipeline.metrics.series import MAX_VALUE_CHARS, by_label, by_name, labels_of, series_of
from pipeline.metrics.store import Store


def test_what_is_counted_is_told_as_sums_and_only_when_it_has_grown() -> None:
    store = Store()
    calls = store.counter("calls_total", service="compute", status="200")
    seconds = store.histogram("call_seconds", service="compute")
    store.counters[series_of("messages_received_total")] += 3
    calls.add()
    calls.add(2)
    seconds.observe(0.01)
    seconds.observe(1e9)
    name = 'calls_total{service="compute",status="200"}'
    assert store.changed_counters() == {name: 3, "messages_received_total": 3}
    counts = [1, *[0] * 11, 1]
    assert store.changed_histograms() == {'call_seconds{service="compute"}': [1e9 + 0.01, *counts]}
    assert store.changed_counters() == {}
    assert store.changed_histograms() == {}
    calls.add()
    assert store.changed_counters() == {name: 4}


def test_the_same_labels_are_the_same_cell() -> None:
    store = Store()
    cell = store.counter("calls_total", status="200", service="compute")
    assert store.counters_of("calls_total")("compute", "200") is cell


def test_values_beyond_the_limit_are_counted_together() -> None:
    store = Store()
    limit = BY_NAME["throttled_total"].limit
    for number in range(limit + 50):
        store.counter("throttled_total", scope=f"s{number}").add()
    told = store.changed_counters()
    assert len(told) == limit + 1
    assert told[series_of("throttled_total", OTHER)] == 50
    assert sum(told.values()) == limit + 50


def test_long_values_that_begin_alike_are_one() -> None:
    store = Store()
    for end in "ab":
        store.counter("throttled_total", scope="x" * MAX_VALUE_CHARS + end).add()
    assert list(store.changed_counters().values()) == [2]


@given(st.text(max_size=MAX_VALUE_CHARS))
def test_any_value_of_a_label_is_read_as_it_was(value: str) -> None:
    series = series_of("calls_total", value, "200")
    assert labels_of(series) == {"service": value, "status": "200"}
    assert "\n" not in series


def test_wrong_labels_and_kinds_are_refused() -> None:
    store = Store()
    with pytest.raises(ValueError, match="takes"):
        store.counter("calls_total", service="compute")
    with pytest.raises(ValueError, match="is a gauge"):
        store.counter("messages_leased")
    with pytest.raises(ValueError, match="takes"):
        series_of("calls_total", "compute")


def test_sums_by_name_and_by_label() -> None:
    values = {series_of("calls_total", s, c): 1.0 for s in ("a", "b") for c in ("200", "429")}
    assert by_name(values)["calls_total"] == 4
    assert by_label(values, "calls_total", "status") == {"200": 2, "429": 2}


COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), max_size=3)


@given(st.lists(st.one_of(COUNTS, st.none()), max_size=20))
def test_no_sum_goes_down_however_often_its_process_is_replaced(steps: list[dict | None]) -> None:
    merged, own = Merged(), dict.fromkeys("abc", 0)
    seen: dict[str, float] = {}
    for step in steps:
        if step is None:
            merged.ended()
            own = dict.fromkeys("abc", 0)
        else:
            for name, more in step.items():
                own[name] += more
            told = {name: float(own[name]) for name in step}
            merged.take(told, {name: [value, value] for name, value in told.items()})
        now = merged.counters()
        assert all(now[name] >= before for name, before in seen.items())
        seen = dict(now)
    total = {n: sum(s.get(n, 0) for s in steps if s) for n in "abc"}
    assert {n: merged.counters()[n] for n in "abc"} == total
    assert all(counted == [total[n]] * 2 for n, counted in merged.histograms().items())


def test_the_catalogue_keeps_to_prometheus_rules() -> None:
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name
        assert metric.help.endswith((".", "Snowflake.")), metric.name
        assert "le" not in metric.labels

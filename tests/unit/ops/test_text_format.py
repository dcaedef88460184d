"""The page of metrics, as Prometheus' own client reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pipeline.metrics.catalogue import BY_NAME, METRICS, PREFIX
from pipeline.metrics.series import series_of
from pipeline.metrics.store import Store
from pipeline.ops.text_format import page

AWKWARD = 'a "b" \\ \n {c="d"}, …'


def values() -> dict[str, float]:
    return {
        series_of(metric.name, *[AWKWARD for _ in metric.labels]): 1.5
        for metric in METRICS
        if metric.kind != "histogram"
    }


def histograms() -> dict[str, list[float]]:
    store = Store()
    for metric in METRICS:
        if metric.kind == "histogram":
            cell = store.histograms_of(metric.name)(*[AWKWARD for _ in metric.labels])
            for bound in metric.buckets:
                cell.observe(bound)
            cell.observe(metric.buckets[-1] * 2)
    return store.changed_histograms()


def test_every_metric_is_read_with_its_type_labels_and_value() -> None:
    families = {f.name: f for f in text_string_to_metric_families(page(values(), histograms()))}
    for metric in METRICS:
        family = families.pop(metric.full_name.removesuffix("_total"))
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            assert labels == dict.fromkeys(metric.labels, AWKWARD)
        if metric.kind != "histogram":
            assert [sample.value for sample in family.samples] == [1.5]
    assert families == {}


def test_a_bucket_counts_all_that_is_not_above_its_bound() -> None:
    metric = BY_NAME["load_seconds"]
    read = text_string_to_metric_families(page({}, histograms()))
    (family,) = [f for f in read if f.name == metric.full_name]
    buckets = [s for s in family.samples if s.name.endswith("_bucket")]
    assert [s.value for s in buckets] == list(range(1, len(metric.buckets) + 2))
    assert buckets[-1].labels["le"] == "+Inf"
    by_name = {s.name: s.value for s in family.samples}
    assert by_name[f"{metric.full_name}_count"] == len(metric.buckets) + 1
    assert by_name[f"{metric.full_name}_sum"] == sum(metric.buckets) + 2 * metric.buckets[-1]


def test_counters_without_labels_stand_there_from_the_start_and_unknown_series_never() -> None:
    said = page({"who_knows": 1.0}, {})
    assert f"{PREFIX}messages_received_total 0\n" in said
    assert f"{PREFIX}load_seconds_count 0\n" in said
    assert "who_knows" not in said
    assert "calls_total" not in said

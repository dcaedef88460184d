"""Metrics as Prometheus reads them: its text format, version 0.0.4. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.metrics.catalogue import METRICS, PREFIX, Metric
from pipeline.metrics.series import name_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def page(values: Mapping[str, float], histograms: Mapping[str, list[float]]) -> str:
    """All metrics of the catalogue that have a value.

    A counter or histogram without labels has one from the start, so that its rate has a beginning.

    Args:
        values: of counters and gauges, by series. What the catalogue does not have is left out.
        histograms: by series, sum and then count of each bucket.
    """
    samples: dict[str, list[tuple[str, float]]] = {}
    for series, value in values.items():
        samples.setdefault(name_of(series), []).append((series, value))
    counted: dict[str, list[tuple[str, list[float]]]] = {}
    for series, counts in histograms.items():
        counted.setdefault(name_of(series), []).append((series, counts))
    lines: list[str] = []
    for metric in METRICS:
        if metric.kind == "histogram":
            found = list(_histograms(metric, counted.get(metric.name, [])))
        else:
            found = list(_samples(metric, samples.get(metric.name, [])))
        if found:
            lines.append(f"# HELP {metric.full_name} {metric.help}")
            lines.append(f"# TYPE {metric.full_name} {metric.kind}")
            lines += found
    return "\n".join(lines) + "\n"


def _samples(metric: Metric, samples: list[tuple[str, float]]) -> Iterator[str]:
    if not samples and metric.kind == "counter" and not metric.labels:
        samples = [(metric.name, 0.0)]
    for series, value in sorted(samples):
        yield f"{PREFIX}{series} {_number(value)}"


def _histograms(metric: Metric, found: list[tuple[str, list[float]]]) -> Iterator[str]:
    if not found and not metric.labels:
        found = [(metric.name, [0.0] * (len(metric.buckets) + 2))]
    for series, (total, *counts) in sorted(found):
        _, brace, labels = series.partition("{")
        labels = labels.removesuffix("}")
        before = f"{labels}," if labels else ""
        sum_so_far = 0.0
        for bound, count in zip((*metric.buckets, None), counts, strict=True):
            sum_so_far += count
            le = "+Inf" if bound is None else _number(bound)
            yield f'{metric.full_name}_bucket{{{before}le="{le}"}} {_number(sum_so_far)}'
        with_labels = f"{{{labels}}}" if brace else ""
        yield f"{metric.full_name}_sum{with_labels} {_number(total)}"
        yield f"{metric.full_name}_count{with_labels} {_number(sum_so_far)}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))

"""A metric with its labels' values as text, as processes and the page name it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from pipeline.metrics.catalogue import BY_NAME

# Of a label's value.
MAX_VALUE_CHARS = 60
_PAIR = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


@lru_cache(maxsize=4096)
def series_of(name: str, *values: str) -> str:
    """A metric with its labels' values, as it stands on the page but for the prefix.

    Args:
        name: in the catalogue.
        values: of its labels, in their order.

    Returns:
        e.g. ``calls_total{service="compute",status="200"}``.
    """
    labels = BY_NAME[name].labels
    if len(values) != len(labels):
        raise ValueError(f"{name} takes {labels}; got {values}")
    if not labels:
        return name
    pairs = [f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True)]
    return f"{name}{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    # Of the text format: backslash, quote and line feed.
    shown = value[:MAX_VALUE_CHARS].replace("\\", "\\\\").replace('"', '\\"')
    return shown.replace("\n", "\\n")


def name_of(series: str) -> str:
    """The metric's name."""
    return series.partition("{")[0]


@lru_cache(maxsize=4096)
def labels_of(series: str) -> dict[str, str]:
    """The labels' values by their names. Not to be changed."""
    pairs = _PAIR.findall(series.partition("{")[2])
    return {name: _ESCAPED.sub(_unescaped, value) for name, value in pairs}


def by_name(values: Mapping[str, float]) -> defaultdict[str, float]:
    """Series summed up by the name of their metric; 0 for one that is not there."""
    total: defaultdict[str, float] = defaultdict(float)
    for series, value in values.items():
        total[name_of(series)] += value
    return total


def by_label(values: Mapping[str, float], name: str, label: str) -> defaultdict[str, float]:
    """The series of one metric summed up by the value of one of its labels."""
    total: defaultdict[str, float] = defaultdict(float)
    for series, value in values.items():
        if name_of(series) == name:
            total[labels_of(series)[label]] += value
    return total


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]

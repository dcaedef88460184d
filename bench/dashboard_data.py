"""What a Prometheus has for the panels of a dashboard."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from bench.stand import BenchError

QUERY_LIMIT_S = 30.0
# Prometheus answers with at most 11,000 points a series.
POINTS = 300
# For servers on loopback.
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Span:
    """The time that is shown.

    Attributes:
        start_s: seconds since the epoch.
        end_s: the same.
        rate_s: what rates are taken over; Grafana takes four scrapes at least.
    """

    start_s: float
    end_s: float
    rate_s: int

    @property
    def step_s(self) -> float:
        """From point to point."""
        return max(1.0, (self.end_s - self.start_s) / POINTS)


@dataclass(frozen=True)
class Series:
    """A line: its name in the legend, and seconds since the start with a value each."""

    name: str
    times_s: list[float]
    values: list[float]


def series_of(url: str, panel: dict[str, Any], span: Span) -> list[Series]:
    """What a panel shows.

    Raises:
        BenchError: Prometheus does not answer, or refuses an expression.
    """
    found = []
    for target in panel["targets"]:
        expression = filled(target["expr"], span)
        for one in _asked(url, expression, span, instant=target["instant"]):
            name = re.sub(
                r"\{\{(\w+)\}\}",
                lambda match, labels=one["metric"]: labels.get(match[1], ""),  # type: ignore[misc]
                target["legendFormat"],
            )
            points = one.get("values") or [one["value"]]
            found.append(
                Series(
                    name.strip(),
                    [float(at_s) - span.start_s for at_s, _ in points],
                    [float(value) for _, value in points],
                )
            )
    return found


def filled(expression: str, span: Span) -> str:
    """An expression with Grafana's variables filled in: all jobs and instances."""
    for name, value in (
        ("$__rate_interval", f"{span.rate_s}s"),
        ("$__range", f"{span.end_s - span.start_s:.0f}s"),
        ("$job", ".*"),
        ("$instance", ".*"),
    ):
        expression = expression.replace(name, value)
    return expression


def _asked(url: str, expression: str, span: Span, *, instant: bool) -> list[dict[str, Any]]:
    if instant:
        path, asked = "query", {"query": expression, "time": f"{span.end_s:.3f}"}
    else:
        path = "query_range"
        asked = {
            "query": expression,
            "start": f"{span.start_s:.3f}",
            "end": f"{span.end_s:.3f}",
            "step": f"{span.step_s:.3f}",
        }
    body = urllib.parse.urlencode(asked).encode()
    try:
        with NO_PROXY.open(f"{url}/api/v1/{path}", body, QUERY_LIMIT_S) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{url} does not answer {expression!r}: {error}") from error
    return found

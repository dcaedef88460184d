"""What Grafana's dashboard format asks for, and expressions as the panels use them. Pure.

Classic format: ``Dashboard`` of npm's ``@grafana/schema`` 13.2, whose schema version is 42. No
datasource and no uid is named: the one is a variable, the other is given at the import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 42
PREFIX = "azure_collector_"
# What is looked at, of all that is collected.
CHOSEN = 'job=~"$job",instance=~"$instance"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
STAT_HEIGHT, GRAPH_HEIGHT = 4, 8

Step = tuple[float | None, str]


class Panel:
    """One panel.

    Args:
        title: above it.
        kind: ``stat``, ``timeseries`` or ``state-timeline``.
        width: in Grafana's 24 columns.
        unit: Grafana's name of it.
        description: what it shows and what to do.
        targets: expressions, each with its legend.
        thresholds: of :func:`steps`.
        mappings: a text and a colour for each value.
        decimals: digits after the point; None leaves it to Grafana.
        stacked: areas on top of each other.
        least: the axis reaches at least so far.
        unit_of: other units, of the series whose names end so.
        height: rows of Grafana's grid.
    """

    def __init__(
        self,
        title: str,
        kind: str,
        width: int,
        unit: str,
        description: str,
        *targets: tuple[str, str],
        thresholds: tuple[Step, ...] = (),
        mappings: dict[int, tuple[str, str]] | None = None,
        decimals: int | None = None,
        stacked: bool = False,
        least: float | None = None,
        unit_of: dict[str, str] | None = None,
        height: int = 0,
    ) -> None:
        self.title, self.kind, self.width, self.unit = title, kind, width, unit
        self.description, self.targets = description, targets
        self.thresholds, self.mappings = thresholds, mappings or {}
        self.decimals, self.stacked, self.least = decimals, stacked, least
        self.unit_of = unit_of or {}
        self.height = height or (STAT_HEIGHT if kind == "stat" else GRAPH_HEIGHT)


class Row:
    """A heading and the panels below it."""

    def __init__(self, title: str, *panels: Panel) -> None:
        self.title, self.panels = title, panels


# ── expressions ──────────────────────────────────────────────────────────────────────────────────


def metric(name: str, labels: str = "") -> str:
    """The series of a metric that are looked at.

    Args:
        name: without the prefix.
        labels: more conditions.
    """
    return f"{PREFIX}{name}{{{CHOSEN}{',' if labels else ''}{labels}}}"


def rate(name: str, labels: str = "") -> str:
    """Its rate, a second."""
    return f"rate({metric(name, labels)}[$__rate_interval])"


def increase(name: str, labels: str = "") -> str:
    """What it has grown by, in each interval."""
    return f"increase({metric(name, labels)}[$__rate_interval])"


def quantiles(name: str, *parts: float) -> list[tuple[str, str]]:
    """Targets for these parts of a histogram, 0 to 1."""
    summed = f"sum by (le) ({rate(f'{name}_bucket')})"
    return [(f"histogram_quantile({part}, {summed})", f"p{part * 100:.0f}") for part in parts]


def steps(first: str, *others: tuple[float, str]) -> tuple[Step, ...]:
    """Colours by value: the first, and each other one from its value on."""
    return ((None, first), *others)


# ── the format ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Place:
    """Where the next panel goes."""

    id: int = 0
    x: int = 0
    y: int = 0
    row_height: int = 0

    def take(self, width: int, height: int) -> dict[str, int]:
        if self.x + width > COLUMNS:
            self.end_line()
        self.id += 1
        found = {"h": height, "w": width, "x": self.x, "y": self.y}
        self.x += width
        self.row_height = max(self.row_height, height)
        return found

    def end_line(self) -> None:
        self.x, self.y, self.row_height = 0, self.y + self.row_height, 0


def dashboard(title: str, rows: tuple[Row, ...], instances: str) -> dict[str, Any]:
    """The whole document.

    Args:
        title: of the dashboard.
        rows: in their order.
        instances: a metric that each collector has, for the choice of them.
    """
    place = _Place()
    panels: list[dict[str, Any]] = []
    for row in rows:
        place.end_line()
        grid = place.take(COLUMNS, 1)
        panels.append(
            {"collapsed": False, "gridPos": grid, "id": place.id, "panels": [],
             "title": row.title, "type": "row"}
        )  # fmt: skip
        for panel in row.panels:
            grid = place.take(panel.width, panel.height)
            panels.append({**_panel(panel), "gridPos": grid, "id": place.id})
    return {
        "annotations": {"list": []},
        "description": "Made by deploy/monitoring/dashboard.py. What to do: docs/monitoring.md.",
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["azure-collector"],
        "templating": {"list": _variables(instances)},
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "version": 1,
        "weekStart": "",
    }


def _variables(instances: str) -> list[dict[str, Any]]:
    source = {
        "includeAll": False, "label": "Datasource", "multi": False, "name": "datasource",
        "options": [], "query": "prometheus", "refresh": 1, "regex": "", "type": "datasource",
    }  # fmt: skip
    return [
        source,
        _choice("job", "Job", f"label_values({instances}, job)"),
        _choice("instance", "Instance", f'label_values({instances}{{job=~"$job"}}, instance)'),
    ]


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}, "datasource": SOURCE,
        "includeAll": True, "label": label, "multi": True, "name": name, "options": [],
        "query": {"query": query, "refId": name}, "refresh": 2, "regex": "", "sort": 1,
        "type": "query",
    }  # fmt: skip


def _panel(panel: Panel) -> dict[str, Any]:
    custom, options = _LOOKS[panel.kind](panel)
    defaults: dict[str, Any] = {
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "custom": custom,
        "mappings": _mappings(panel.mappings),
        "min": 0,
        "thresholds": _thresholds(panel.thresholds or steps("green")),
        "unit": panel.unit,
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    return {
        "datasource": SOURCE,
        "description": panel.description,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [_override(end, unit) for end, unit in panel.unit_of.items()],
        },
        "options": options,
        "targets": [_target(panel, number, *target) for number, target in enumerate(panel.targets)],
        "title": panel.title,
        "type": panel.kind,
    }


def _target(panel: Panel, number: int, expression: str, legend: str) -> dict[str, Any]:
    now = panel.kind == "stat"
    return {
        "datasource": SOURCE,
        "expr": expression,
        "instant": now,
        "legendFormat": legend or panel.title,
        "range": not now,
        "refId": chr(ord("A") + number),
    }


def _thresholds(wanted: tuple[Step, ...]) -> dict[str, Any]:
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": value} for value, colour in wanted],
    }


def _mappings(wanted: dict[int, tuple[str, str]]) -> list[dict[str, Any]]:
    if not wanted:
        return []
    options = {
        str(value): {"color": colour, "index": index, "text": text}
        for index, (value, (text, colour)) in enumerate(wanted.items())
    }
    return [{"options": options, "type": "value"}]


def _override(end: str, unit: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byRegexp", "options": f".* {end}$"},
        "properties": [
            {"id": "unit", "value": unit},
            {"id": "custom.axisPlacement", "value": "right"},
        ],
    }


Look = tuple[dict[str, Any], dict[str, Any]]


def _stat(panel: Panel) -> Look:
    return {}, {
        "colorMode": "value" if panel.thresholds or panel.mappings else "none",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showPercentChange": False,
        "textMode": "value_and_name" if panel.targets[0][1] else "value",
        "wideLayout": True,
    }


def _timeseries(panel: Panel) -> Look:
    custom: dict[str, Any] = {
        "drawStyle": "line",
        "fillOpacity": 30 if panel.stacked else 5,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
        # Only where there is something to cross.
        "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
    }
    if panel.least is not None:
        custom["axisSoftMax"] = panel.least
    return custom, {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _timeline(_: Panel) -> Look:
    return {"fillOpacity": 70, "lineWidth": 0}, {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }


_LOOKS = {"stat": _stat, "timeseries": _timeseries, "state-timeline": _timeline}

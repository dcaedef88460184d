"""``deploy/monitoring/`` asks for what the collector tells, and says where to read on.

What the rules then do with series is in ``alerts.test.yaml``, which promtool runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped]

from pipeline.log_events import LEVELS
from pipeline.metrics.catalogue import BY_NAME, PREFIX
from pipeline.ops.health import DEPENDENCIES
from pipeline.ops.view import SUPERVISOR
from tests.docs_pages import ROOT
from tests.unit.test_docs_pages import anchors

MONITORING = ROOT / "deploy" / "monitoring"
PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus adds to every series that it scrapes, and a metric of its own.
TARGET_LABELS = {"job", "instance"}
OF_PROMETHEUS = {"up"}
HISTOGRAM_ENDS = ("_bucket", "_sum", "_count")
# Grafana puts times in their place.
TIMES = {"$__rate_interval": "5m", "$__range": "1h"}
# Values of labels that are asked for, and where they are known to be said.
VALUES = {
    "outcome": {"complete", "not_found", "forbidden", "rejected", "throttled", "failed"},
    "result": {"deleted", "poisoned", "released", "lost", "committed", "failed"},
    "level": {level.lower() for level in LEVELS},
    "process": {SUPERVISOR},
    "dependency": set(DEPENDENCIES),
}


def expressions() -> Iterator[tuple[str, str, str]]:
    """Where each stands, itself, and the texts that name labels of its result."""
    for panel in PANELS:
        for target in panel["targets"]:
            text = target["expr"]
            for name, time in TIMES.items():
                text = text.replace(name, time)
            yield f"{panel['title']} {target['refId']}", text, target["legendFormat"]
    for rule in RULES:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


ALL = list(expressions())


# ── expressions ──────────────────────────────────────────────────────────────────────────────────


def labels_of(node: Any) -> set[str]:
    """Labels that the result of an expression can have; asserts that what it names is there."""
    if isinstance(node, promql.VectorSelector):
        return labels_of_series(node)
    if isinstance(node, promql.MatrixSelector):
        return labels_of(node.vector_selector)
    if isinstance(node, promql.AggregateExpr):
        return labels_of_sum(node)
    if isinstance(node, promql.BinaryExpr):
        left, right = labels_of(node.lhs), labels_of(node.rhs)
        if node.modifier is not None and node.modifier.matching is not None:
            assert set(node.modifier.matching.labels) <= left & right, str(node.modifier)
        # A number on the left has none.
        return left | right if str(node.op) == "or" else left or right
    if isinstance(node, promql.Call):
        found: set[str] = set().union(*(labels_of(argument) for argument in node.args))
        return found - {"le"} if node.func.name == "histogram_quantile" else found
    if isinstance(node, promql.NumberLiteral | promql.StringLiteral):
        return set()
    return labels_of(node.expr)


def labels_of_series(node: Any) -> set[str]:
    matchers = {matcher.name: matcher.value for matcher in node.matchers.matchers}
    found = TARGET_LABELS if node.name in OF_PROMETHEUS else TARGET_LABELS | own_labels(node.name)
    assert set(matchers) <= found, f"{node.name} has no label {set(matchers) - found}"
    for label, value in matchers.items():
        if label not in TARGET_LABELS:
            assert set(value.split("|")) <= VALUES[label], f"{node.name}: {label} is never {value}"
    return set(found)


def own_labels(series: str) -> set[str]:
    name = series.removeprefix(PREFIX)
    assert name != series, f"{series} is not the collector's"
    for end in HISTOGRAM_ENDS:
        of = BY_NAME.get(name.removesuffix(end))
        if name.endswith(end) and of is not None and of.kind == "histogram":
            return {*of.labels, "le"} if end == "_bucket" else set(of.labels)
    assert name in BY_NAME, f"the collector has no metric {series}"
    assert BY_NAME[name].kind != "histogram", f"{series} is asked for as if it were no histogram"
    return set(BY_NAME[name].labels)


def labels_of_sum(node: Any) -> set[str]:
    found = labels_of(node.expr)
    # topk and its like keep what they are given.
    if node.modifier is None:
        return found if node.param is not None else set()
    assert node.modifier.type == promql.AggModifierType.By
    named = set(node.modifier.labels)
    assert named <= found, f"there is no label {named - found} to add up by"
    return named


@pytest.mark.parametrize(("where", "text", "said"), ALL, ids=[where for where, *_ in ALL])
def test_an_expression_names_what_there_is(where: str, text: str, said: str) -> None:
    there = labels_of(promql.parse(text))
    named = set(re.findall(r"\{\{\s*(\w+)\s*\}\}|\$labels\.(\w+)", said))
    assert {a or b for a, b in named} <= there


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("azure_collector_queue_lenght > 1", "no metric"),
        ("rate(process_cpu_seconds_total[5m])", "not the collector's"),
        ("azure_collector_call_seconds > 1", "no histogram"),
        ('azure_collector_queue_messages{queue="a"}', "no label"),
        ("sum by (tenant) (azure_collector_stage_up)", "no label"),
        ('azure_collector_requests_total{outcome="forbiden"}', "never"),
        ("sum(azure_collector_stage_up) / on (job) azure_collector_info", "on"),
    ],
)
def test_what_there_is_not_would_be_found(text: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(problem)):
        labels_of(promql.parse(text))


def test_a_counter_is_asked_for_its_growth_only() -> None:
    for where, text, _ in ALL:
        for name, behind in re.findall(rf"{PREFIX}(\w+)(?:{{[^}}]*}})?(\[)?", text):
            metric = BY_NAME.get(name)
            if metric is None or metric.kind == "counter":
                assert behind, f"{where}: {name} without a time"


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert len(rule["annotations"]["summary"]) < 100 < len(rule["annotations"]["description"])
    page, anchor = rule["annotations"]["runbook"].split("#")
    assert anchor in anchors((ROOT / page).read_text("utf-8"))
    (row,) = re.findall(rf"^\| `{rule['alert']}` \| (.+)$", PAGE, re.MULTILINE)
    assert row.startswith(f"{rule['labels']['severity']} | ")
    assert f"({Path(page).name}#{anchor})" in row


def test_every_alert_is_told_and_tried() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert re.findall(r"^\| `(AzureCollector\w+)`", PAGE, re.MULTILINE) == names
    tried = (MONITORING / "alerts.test.yaml").read_text("utf-8")
    assert [name for name in names if f'alertname="{name}"' not in tried] == []


# ── dashboard ────────────────────────────────────────────────────────────────────────────────────


def test_the_dashboard_is_what_its_program_writes() -> None:
    done = subprocess.run([sys.executable, "-B", MONITORING / "dashboard.py", "--check"])
    assert done.returncode == 0, "python deploy/monitoring/dashboard.py writes it"


def test_it_can_be_imported_anywhere() -> None:
    assert DASHBOARD["id"] is None
    assert "uid" not in DASHBOARD
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))
    assert set(sources) == {"${datasource}"}
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == [
        "datasource", "job", "instance",
    ]  # fmt: skip


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_its_unit_and_says_what_to_do(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len(panel["description"]) > 20
    assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
    for page, heading in re.findall(r"(docs/[\w-]+\.md)(?:, (\w[^.:]*))?", panel["description"]):
        text = (ROOT / page).read_text("utf-8")
        known = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not heading or any(heading.startswith(one) for one in known), f"{page}, {heading}"


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_the_picture_is_in_the_page() -> None:
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE)
    drawn = (ROOT / "docs" / picture).read_text("utf-8")
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert [title for title in rows if f">{title}<" not in drawn] == []

"""The measurement of Azure's budget: what it computes, refuses to measure, and writes."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from bench import azure_budget, budget_report
from bench.budget_run import Load, Measured, Sample, budget

TWO_SUBSCRIPTIONS = Load(subscriptions=2, requests=1_000)


def measured(load: Load = TWO_SUBSCRIPTIONS, seconds: float = 10.0, refused: int = 0) -> Measured:
    """A measurement with a sample each second, in which the calls came evenly."""
    calls = load.measured_requests
    samples = [
        Sample(float(second), round(calls * second / seconds), 12, 250 - 20 * second)
        for second in range(1, int(seconds) + 1)
    ]
    return Measured(load, seconds, calls, refused, 0, samples)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def test_the_budget_is_what_full_buckets_hold_and_what_comes_back() -> None:
    assert budget(1, 0.0) == 250
    assert budget(2, 10.0) == 2 * (250 + 25 * 10)


def test_all_calls_that_the_buckets_allow_are_the_whole_budget() -> None:
    assert measured(seconds=10.0).share_used == 1.0
    assert measured(seconds=30.0).share_used == 0.5


def test_refused_calls_are_a_share_of_all_calls_and_none_of_the_budget_used() -> None:
    refused = measured(refused=1_000)
    assert refused.share_refused == 0.5
    assert refused.share_used == 1.0
    assert measured().share_refused == 0.0


def test_throttled_subscriptions_count_neither_as_calls_nor_as_budget() -> None:
    load = Load(subscriptions=4, requests=2_000, throttled=2)
    assert load.measured_requests == 1_000
    assert measured(load).budget == measured().budget


def test_a_measurement_may_take_longer_the_more_it_asks_for_and_never_for_ever() -> None:
    assert 60.0 < Load(1, 251).limit_s < Load().limit_s < 600.0


def test_rates_are_taken_over_the_window_and_stand_in_its_middle() -> None:
    samples = [Sample(at_s, calls, 0, 0) for at_s, calls in [(0, 0), (0.5, 5), (1, 20), (2, 40)]]
    assert budget_report.rates(samples, 1.0) == [(0.5, 20.0), (1.5, 20.0)]
    assert budget_report.rates(samples[:2], 1.0) == []
    assert budget_report.rates([], 1.0) == []


# ── usage ────────────────────────────────────────────────────────────────────────────────────────


def test_without_options_twenty_subscriptions_are_asked_a_thousand_times_each() -> None:
    asked = azure_budget.load_of(azure_budget.parse([]))
    assert asked == Load()
    assert (asked.subscriptions, asked.per_subscription, asked.collectors) == (20, 1_000, 1)


def test_options_are_followed() -> None:
    line = "--subscriptions 4 --requests 2000 --collectors 2 --threads 7 --latency-ms 50"
    asked = azure_budget.load_of(azure_budget.parse([*line.split(), "--throttled", "1"]))
    assert asked == Load(4, 2_000, collectors=2, threads=7, latency_ms=50.0, throttled=1)


def test_the_report_measures_alone_shared_and_throttled_with_few_and_many_threads() -> None:
    loads = azure_budget.report_loads(Load())
    assert [(one.collectors, one.throttled, one.threads) for one in loads] == [
        (1, 0, 25),
        (2, 0, 25),
        (1, 10, 4),
        (1, 10, 100),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--subscriptions 0", "--subscriptions takes 1 to 1,000, got 0"),
        ("--requests 1000000", "--requests takes 1 to 100,000, got 1,000,000"),
        ("--requests many", "invalid int value: 'many'"),
        ("--requests 20001", "a multiple of --subscriptions"),
        ("--requests 5000", "more than 250 for each subscription"),
        ("--collectors 3", "invalid choice: 3"),
        ("--threads 0", "--threads takes 1 to 1,000, got 0"),
        ("--latency-ms -1", "--latency-ms takes 0 to 60,000, got -1.0"),
        ("--latency-ms nan", "--latency-ms takes 0 to 60,000, got nan"),
        ("--throttled 20", "--throttled takes 0 to 19"),
        ("--throttled -1", "--throttled takes 0 to 19"),
        ("--report x.md --threads 4", "--report has its own --threads"),
        ("--report x.md --collectors 1", "--report has its own --collectors"),
        ("--report x.md --throttled 0", "--report has its own --throttled"),
        ("--report x.md --subscriptions 1", "throttles half of the subscriptions"),
        ("--report x.html", "takes a file that ends in .md, got x.html"),
        ("--report nowhere/x.md", "in a folder that is there, got nowhere/x.md"),
    ],
)
def test_what_cannot_be_measured_is_told(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        azure_budget.main(line.split())
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_report_that_could_not_be_drawn_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        azure_budget.main(["--report", "x.md"])
    assert "pip install -e '.[bench]'" in capsys.readouterr().err


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


def page() -> str:
    """Of a report in which each subscription kept half of its rate with the few threads."""
    alone, shared, few, many = azure_budget.report_loads(Load(subscriptions=2, requests=1_000))
    return budget_report.page(
        measured(alone),
        measured(shared, refused=10),
        [measured(few, seconds=20.0), measured(many)],
        picture_name="a.svg",
        command="python -m bench.azure_budget --report a.md",
        made_on=date(2026, 1, 2),
    )


def test_the_page_has_the_figures_of_every_measurement() -> None:
    table = [line for line in page().splitlines() if line.startswith("|")]
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]] == [
        ["one collector, 25 threads", "1,000", "10.00", "100", "100.0%", "0.00%"],
        ["two collectors on one principal, 25 threads", "1,000", "10.00", "100", "100.0%", "0.99%"],
        ["one collector, 1 of 2 throttled, 4 threads", "500", "20.00", "25", "66.7%", "0.00%"],
        ["one collector, 1 of 2 throttled, 100 threads", "500", "10.00", "50", "100.0%", "0.00%"],
    ]
    assert len({len(line) for line in table}) == 1


def test_the_page_tells_what_the_others_keep_of_their_rate() -> None:
    assert "they keep 50.0% with 4 threads and 100.0% with 100 threads" in page()


def test_the_page_shows_its_picture_and_how_it_was_made() -> None:
    assert "](a.svg)" in page()
    assert "`python -m bench.azure_budget --report a.md`, 2026-01-02" in page()


def test_the_same_measurements_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only the extra `bench` draws")
    for name in ("a.svg", "b.svg"):
        budget_report.draw([measured(), measured(refused=1)], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "dc:date" not in (tmp_path / "a.svg").read_text()

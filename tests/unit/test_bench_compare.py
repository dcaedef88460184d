"""The comparison: what it computes from runs, refuses to measure, and writes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import __main__ as bench
from bench import compare_page, compare_report
from bench.compare import in_turn
from bench.contestants import CALLS_AT_ONCE, PEERS_FOLDER, Contestant, contestants
from bench.measured import Sample, Usage
from bench.memory import memory_of, quarter_peaks
from bench.one_run import by_process, limit_s, process_name
from bench.results import Outcome, Run, Timed, ratios, spread, steady_rate, whole
from bench.scenarios import COLLECTOR, EVERYBODY, FLOOR, SCENARIOS
from bench.work import Work

MIB = 1 << 20


def run(contestant: str, number: int, processor_s: float, problem: str = "") -> Run:
    """A run of a thousand calls in two seconds, half a second of processor before the first."""
    return Run(
        contestant=contestant,
        title=Contestant(contestant, "standard" if contestant == COLLECTOR else "").title,
        round=number,
        problem=problem,
        calls=1_000,
        rows=1_000,
        messages=50,
        wall_s=4.0,
        processor_s=processor_s,
        start_processor_s=0.5,
        first_call_s=1.5,
        calling_s=2.0,
        peak_bytes=200 * MIB,
    )


def outcome(scenario: str = "small-gets", **parts: object) -> Outcome:
    """What came of a scenario."""
    empty = Outcome(
        scenario=SCENARIOS[scenario],
        profile="standard",
        at_once=50,
        batch_timeout_s=30.0,
        command="python -m bench",
        made_on="2026-01-31",
        machine="a machine",
    )
    return msgspec.structs.replace(empty, **parts)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def test_processor_time_is_told_by_call_and_by_message_with_and_without_the_start() -> None:
    one = run(COLLECTOR, 0, 1.5)
    assert one.call_us == pytest.approx(1_500)
    assert one.started_call_us == pytest.approx(1_000)
    assert one.message_us == pytest.approx(20_000)
    assert (one.calls_per_s, one.whole_per_s) == (500.0, 250.0)


def test_a_spread_is_the_median_between_the_least_and_the_most() -> None:
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert compare_report.text(spread([3.0, 1.0, 2.0])) == "2 (1-3)"
    assert compare_report.text(spread([2_000.0])) == "2,000"


def test_a_ratio_is_taken_within_a_round_so_that_a_slow_minute_counts_for_both() -> None:
    ours = [run(COLLECTOR, 0, 1.0), run(COLLECTOR, 1, 10.0)]
    theirs = [run("script", 1, 20.0), run("script", 0, 4.0)]
    assert ratios(ours, theirs, "call_us") == (0.375, 0.25, 0.5)


def test_a_round_in_which_one_failed_has_no_ratio() -> None:
    runs = [run(COLLECTOR, 0, 1.0), run("script", 0, 4.0, problem="exit code 1")]
    assert whole(runs, "requests, 25 threads") == []
    assert ratios(runs[:1], whole(runs, "requests, 25 threads"), "call_us") is None


def test_the_steady_rate_leaves_out_the_first_and_the_last_tenth() -> None:
    samples = [(0.0, 0), (1.0, 10), (2.0, 100), (3.0, 500), (4.0, 900), (9.0, 1_000)]
    assert steady_rate(samples, 1_000) == 400.0
    assert steady_rate(samples[:3], 1_000) == 0.0


def test_the_bound_of_latency_is_calls_at_once_divided_by_it() -> None:
    slow = outcome("latency-300")
    assert compare_report.bound_per_s(slow, COLLECTOR) == pytest.approx(50 / 0.3)
    assert compare_report.bound_per_s(slow, "aiohttp") == pytest.approx(
        CALLS_AT_ONCE["aiohttp"] / 0.3
    )


def test_memory_is_told_by_quarters_of_the_calls_time() -> None:
    times_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert quarter_peaks(times_s, [9, 1, 2, 3, 4, 9], 1.0, 4.0) == [1, 2, 3, 4]
    assert quarter_peaks(times_s, [9, 1, 2, 3, 4, 9], 1.0, 0.0) == [0, 0, 0, 0]


def test_a_process_is_its_last_sample_and_those_of_one_name_are_summed() -> None:
    samples = [
        Sample(float(at), {1: 0.1 * at, 2: 0.2 * at}, {1: at * MIB, 2: MIB}, {}) for at in range(6)
    ]
    usage = Usage(
        exit_code=0, began_s=0.0, ended_s=6.0, user_s=1.5, system_s=0.0,
        names={1: "azure-collector: execute 0", 2: "azure-collector: load"}, samples=samples,
    )  # fmt: skip
    assert by_process(usage) == {"execute 0": 0.5, "load": 1.0}
    memory = memory_of(msgspec.structs.replace(run(COLLECTOR, 0, 1.0), calling_s=4.0), usage)
    assert memory.quarters["load"] == [MIB] * 4
    assert memory.quarters["execute 0"] == [2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB]


# ── what takes part ──────────────────────────────────────────────────────────────────────────────


def test_every_contestant_but_the_collector_has_a_program() -> None:
    for one in contestants(EVERYBODY, "standard"):
        program = Path(one.command()[1])
        assert one.is_collector or (program.parent == PEERS_FOLDER and program.is_file())


def test_the_collector_has_its_profile_and_ends_with_the_queue_unless_told_otherwise() -> None:
    collector = Contestant(COLLECTOR, "low-memory")
    assert collector.command()[1:] == [
        "-m", "pipeline", "--until-empty", "--profile", "low-memory",
    ]  # fmt: skip
    assert "--until-empty" not in collector.command(until_empty=False)


def test_the_peers_stand_alone() -> None:
    for file in PEERS_FOLDER.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for package in ("pipeline", "stages", "bench"):
            assert f"import {package}" not in text, file
            assert f"from {package}" not in text, file


def test_who_was_last_begins_the_next_round() -> None:
    three = contestants((COLLECTOR, "script", FLOOR), "standard")
    assert [in_turn(three, number) for number in range(3)] == [three, three[::-1], three]


def test_processes_are_told_by_what_they_do() -> None:
    assert process_name("azure-collector: execute 0") == "execute 0"
    assert process_name("/usr/bin/python /somewhere/peers/script.py") == "script.py"
    assert process_name("/usr/bin/python -c from multiprocessing.resource_tracker import main") == (
        "resource tracker"
    )
    assert process_name("") == "short"


# ── what is asked for ────────────────────────────────────────────────────────────────────────────


def test_a_message_has_as_many_requests_as_the_scenario_says_and_an_id_of_its_own() -> None:
    work = Work([f"/subscriptions/s/{number}" for number in range(45)], 20)
    texts = [msgspec.json.decode(text) for text in work.texts()]
    assert [len(text["api_requests"]) for text in texts] == [20, 20, 5]
    assert len({text["message_id"] for text in texts}) == work.messages == 3
    assert texts[0]["api_requests"][0]["resource_path"] == "/subscriptions/s/0"


def test_the_beginning_of_the_work_has_the_urls_of_its_pages() -> None:
    lists = Work(["/a", "/b", "/c"], 1, pages=2, rows_each=100, urls=["a1", "a2", "b1", "b2"])
    assert (lists.calls, lists.rows) == (6, 300)
    assert lists.first(4).urls == ["a1", "a2", "b1", "b2"]
    assert lists.first(3).paths == ["/a"]
    assert lists.first(1).calls == 2


def test_a_peer_makes_fewer_calls_where_it_would_take_long() -> None:
    slow = SCENARIOS["latency-300"]
    assert slow.requests_of(COLLECTOR) == slow.requests > slow.requests_of("script")
    assert slow.of_size(100).requests_of("script") == 100


def test_a_run_may_take_longer_the_more_it_waits_for() -> None:
    work = Work(["/a"] * 1_000, 20)
    fast, slow = SCENARIOS["small-gets"], SCENARIOS["latency-300"]
    assert limit_s(fast, work) < limit_s(slow, work) < 900.0


# ── the options ──────────────────────────────────────────────────────────────────────────────────


def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were; CI does not have it."""
    monkeypatch.setattr(bench, "NEEDED", ())


def test_all_scenarios_are_measured_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    everything_is_installed(monkeypatch)
    assert bench.chosen(bench.parse([])) == list(SCENARIOS.values())
    some = bench.parse(["--scenario", "tls", "--scenario", "gzip", "--requests", "60"])
    assert [(one.name, one.requests) for one in bench.chosen(some)] == [("tls", 60), ("gzip", 60)]


def test_a_scenario_without_any_of_the_contestants_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything_is_installed(monkeypatch)
    only = bench.chosen(bench.parse(["--contestants", "pycurl"]))
    assert {one.contestants for one in only} == {(FLOOR,)}
    assert "drain" not in [one.name for one in only]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenario", "all"], "invalid choice: 'all'"),
        (["--runs", "0"], "--runs takes 1 to 50, got 0"),
        (["--requests", "2000000"], "--requests takes 1 to 1,000,000"),
        (["--contestants", "curl"], "got curl"),
        (["--report", "/nowhere.md"], "--report: "),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_can(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    everything_is_installed(monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        bench.parse(arguments)
    assert said in capsys.readouterr().err


def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "NEEDED", ("no_such_library",))
    with pytest.raises(SystemExit, match="2"):
        bench.parse([])
    assert (
        "no_such_library not installed: pip install -e '.[local,bench]'" in capsys.readouterr().err
    )


# ── what is written ──────────────────────────────────────────────────────────────────────────────

RUNS = [
    run(COLLECTOR, 0, 1.5),
    run("script", 0, 4.5),
    run("aiohttp", 0, 3.0, problem="exit code 1"),
]


def test_the_table_has_figures_ratios_and_what_does_not_count() -> None:
    text = compare_report.figures(outcome(runs=RUNS))
    collector, script, aiohttp = text.splitlines()[2:5]
    assert "collector, `standard`" in collector
    assert "1,500" in collector
    assert "0.33" in script
    assert "0.25" in script  # without the start of both
    assert aiohttp.count(" - ") > 5
    assert "Does not count: aiohttp, 50 at once, round 1: exit code 1" in text


def test_a_start_is_told_without_the_time_that_a_batch_waits() -> None:
    timed = [
        Timed(contestant=COLLECTOR, title="collector", round=0, seconds=32.5, note="fine"),
        Timed(contestant="script", title="requests", round=0, seconds=1.25),
    ]
    ours, theirs = compare_report.figures(outcome("start-up", timed=timed)).splitlines()[2:4]
    assert "32.50 |" in ours
    assert "2.50 |" in ours
    assert "1.25 |" in theirs


def test_the_page_has_a_section_for_each_scenario_and_how_it_was_made() -> None:
    page = compare_page.part([outcome(runs=RUNS), outcome("gzip", runs=RUNS)], "performance.svg")
    assert page.count("### ") == 2
    assert "(`small-gets`)" in page
    assert page.count("`python -m bench`, 2026-01-31, a machine") == 1
    assert "](performance.svg)" in page


def test_results_are_read_as_they_were_written() -> None:
    written = outcome("latency-50", runs=RUNS)
    assert msgspec.json.decode(msgspec.json.encode(written), type=Outcome) == written


def test_pictures_are_drawn_and_the_same_results_give_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only the extra `bench` draws")
    from bench import compare_picture

    files = [tmp_path / name for name in ("first.svg", "second.svg")]
    for file in files:
        compare_picture.draw(outcome(runs=RUNS), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    compare_picture.overview([outcome(runs=RUNS)], tmp_path / "all.svg")
    assert "<svg" in (tmp_path / "all.svg").read_text(encoding="utf-8")

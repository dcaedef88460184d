"""The measurement of loading: what it feeds, computes, refuses to measure, and writes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from bench import load_rate
from bench.load_probe import LoadNote
from bench.load_report import figures, part
from bench.load_rows import BODY_BYTES, ROWS_PER_REQUEST, frames
from bench.load_run import PROFILE, Measured, Usage, measure
from pipeline.config import load
from pipeline.spool import new_batch_id

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIB = 1 << 20


def note(size_bytes: int, waited_s: float = 1.0) -> LoadNote:
    """A load whose first row was so old when it began."""
    batch_id = new_batch_id(NOON - timedelta(seconds=waited_s))
    return LoadNote(NOON.timestamp(), 2.0, [batch_id], size_bytes, 1_000, 0.02, 0.01)


def measured(loads: list[LoadNote], peak_bytes: int = 200 * MIB) -> Measured:
    """A measurement of these loads, a thousand rows each."""
    config = load(PROFILE, {}, {}, needs=())
    return Measured(
        rows=1_000 * len(loads),
        seconds=10.0,
        batch=Usage(1.0 + 0.01 * len(loads), peak_bytes),
        batch_start=Usage(1.0, 60 * MIB),
        load=Usage(2.0 + 0.03 * len(loads), 200 * MIB),
        load_start=Usage(2.0, 150 * MIB),
        batch_bytes=[one.size_bytes for one in loads],
        loads=loads,
        config=config,
    )


# ── what is fed ──────────────────────────────────────────────────────────────────────────────────


def test_rows_are_whole_requests_of_bodies_that_differ_and_have_one_size() -> None:
    fed = list(frames(ROWS_PER_REQUEST + 10, 0))
    resources = [resource for frame in fed for resource in frame.resources]
    bodies = {resource.body for resource in resources}
    assert len(bodies) == len({r.row_key for r in resources}) == ROWS_PER_REQUEST + 10
    assert {len(body or b"") for body in bodies} == {BODY_BYTES}
    assert all(json.loads(body or b"")["type"] for body in bodies)
    assert [f.outcome.rows for f in fed if f.outcome is not None] == [ROWS_PER_REQUEST, 10]
    assert fed[-1].outcome is not None


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def test_a_load_is_allowed_for_each_100_mb_for_each_time_out_and_for_the_rest() -> None:
    assert measured([note(100_000_000)] * 3).loads_allowed == 4
    assert measured([note(50_000_000)] * 3).loads_allowed == 2
    assert measured([note(1_000, waited_s=31.0)] * 3).loads_allowed == 4


def test_too_many_loads_and_too_much_memory_are_past_the_bar() -> None:
    assert measured([note(100_000_000)] * 3).problems() == []
    assert measured([note(50_000_000)] * 3).problems() == ["3 loads; 2 are allowed"]
    [problem] = measured([note(100_000_000)], peak_bytes=3 * 128 * MIB).problems()
    assert problem == "batch had 3.00 batches in memory; less than 3 are allowed"


def test_processor_time_is_a_rows_share_without_the_start() -> None:
    one = measured([note(100_000_000)] * 2)
    assert one.batch_row_s == pytest.approx(10e-6)
    assert one.load_row_s == pytest.approx(30e-6)
    assert one.write_pandas_row_s == pytest.approx(10e-6)
    assert one.write_pandas_share == pytest.approx(0.25)
    assert one.rows_per_s == 200


def test_the_figures_are_an_aligned_table() -> None:
    lines = figures(measured([note(100_000_000)])).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "200 MiB (60), 1.6 batches" in "".join(lines)


# ── usage and page ───────────────────────────────────────────────────────────────────────────────


def test_the_page_gets_the_measured_part_between_its_marks_and_keeps_the_rest() -> None:
    page = "# A\n\n<!-- measured -->\nold figures\n<!-- /measured -->\n\nrest\n"
    made = part(measured([note(100_000_000)]), "the command", date(2026, 1, 2))
    put = load_rate.put_in(page, made)
    assert put.startswith("# A\n\n<!-- measured -->\n\n1,000 rows")
    assert put.endswith("<!-- /measured -->\n\nrest\n")
    assert "`the command`, 2026-01-02" in put
    assert "old figures" not in put
    assert load_rate.put_in(put, made) == put


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--rows 0", "--rows takes 1 to 20,000,000, got 0"),
        ("--rows many", "invalid int value: 'many'"),
        ("--report nowhere.md", "No such file"),
    ],
)
def test_what_cannot_be_measured_is_told(
    line: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        load_rate.main(line.split())
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_page_without_marks_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# no marks\n")
    with pytest.raises(SystemExit):
        load_rate.main(["--report", str(page)])
    assert "<!-- measured -->" in capsys.readouterr().err


# ── a small one ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_few_thousand_rows_are_measured_through_both_stages() -> None:
    found = measure(3_000)
    assert (found.rows, len(found.loads), found.problems()) == (3_000, 1, [])
    assert found.loads[0].rows == 3_000
    assert 0 < found.write_pandas_row_s < found.load_row_s
    assert found.batch.peak_bytes > found.arrow_bytes

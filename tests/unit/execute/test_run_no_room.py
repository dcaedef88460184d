"""A disk without room for a request's rows makes it begin anew; it never fails of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.execute import held as held_module
from stages.execute import waits
from stages.execute.client import Answer
from stages.execute.held import HoldSpace
from stages.execute.run import RequestRun
from stages.execute.steps import Done, HeldBack, Step
from tests.unit.execute.driven import ACTION, link, page
from tests.unit.execute.made import LEASE, LIMITS, LIST, ORIGIN, answer, planned, rows_in
from tests.unit.file_limit import files_of_at_most


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HoldSpace:
    """No row stays in memory, so every page needs the disk."""
    monkeypatch.setattr(held_module, "MEMORY_BYTES", 0)
    return HoldSpace(tmp_path, memory_bytes=0)


def ask(run: RequestRun, reply: Answer, now_s: float) -> Step:
    run.calling(now_s, int(now_s * 1e6))
    return run.answered(reply, now_s, int(now_s * 1e6))


def test_it_begins_anew_from_its_first_page_and_has_each_row_once(space: HoldSpace) -> None:
    run = RequestRun(LEASE, planned(), ORIGIN, LIMITS, space)
    ask(run, page(1, link(2)), 1.0)
    with files_of_at_most(0):
        step = ask(run, page(2), 2.0)
    assert isinstance(step, HeldBack)
    assert "File too large" in step.problem
    assert run.call.target == LIST
    assert space.take(0), "what it held counts no more"
    ask(run, page(1, link(2)), 1_000.0)
    done = ask(run, page(2), 1_001.0)
    assert isinstance(done, Done)
    assert [row.resource_id for row in rows_in(done)] == ["/1", "/2"]
    found = done.outcome
    assert (found.outcome, found.rows, found.pages, found.attempts) == ("complete", 2, 2, 2)
    assert (found.started_at_us, found.latency_ms) == (1_000_000_000, 1_000)
    run.close()


def test_no_limit_of_retries_or_of_time_is_used_up_by_it(space: HoldSpace) -> None:
    run = RequestRun(LEASE, planned(), ORIGIN, LIMITS, space)
    now_s = 0.0
    with files_of_at_most(0):
        for _ in range(50):
            ask(run, answer(500), now_s)
            step = ask(run, page(1), now_s)
            assert isinstance(step, HeldBack)
            now_s += step.after_s
            assert not run.out_of_time(now_s)
    assert now_s > LIMITS.request_timeout_s
    done = ask(run, page(1), now_s)
    assert isinstance(done, Done)
    assert done.outcome.outcome == "complete"
    run.close()


def test_the_waits_grow_up_to_a_minute(space: HoldSpace) -> None:
    run = RequestRun(LEASE, planned(), ORIGIN, LIMITS, space)
    for longest_s in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        with files_of_at_most(0):
            step = ask(run, page(1), 0.0)
        assert isinstance(step, HeldBack)
        assert longest_s / 2 <= step.after_s <= longest_s <= waits.NO_ROOM_MAX_S


def test_a_long_operation_is_begun_anew_too(space: HoldSpace) -> None:
    run = RequestRun(LEASE, planned(), ORIGIN, LIMITS, space)
    for _ in range(2):
        ask(run, answer(202, location=link(7), retry_after="1"), 0.0)
        assert run.call.target == "/list?page=7"
        with files_of_at_most(0):
            assert isinstance(ask(run, page(1), 0.0), HeldBack)
        assert run.call.target == LIST


def test_what_may_not_be_asked_twice_is_kept_in_memory(space: HoldSpace) -> None:
    run = RequestRun(LEASE, planned("POST", ACTION), ORIGIN, LIMITS, space)
    with files_of_at_most(0):
        done = ask(run, page(1), 0.0)
    assert isinstance(done, Done)
    assert [row.resource_id for row in rows_in(done)] == ["/1"]
    assert not space.take(0), "its rows count as long as they are in memory"
    run.close()
    assert space.take(0)

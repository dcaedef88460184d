"""Waiting batches go into the next load oldest first, up to BATCH_BYTES."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stages.load.join import JOIN_LIMIT, join_plan

waiting_batches = st.dictionaries(st.text("0123456789", min_size=4), st.integers(0, 1000))


def test_nothing_waits() -> None:
    assert join_plan({}, 100) == []


def test_small_batches_go_together_up_to_the_limit() -> None:
    assert join_plan({"1": 40, "2": 40, "3": 40}, 100) == ["1", "2"]
    assert join_plan({"1": 40, "2": 60, "3": 1}, 100) == ["1", "2"]


def test_the_oldest_goes_alone_even_if_it_is_too_large() -> None:
    assert join_plan({"1": 500, "2": 1}, 100) == ["1"]


def test_none_is_skipped_to_fit_a_later_one_in() -> None:
    assert join_plan({"1": 10, "2": 500, "3": 10}, 100) == ["1"]


def test_the_order_is_that_of_the_ids_however_they_came() -> None:
    assert join_plan({"3": 1, "1": 1, "2": 1}, 100) == ["1", "2", "3"]


def test_a_load_has_a_limit_of_batches() -> None:
    waiting = {f"{i:05d}": 0 for i in range(JOIN_LIMIT + 10)}
    assert len(join_plan(waiting, 100)) == JOIN_LIMIT


@given(waiting_batches, st.integers(1, 3000))
def test_a_plan_is_a_run_of_the_oldest_within_the_limit(
    waiting: dict[str, int], batch_bytes: int
) -> None:
    plan = join_plan(waiting, batch_bytes)
    assert plan == sorted(waiting)[: len(plan)]
    assert bool(plan) == bool(waiting)
    assert len(plan) <= 1 or sum(waiting[batch_id] for batch_id in plan) <= batch_bytes

"""A load waits for company up to BATCH_TIMEOUT, and for its turn under LOADS_PER_MINUTE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.spool import new_batch_id
from stages.load.join import JOIN_LIMIT
from stages.load.pace import Pace, first_row_s

NOON = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)
WALL_S = NOON.timestamp()
# The monotonic clock has nothing to do with the wall's.
NOW_S = 5_000.0


def born(age_s: float) -> str:
    """Id of a batch whose first row came so long before noon."""
    return new_batch_id(NOON - timedelta(seconds=age_s))


def pace(**changes: Any) -> Pace:
    settings = {"batch_bytes": 1000, "room_bytes": 10_000, "timeout_s": 10, "loads_per_minute": 0}
    return Pace(**{**settings, **changes})


def wait_s(pace: Pace, waiting: dict[str, int], after_s: float = 0.0) -> float:
    return round(pace.turn(waiting, NOW_S + after_s, WALL_S + after_s).wait_s, 3)


# ── company ──────────────────────────────────────────────────────────────────────────────────────


def test_nothing_waits() -> None:
    assert pace().turn({}, NOW_S, WALL_S) == ([], 0.0)


def test_a_small_batch_waits_until_its_first_row_is_as_old_as_the_timeout() -> None:
    batch = born(4)
    paced = pace()
    assert wait_s(paced, {batch: 1}) == 6
    assert wait_s(paced, {batch: 1}, after_s=5.5) == 0.5
    assert paced.turn({batch: 1}, NOW_S + 6, WALL_S + 6) == ([batch], 0.0)


def test_the_oldest_row_of_all_counts_and_all_of_them_go_together() -> None:
    old, young = born(9), born(1)
    paced = pace()
    assert wait_s(paced, {young: 1, old: 1}) == 1
    assert paced.turn({young: 1, old: 1}, NOW_S + 1, WALL_S + 1).plan == [old, young]


def test_what_fills_a_load_does_not_wait() -> None:
    assert wait_s(pace(), {born(0): 1000}) == 0
    assert wait_s(pace(), {born(0): 400, born(0): 400}) == 0
    assert wait_s(pace(), {born(0): 400, born(0): 399}) == 10


def test_a_load_goes_when_the_next_batch_does_not_fit_into_it() -> None:
    first, second = born(2), born(1)
    assert pace().turn({first: 500, second: 600}, NOW_S, WALL_S) == ([first], 0.0)


def test_what_is_left_out_of_a_load_waits_for_company_in_its_turn() -> None:
    first, second = born(2), born(1)
    paced = pace()
    paced.turn({first: 500, second: 600}, NOW_S, WALL_S)
    assert wait_s(paced, {second: 600}) == 9


def test_a_load_goes_when_it_has_as_many_batches_as_it_may_have() -> None:
    assert wait_s(pace(), {born(n / 1000): 1 for n in range(JOIN_LIMIT - 1)}) > 0
    assert wait_s(pace(), {born(n / 1000): 1 for n in range(JOIN_LIMIT)}) == 0


def test_a_full_spool_does_not_wait_because_fetching_pauses() -> None:
    assert wait_s(pace(room_bytes=100), {born(0): 100}) == 0


def test_what_an_earlier_process_left_has_waited_long_enough() -> None:
    assert wait_s(pace(), {born(3600): 1}) == 0
    assert wait_s(pace(), {"of-a-name-that-tells-nothing": 1}) == 0


def test_a_wall_clock_that_is_set_makes_no_batch_wait_longer_than_the_timeout() -> None:
    ahead = born(-3600)
    paced = pace()
    assert wait_s(paced, {ahead: 1}) == 10
    assert round(paced.turn({ahead: 1}, NOW_S + 9, WALL_S - 3600).wait_s, 3) == 1


def test_at_the_end_nothing_waits_for_company() -> None:
    batch = born(0)
    paced = pace()
    paced.hurry([batch])
    assert wait_s(paced, {batch: 1}) == 0
    # What comes after that word, because the queue was filled again, waits as ever.
    assert wait_s(paced, {born(0): 1}) == 10


def test_the_name_of_a_batch_tells_its_first_row() -> None:
    assert first_row_s(born(0)) == WALL_S
    assert first_row_s("b-1") == 0


# ── the cap ──────────────────────────────────────────────────────────────────────────────────────


def test_loads_are_spaced_evenly_from_beginning_to_beginning() -> None:
    paced = pace(loads_per_minute=4)
    assert wait_s(paced, {born(60): 1}) == 0
    paced.loaded(NOW_S)
    assert wait_s(paced, {born(60): 1}, after_s=3) == 12
    assert wait_s(paced, {born(60): 1}, after_s=15) == 0


def test_a_full_load_waits_for_its_turn_too() -> None:
    paced = pace(loads_per_minute=4)
    paced.loaded(NOW_S)
    assert wait_s(paced, {born(0): 5000}) == 15


def test_batches_gather_while_they_wait_for_their_turn() -> None:
    paced = pace(loads_per_minute=4)
    paced.loaded(NOW_S)
    first, second, third = born(60), born(50), born(40)
    assert paced.turn({first: 300}, NOW_S, WALL_S).plan == [first]
    waiting = {first: 300, second: 300, third: 300}
    assert paced.turn(waiting, NOW_S + 15, WALL_S + 15) == ([first, second, third], 0.0)


def test_company_and_turn_are_waited_for_side_by_side() -> None:
    paced = pace(loads_per_minute=4)
    paced.loaded(NOW_S - 10)
    assert wait_s(paced, {born(2): 1}) == 8
    assert wait_s(paced, {born(9): 1}) == 5


def test_at_the_end_the_cap_holds_up_nothing() -> None:
    paced = pace(loads_per_minute=1)
    paced.loaded(NOW_S)
    batch = born(0)
    paced.hurry([batch])
    assert wait_s(paced, {batch: 1}) == 0


def test_without_a_cap_one_load_follows_the_other() -> None:
    paced = pace()
    paced.loaded(NOW_S)
    assert wait_s(paced, {born(0): 1000}) == 0


# ── both, over time ──────────────────────────────────────────────────────────────────────────────

arrivals = st.lists(
    st.tuples(st.floats(0, 5), st.integers(1, 1200)), min_size=1, max_size=60
)  # seconds since the one before, bytes


@given(arrivals, st.sampled_from([0, 1, 6, 60]), st.floats(0.1, 20))
def test_no_batch_waits_without_a_reason_and_no_load_is_made_without_one(
    arrivals: list[tuple[float, int]], loads_per_minute: int, timeout_s: float
) -> None:
    paced = pace(loads_per_minute=loads_per_minute, timeout_s=timeout_s)
    gap_s = 60 / loads_per_minute if loads_per_minute else 0.0
    coming, at_s = [], 0.0
    for pause_s, size in arrivals:
        at_s += pause_s
        coming.append((at_s, new_batch_id(NOON + timedelta(seconds=at_s)), size))
    waiting: dict[str, int] = {}
    first_row: dict[str, float] = {}
    clock_s, last_s, loads = 0.0, float("-inf"), 0
    while coming or waiting:
        while coming and coming[0][0] <= clock_s:
            came_s, batch_id, size = coming.pop(0)
            waiting[batch_id], first_row[batch_id] = size, came_s
        turn = paced.turn(waiting, NOW_S + clock_s, WALL_S + clock_s)
        if turn.plan and turn.wait_s < 1e-6:
            full = sum(waiting[b] for b in turn.plan) >= 800 or len(turn.plan) < len(waiting)
            oldest_s = min(first_row.values())
            assert full or clock_s - oldest_s >= timeout_s - 1e-3
            assert clock_s - last_s >= gap_s - 1e-3
            paced.loaded(NOW_S + clock_s)
            last_s, loads = clock_s, loads + 1
            for batch_id in turn.plan:
                del waiting[batch_id], first_row[batch_id]
            continue
        next_s = clock_s + turn.wait_s if turn.plan else float("inf")
        if turn.plan:
            late_s = next_s - min(first_row.values()) - timeout_s
            assert late_s <= max(0.0, last_s + gap_s - min(first_row.values()) - timeout_s) + 1e-3
        clock_s = min([next_s, *(arrival[0] for arrival in coming[:1])])
    assert loads <= len(arrivals)

"""A meter follows what is said to be left, and paces by it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from stages.execute.meter import MAKE_UP_S, PACE_PER_S, SLOWED_BY, SLOWEST_S, Meter, Window


def reads() -> Meter:
    return Meter(250.0, 25.0, 0.0)


def interval_s(meter: Meter, now_s: float) -> float:
    """How long the meter waits between two calls that nothing else delays."""
    while (first_s := meter.ready_at(now_s)) <= now_s:  # what may be made up for is used
        meter.take(now_s)
    meter.take(first_s)
    return meter.ready_at(first_s) - first_s


def test_the_pace_is_in_proportion_to_what_is_left() -> None:
    meter = reads()
    meter.read(100.0, meter.take(0.0), 0.0)
    assert 0.9 / (PACE_PER_S * 100) < interval_s(meter, 0.0) < 1.3 / (PACE_PER_S * 100)
    meter.read(10.0, meter.take(1.0), 1.0)
    assert 0.9 / (PACE_PER_S * 10) < interval_s(meter, 1.0) < 2.0 / (PACE_PER_S * 10)


def test_a_count_that_calls_do_not_lower_paces_nobody() -> None:
    meter = reads()
    for _ in range(20):
        meter.read(249.0, meter.take(0.0), 0.0)
        assert meter.ready_at(0.0) <= 0.0


def test_calls_made_since_the_answered_one_are_subtracted() -> None:
    meter = reads()
    first = meter.take(0.0)
    for _ in range(5):
        meter.take(0.0)
    meter.read(5.0, first, 0.0)
    assert meter.ready_at(0.0) > 0.0  # five are left, and five are on their way


def test_an_answer_that_is_overtaken_counts_no_more() -> None:
    meter = reads()
    first, second = meter.take(0.0), meter.take(0.0)
    meter.read(3.0, second, 1.0)
    ready_s = meter.ready_at(1.0)
    meter.read(200.0, first, 1.0)
    assert meter.ready_at(1.0) == ready_s


def test_an_empty_bucket_is_asked_when_a_call_has_come_back() -> None:
    meter = reads()
    meter.read(0.0, meter.take(0.0), 0.0)
    assert 1 / 25 <= meter.ready_at(0.0) < 1.0


def test_of_a_count_whose_refill_is_not_known_one_call_is_tried_in_time() -> None:
    meter = Meter(0.0, 0.0, 0.0)
    meter.read(10.0, meter.take(0.0), 0.0)
    meter.read(0.0, meter.take(1.0), 1.0)
    assert meter.ready_at(2.0) == 1.0 + SLOWEST_S
    assert meter.ready_at(20.0) == 1.0 + SLOWEST_S


def test_a_refusal_slows_it_down_once_for_all_that_are_refused_with_it() -> None:
    meter = reads()
    meter.read(100.0, meter.take(0.0), 0.0)
    before_s = interval_s(meter, 0.0)
    for _ in range(10):
        meter.slow_down(1.0)
    meter.read(100.0, meter.take(1.0), 1.0)
    assert 0.85 * SLOWED_BY < interval_s(meter, 1.0) / before_s < 1.15 * SLOWED_BY


def test_a_window_is_spread_over_the_time_that_is_left() -> None:
    window = Window(0.0)
    window.read(10, window.take(0.0), 0.0, 5.0)
    assert window.ready_at(0.0) == 0.5
    for number in range(1, 11):
        now_s = window.ready_at(0.0)
        assert math.isclose(now_s, number * 0.5)
        window.take(now_s)
    assert window.ready_at(5.0) == 5.0  # what comes back then is not known yet


def test_a_spent_window_waits_for_its_end() -> None:
    window = Window(0.0)
    window.read(0, window.take(0.0), 0.0, 5.0)
    assert window.ready_at(1.0) == 5.0


_STEPS = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 50)), max_size=40)


@given(_STEPS)
def test_never_more_than_was_left_and_came_back(steps: list[tuple[float, int]]) -> None:
    """Against a bucket of Azure's that nobody else asks."""
    meter, now_s, left = reads(), 0.0, 250.0
    for wait_s, wanted in steps:
        now_s += wait_s
        left = min(250.0, left + 25.0 * wait_s)
        for _ in range(wanted):
            if meter.ready_at(now_s) > now_s:
                break
            number = meter.take(now_s)
            left -= 1.0
            assert left >= 0.0
            meter.read(math.floor(left), number, now_s)


@given(st.integers(1, 247))
def test_what_is_made_up_for_is_bounded(left: int) -> None:
    meter = reads()
    meter.read(float(left), meter.take(0.0), 0.0)
    calls, now_s = 0, 100.0
    meter.read(float(left), meter.take(now_s), now_s)
    while meter.ready_at(now_s) <= now_s:
        meter.take(now_s)
        calls += 1
    assert calls <= PACE_PER_S * 250 * MAKE_UP_S + 1

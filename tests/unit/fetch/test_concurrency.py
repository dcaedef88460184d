"""How many calls are under way at once: fewer at a slow server, more at one that is quick again."""

from __future__ import annotations

from stages.fetch.concurrency import Concurrency

FEWEST, MOST, SLOW_S = 4, 32, 0.5


def after(calls: int, took_s: float, *, well: bool = True, begin: int = MOST) -> int:
    at_once = Concurrency(FEWEST, MOST, SLOW_S)
    while at_once.now > begin:
        at_once.ended(0, well=False)
    for _ in range(calls):
        at_once.ended(took_s, well=well)
    return at_once.now


def test_it_begins_with_the_most_and_stays_there_while_all_goes_well() -> None:
    assert after(0, 0) == MOST
    assert after(1000, 0.1) == MOST


def test_slow_and_failed_calls_make_it_fewer_and_never_less_than_the_fewest() -> None:
    assert after(5, SLOW_S) < 0.7 * MOST
    assert after(5, 0.1, well=False) < 0.7 * MOST
    assert after(1000, SLOW_S) == FEWEST


def test_it_comes_back_slower_than_it_went() -> None:
    assert after(FEWEST, 0.1, begin=FEWEST) <= FEWEST + 1
    assert after(1000, 0.1, begin=FEWEST) == MOST

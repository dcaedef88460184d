"""Turns by weight."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.turns import WeightedTurns

WEIGHTS = (16, 4, 1)


def turns(weighted: WeightedTurns, wanting: list[int], times: int) -> list[int]:
    found = []
    for _ in range(times):
        found.append(weighted.next(wanting))
        weighted.charge(found[-1], wanting)
    return found


def test_each_gets_its_share_and_the_light_ones_not_only_at_the_end() -> None:
    found = turns(WeightedTurns(WEIGHTS), [0, 1, 2], 21)
    assert Counter(found) == {0: 16, 1: 4, 2: 1}
    assert 1 in found[:5]


def test_who_did_not_want_saves_nothing_up() -> None:
    weighted = WeightedTurns(WEIGHTS)
    turns(weighted, [2], 1000)
    assert weighted.next([0, 2]) == 0
    assert Counter(turns(weighted, [0, 2], 17)) == {0: 16, 2: 1}


@given(st.lists(st.sets(st.integers(0, 2), min_size=1), max_size=200))
def test_whoever_keeps_wanting_gets_a_turn(wantings: list[set[int]]) -> None:
    weighted = WeightedTurns(WEIGHTS)
    waited = 0
    for wanting in wantings:
        waited += 1
        if 2 in turns(weighted, sorted(wanting | {2}), 1):
            waited = 0
        assert waited <= 2 * sum(WEIGHTS)

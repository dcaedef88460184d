"""What is leased and not handed out: by priority, and apart what has to wait."""

from __future__ import annotations

from collections import Counter

from pipeline.turns import PRIORITY_WEIGHTS
from stages.fetch.backlog import Backlog, Lot


def taken(backlog: Backlog, most: int = 1_000) -> list[Lot]:
    found = []
    while (lot := backlog.take(most)) is not None:
        found.append(lot)
    return found


def test_lots_of_a_priority_come_in_their_order() -> None:
    backlog = Backlog()
    lots = [Lot(number, [0, 1], 1) for number in range(5)]
    for lot in lots:
        backlog.add(lot)
    assert backlog.requests == 10
    assert taken(backlog) == lots
    assert not backlog


def test_priorities_share_by_weight() -> None:
    backlog = Backlog()
    for priority in range(len(PRIORITY_WEIGHTS)):
        for number in range(50):
            backlog.add(Lot(number, [0], priority))
    first = [backlog.take(9) for _ in range(sum(PRIORITY_WEIGHTS))]
    assert Counter(lot.priority for lot in first if lot) == dict(enumerate(PRIORITY_WEIGHTS))


def test_what_does_not_fit_is_parted_and_the_rest_stays_first() -> None:
    backlog = Backlog()
    backlog.add(Lot(1, [0, 1, 2], 1))
    backlog.add(Lot(2, [0], 1))
    assert taken(backlog, 2) == [Lot(1, [0, 1], 1), Lot(1, [2], 1), Lot(2, [0], 1)]


def test_what_has_to_wait_holds_up_nobody_and_comes_in_time() -> None:
    backlog = Backlog()
    backlog.park(Lot(1, [0], 1), 60.0)
    backlog.park(Lot(2, [0, 1], 1), 30.0)
    backlog.add(Lot(3, [0], 1))
    assert backlog.requests == 4
    assert backlog.wake(29.9) == 30.0
    assert taken(backlog) == [Lot(3, [0], 1)]
    assert not backlog
    assert backlog.wake(30.0) == 60.0
    assert taken(backlog) == [Lot(2, [0, 1], 1)]
    assert backlog.wake(60.0) is None
    assert taken(backlog) == [Lot(1, [0], 1)]

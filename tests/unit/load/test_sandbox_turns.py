"""The sandbox lets one session write at a time, and none for ever."""

from __future__ import annotations

import pytest

from pipeline.sandbox.snowflake import turns
from pipeline.sandbox.snowflake.turns import (
    IDLE_ROLLBACK_S,
    LockTimeout,
    TransactionAborted,
    Writer,
    WriteTurns,
)


class Clock:
    """Seconds that pass when they are looked at."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def writer(clock: Clock, rolled_back: list[str], name: str) -> Writer:
    return Writer(lambda: rolled_back.append(name), clock)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_POLL_S", 0.0)


def test_a_turn_is_taken_again_by_its_owner_and_by_others_once_released() -> None:
    clock, rolled_back = Clock(0.1), list[str]()
    first, second = writer(clock, rolled_back, "1"), writer(clock, rolled_back, "2")
    queue = WriteTurns(clock)
    queue.take(first)
    queue.take(first)
    queue.release(second)  # not its turn: nothing happens
    queue.release(first)
    queue.take(second)
    assert rolled_back == []


def test_an_idle_writer_is_rolled_back_when_another_waits() -> None:
    clock, rolled_back = Clock(IDLE_ROLLBACK_S / 5), list[str]()
    first, second = writer(clock, rolled_back, "1"), writer(clock, rolled_back, "2")
    queue = WriteTurns(clock)
    queue.take(first)
    queue.take(second)
    assert rolled_back == ["1"]
    assert (first.abandoned, second.abandoned) == (True, False)


def test_a_writer_with_a_statement_under_way_is_waited_for_until_the_limit() -> None:
    clock, rolled_back = Clock(1.0), list[str]()
    first, second = writer(clock, rolled_back, "1"), writer(clock, rolled_back, "2")
    queue = WriteTurns(clock)
    queue.take(first)
    with first, pytest.raises(LockTimeout):
        queue.take(second)
    assert rolled_back == []


def test_a_writer_that_is_given_up_waits_no_longer_and_is_told_once() -> None:
    clock, rolled_back = Clock(0.001), list[str]()
    first, second = writer(clock, rolled_back, "1"), writer(clock, rolled_back, "2")
    queue = WriteTurns(clock)
    queue.take(first)
    queue.give_up(second)
    with pytest.raises(TransactionAborted):
        queue.take(second)
    assert not second.abandoned
    queue.release(first)
    queue.take(second)
    assert rolled_back == []

"""Whose turn it is: scopes, priorities and messages apart, in turn, nobody lost."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arm_limits import Scope
from pipeline.turns import PRIORITY_WEIGHTS
from stages.execute import scheduler as module
from stages.execute.scheduler import Scheduler
from stages.execute.throttle import ROOM_AT_FIRST, Ticket

LEFT = "x-ms-ratelimit-remaining-subscription-reads"
HIGH, NORMAL, LOW = range(3)


class Request(NamedTuple):
    number: int
    subscription: str
    message: int = 0
    priority: int = NORMAL
    operation: str = "GET p/t"

    def scope(self) -> Scope:
        return Scope(self.subscription, "reads")


class Lines:
    """A scheduler, and the calls that it has let through."""

    def __init__(self) -> None:
        self.scheduler: Scheduler[Request] = Scheduler()
        self.out: list[tuple[Request, Ticket]] = []

    def add(self, *requests: Request, now_s: float = 0.0, after_s: float = 0.0) -> None:
        for request in requests:
            self.scheduler.add(request, now_s, after_s)

    def take(self, now_s: float = 0.0) -> Request | None:
        """Let one through, and keep its call under way."""
        if (due := self.scheduler.take(now_s)) is None:
            return None
        self.out.append(due)
        return due[0]

    def drained(self, now_s: float) -> list[Request]:
        """Let through all that may go, each answered at once without a word on limits."""
        found = []
        while (request := self.take(now_s)) is not None:
            found.append(request)
            self.answer(now_s)
        return found

    def answer(self, now_s: float, left: int | None = None) -> None:
        """The last call comes back."""
        _, ticket = self.out.pop()
        headers = {} if left is None else {LEFT: str(left)}
        self.scheduler.answered(ticket, headers, now_s)

    def refuse(self, request: Request, now_s: float, wait_s: float, whole: bool = True) -> None:
        """A call of this request's kind is made, and refused."""
        self.add(request, now_s=now_s)
        while self.take(now_s) != request:
            self.answer(now_s)
        _, ticket = self.out.pop()
        self.scheduler.block(ticket, wait_s, now_s, whole)
        self.scheduler.answered(ticket, {}, now_s, refused=True)


def test_scopes_take_turns() -> None:
    lines = Lines()
    lines.add(*(Request(number, "many") for number in range(4)), Request(4, "one"))
    assert [request.number for request in lines.drained(0.0)] == [0, 4, 1, 2, 3]


def test_messages_of_a_scope_take_turns() -> None:
    lines = Lines()
    lines.add(*(Request(number, "s", message=1) for number in range(50)))
    lines.add(*(Request(number, "s", message=2) for number in range(50, 53)))
    order = [request.number for request in lines.drained(0.0)]
    assert order[:6] == [0, 50, 1, 51, 2, 52]
    assert order[6:] == list(range(3, 50))


@pytest.mark.parametrize("subscriptions", ["aaa", "abc"])
def test_priorities_share_by_weight_and_none_starves(subscriptions: str) -> None:
    lines = Lines()
    for priority, subscription in enumerate(subscriptions):
        for number in range(100):
            lines.add(Request(number, subscription, priority, priority))
    first = Counter(request.priority for request in lines.drained(0.0)[: sum(PRIORITY_WEIGHTS) * 2])
    assert first == {priority: 2 * weight for priority, weight in enumerate(PRIORITY_WEIGHTS)}


def test_priorities_share_the_calls_of_a_throttled_scope() -> None:
    lines = Lines()
    for priority in (HIGH, LOW):
        lines.add(*(Request(number, "s", priority, priority) for number in range(100)))
    lines.take()
    lines.answer(0.0, left=1)
    got: Counter[int] = Counter()
    now_s = 0.0
    while got.total() < 51:
        request = lines.take(now_s)
        if request is None:
            wake_s = lines.scheduler.next_wake_s()
            assert wake_s is not None
            now_s = wake_s
            continue
        got[request.priority] += 1
        lines.answer(now_s, left=1)
    assert got[LOW] == 3


def test_a_request_that_waits_comes_when_its_time_is_there() -> None:
    lines = Lines()
    lines.add(Request(0, "s"), now_s=10.0, after_s=5.0)
    assert lines.take(14.9) is None
    assert lines.scheduler.next_wake_s() == 15.0
    assert lines.take(15.0) == Request(0, "s")
    assert lines.scheduler.next_wake_s() is None


def test_a_blocked_scope_delays_no_other_and_is_not_given_out_before_its_time() -> None:
    lines = Lines()
    lines.refuse(Request(99, "a"), 0.0, 60.0)
    lines.add(*(Request(number, "ab"[number % 2]) for number in range(20)))
    assert [request.subscription for request in lines.drained(0.0)] == ["b"] * 10
    assert lines.scheduler.paused_scopes() == {"reads": 1}
    assert lines.drained(59.9) == []
    assert lines.scheduler.next_wake_s() == 60.0
    assert len(lines.drained(60.0)) == 10


def test_a_blocked_operation_delays_no_other_of_its_scope() -> None:
    lines = Lines()
    lines.refuse(Request(99, "s", operation="GET p/slow"), 0.0, 30.0, whole=False)
    for number in range(20):
        lines.add(Request(number, "s", operation=f"GET p/{'slow' if number % 2 else 'fast'}"))
    assert {request.operation for request in lines.drained(1.0)} == {"GET p/fast"}
    assert lines.scheduler.next_wake_s() == 30.0
    assert len(lines.scheduler) == 10
    assert len(lines.drained(30.0)) == 10


def test_what_is_blocked_for_longer_can_be_taken_out() -> None:
    lines = Lines()
    lines.refuse(Request(90, "a"), 0.0, 60.0)
    lines.refuse(Request(91, "b"), 0.0, 2.0)
    lines.refuse(Request(92, "c", operation="GET p/slow"), 0.0, 60.0, whole=False)
    lines.add(Request(0, "a"), Request(1, "a"), Request(2, "b"))
    lines.add(Request(3, "c", operation="GET p/slow"), Request(4, "c"))
    assert [request.number for request in lines.drained(1.0)] == [4]
    removed = lines.scheduler.remove_blocked(1.0, 3.0, lambda request: request.number != 1)
    assert sorted((request.number, wait_s) for request, wait_s in removed) == [(0, 59.0), (3, 59.0)]
    assert len(lines.scheduler) == 2
    assert [request.number for request in lines.drained(2.0)] == [2]
    assert [request.number for request in lines.drained(60.0)] == [1]


def test_an_answer_makes_room_for_those_that_wait_for_it() -> None:
    lines = Lines()
    lines.add(*(Request(number, "s") for number in range(ROOM_AT_FIRST + 2)))
    for _ in range(ROOM_AT_FIRST):
        assert lines.take() is not None
    assert lines.take() is None
    assert lines.scheduler.next_wake_s() is None
    lines.answer(0.0)
    assert lines.take() is not None


def test_a_call_without_an_answer_makes_room_too() -> None:
    lines = Lines()
    lines.add(*(Request(number, "s") for number in range(ROOM_AT_FIRST + 1)))
    for _ in range(ROOM_AT_FIRST):
        lines.take()
    lines.scheduler.lost(lines.out.pop()[1])
    assert lines.take() is not None


def test_what_is_removed_is_gone_and_the_rest_stays() -> None:
    lines = Lines()
    for number in range(10):
        lines.add(Request(number, "ab"[number % 2]), after_s=float(number > 5))
    removed = lines.scheduler.remove(lambda request: request.subscription == "a")
    assert sorted(request.number for request in removed) == [0, 2, 4, 6, 8]
    assert len(lines.scheduler) == 5
    lines.add(Request(10, "a"))
    assert sorted(request.number for request in lines.drained(2.0)) == [1, 3, 5, 7, 9, 10]
    assert len(lines.scheduler) == 0


def test_idle_scopes_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_IDLE_SCOPES", 3)
    lines = Lines()
    lines.add(*(Request(number, "busy") for number in range(ROOM_AT_FIRST + 1)))
    for _ in range(ROOM_AT_FIRST):
        lines.take()
    for number in range(20):
        lines.add(Request(number, f"s{number}"))
        assert lines.take() is not None
        lines.answer(0.0)
    assert len(lines.scheduler._scopes) <= 5
    assert lines.take() is None  # its room is still taken
    lines.answer(0.0)
    assert lines.take() == Request(ROOM_AT_FIRST, "busy")


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "delay", "take", "answered", "lost", "block", "remove", "wait"]),
        st.integers(0, 3),
        st.integers(0, 260),
    ),
    max_size=120,
)


@given(_STEPS)
def test_no_request_is_lost_or_doubled_in_any_order(steps: list[tuple[str, int, int]]) -> None:
    lines = Lines()
    scheduler = lines.scheduler
    now_s, number = 0.0, 0
    waiting: Counter[Request] = Counter()
    due_s: dict[Request, float] = {}
    blocked_s: dict[str, float] = {}

    def take() -> None:
        while (request := lines.take(now_s)) is not None:
            assert waiting.pop(request) == 1
            assert due_s[request] <= now_s
            assert blocked_s.get(request.subscription, 0.0) <= now_s

    for step, place, amount in steps:
        if step in ("add", "delay"):
            for _ in range(1 + amount % 50):
                operation = f"GET p/{number % 2}"
                request = Request(number, "abcd"[place], number % 5, number % 3, operation)
                after_s = amount / 50 if step == "delay" else 0.0
                number += 1
                lines.add(request, now_s=now_s, after_s=after_s)
                waiting[request] += 1
                due_s[request] = now_s + after_s
        elif step == "take":
            take()
        elif step in ("answered", "lost", "block") and lines.out:
            request, ticket = lines.out.pop(amount % len(lines.out))
            if step == "lost":
                scheduler.lost(ticket)
            elif step == "answered":
                scheduler.answered(ticket, {LEFT: str(amount)} if amount % 3 else {}, now_s)
            else:
                whole = bool(amount % 2)
                scheduler.block(ticket, amount / 10, now_s, whole)
                scheduler.answered(ticket, {}, now_s, refused=True)
                if whole:
                    until_s = max(blocked_s.get(request.subscription, 0.0), now_s + amount / 10)
                    blocked_s[request.subscription] = until_s
        elif step == "remove":
            gone = [r for r, _ in scheduler.remove_blocked(now_s, 5.0, lambda r: r.number % 2 == 0)]
            gone += scheduler.remove(lambda r, n=place: r.number % 4 == n)
            for request in gone:
                assert waiting.pop(request) == 1
        elif step == "wait":
            now_s += amount / 40
        assert len(scheduler) == waiting.total()
    for _ in range(100_000):
        take()
        if lines.out:
            lines.answer(now_s, left=100)
        elif (wake_s := scheduler.next_wake_s()) is not None:
            assert wake_s > now_s or not waiting
            now_s = max(now_s, wake_s)
        else:
            break
    assert not waiting
    assert len(scheduler) == 0

"""Whose turn it is: scopes apart, in turn, nobody lost."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from stages.execute import scheduler as module
from stages.execute.scheduler import Scheduler
from stages.execute.throttle import READS, Scope

LEFT = "x-ms-ratelimit-remaining-subscription-reads"


class Request(NamedTuple):
    number: int
    subscription: str

    def scope(self) -> Scope:
        return Scope(self.subscription, "reads")


def scheduler() -> Scheduler[Request]:
    return Scheduler(Request.scope)


def drained(line: Scheduler[Request], now_s: float) -> list[Request]:
    found = []
    while (request := line.take(now_s)) is not None:
        found.append(request)
    return found


def test_scopes_take_turns() -> None:
    line = scheduler()
    for number in range(4):
        line.add(Request(number, "many"), 0.0)
    line.add(Request(4, "one"), 0.0)
    assert [line.take(0.0).number for _ in range(3)] == [0, 4, 1]  # type: ignore[union-attr]


def test_a_request_that_waits_comes_when_its_time_is_there() -> None:
    line = scheduler()
    line.add(Request(0, "s"), 10.0, 5.0)
    assert line.take(14.9) is None
    assert line.next_wake_s() == 15.0
    assert line.take(15.0) == Request(0, "s")
    assert line.next_wake_s() is None


def test_a_blocked_scope_delays_no_other_and_is_not_given_out_before_its_time() -> None:
    line = scheduler()
    for number in range(20):
        line.add(Request(number, "ab"[number % 2]), 0.0)
    line.bucket(Scope("a", "reads"), 0.0).block(60.0)
    assert [request.subscription for request in drained(line, 0.0)] == ["b"] * 10
    assert line.throttled_scopes(0.0) == 1
    line.answered(Scope("b", "reads"), {LEFT: "200"}, 1.0)
    line.answered(Scope("a", "reads"), {LEFT: "200"}, 1.0)
    assert drained(line, 59.9) == []
    assert line.next_wake_s() == 60.0
    assert len(drained(line, 60.5)) == 10


def test_a_block_set_while_the_scope_waits_for_less_holds() -> None:
    line = scheduler()
    for number in range(int(READS[0]) + 1):
        line.add(Request(number, "s"), 0.0)
    assert len(drained(line, 0.0)) == READS[0]
    line.bucket(Scope("s", "reads"), 0.0).block(30.0)
    assert drained(line, 1.0) == []
    assert line.next_wake_s() == 30.0


def test_an_answer_that_shows_more_calls_wakes_the_scope() -> None:
    line = scheduler()
    for number in range(int(READS[0]) + 5):
        line.add(Request(number, "s"), 0.0)
    assert len(drained(line, 0.0)) == READS[0]
    for _ in range(int(READS[0])):
        line.answered(Scope("s", "reads"), {LEFT: "240"}, 0.0)
    assert len(drained(line, 0.0)) == 5


def test_what_is_removed_is_gone_and_the_rest_stays() -> None:
    line = scheduler()
    for number in range(10):
        line.add(Request(number, "ab"[number % 2]), 0.0, float(number > 5))
    removed = line.remove(lambda request: request.subscription == "a")
    assert sorted(request.number for request in removed) == [0, 2, 4, 6, 8]
    assert len(line) == 5
    line.add(Request(10, "a"), 0.0)
    assert sorted(request.number for request in drained(line, 2.0)) == [1, 3, 5, 7, 9, 10]
    assert len(line) == 0


def test_idle_buckets_are_forgotten_and_busy_ones_are_not(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "MAX_IDLE_BUCKETS", 3)
    line = scheduler()
    busy = line.bucket(Scope("busy", "reads"), 0.0)
    busy.take(0.0)
    for number in range(10):
        line.bucket(Scope(str(number), "reads"), 0.0)
    assert line.bucket(Scope("busy", "reads"), 0.0) is busy
    assert len(line._buckets) <= 5


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "delay", "take", "answered", "block", "remove", "clear", "wait"]),
        st.integers(0, 3),
        st.integers(0, 260),
    ),
    max_size=120,
)


@given(_STEPS)
def test_no_request_is_lost_or_doubled_in_any_order(steps: list[tuple[str, int, int]]) -> None:
    line = scheduler()
    now_s, number = 0.0, 0
    waiting: Counter[Request] = Counter()
    due_s: dict[Request, float] = {}
    blocked_s: dict[str, float] = {}
    under_way: list[Request] = []
    for step, place, amount in steps:
        subscription = "abcd"[place]
        if step in ("add", "delay"):
            for _ in range(1 + amount % 100):
                request = Request(number, subscription)
                after_s = amount / 50 if step == "delay" else 0.0
                number += 1
                line.add(request, now_s, after_s)
                waiting[request] += 1
                due_s[request] = now_s + after_s
        elif step == "take":
            for request in drained(line, now_s)[: 10**6]:
                assert waiting.pop(request) == 1
                assert due_s[request] <= now_s
                assert blocked_s.get(request.subscription, 0.0) <= now_s
                under_way.append(request)
            wake_s = line.next_wake_s()
            assert not waiting or (wake_s is not None and wake_s > now_s)
        elif step == "answered" and under_way:
            request = under_way.pop(amount % len(under_way))
            line.answered(request.scope(), {LEFT: str(amount)} if amount % 3 else {}, now_s)
        elif step == "block":
            line.bucket(Scope(subscription, "reads"), now_s).block(now_s + amount / 10)
            until_s = now_s + amount / 10
            blocked_s[subscription] = max(blocked_s.get(subscription, 0.0), until_s)
        elif step == "remove":
            for request in line.remove(lambda request, n=place: request.number % 4 == n):
                assert waiting.pop(request) == 1
        elif step == "clear" and amount < 20:
            assert Counter(line.clear()) == waiting
            waiting.clear()
        elif step == "wait":
            now_s += amount / 40
        assert len(line) == waiting.total()
    for _ in range(10_000):
        for request in drained(line, now_s):
            assert waiting.pop(request) == 1
        wake_s = line.next_wake_s()
        if wake_s is None:
            break
        now_s = wake_s
    assert not waiting
    assert len(line) == 0

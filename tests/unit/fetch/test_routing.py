"""Routing of subscriptions to execute processes: sticky, balanced, bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.fetch import routing
from stages.fetch.routing import Router

WORKERS = ["execute-0", "execute-1", "execute-2"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-2, 5)), max_size=50))
def test_a_subscription_keeps_its_process_whatever_is_handed_out(
    steps: list[tuple[str, int]],
) -> None:
    router = Router(WORKERS)
    home: dict[str, str] = {}
    for subscription, requests in steps:
        worker = router.route(subscription)
        assert home.setdefault(subscription, worker) == worker
        router.handed(worker, requests)
        assert router.outstanding >= 0


def test_each_process_is_home_to_as_many_subscriptions_whatever_they_have_to_do() -> None:
    router = Router(WORKERS)
    # One after another, as messages trickle in, and with one process busy.
    router.handed("execute-0", 1_000)
    homes = Counter(router.route(f"s{number}") for number in range(30))
    assert homes == dict.fromkeys(WORKERS, 10)


def test_among_those_that_are_home_to_as_many_the_one_with_the_least_to_do_is_taken() -> None:
    router = Router(WORKERS)
    router.handed("execute-0", 2)
    router.handed("execute-1", 1)
    assert [router.route(name) for name in "abc"] == ["execute-2", "execute-1", "execute-0"]


def test_outstanding_is_what_was_handed_out_and_not_taken_off() -> None:
    router = Router(WORKERS)
    router.handed("execute-0", 5)
    router.handed("execute-1", 3)
    router.handed("execute-0", -1)
    assert router.outstanding == 7
    router.reset("execute-0")
    assert router.outstanding == 3
    router.handed("execute-0", -1)  # a late word of the one before
    assert router.outstanding == 3


def test_the_subscription_not_used_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routing, "MAX_SUBSCRIPTIONS", 2)
    router = Router(WORKERS)
    router.handed(router.route("a"), 1)  # execute-0
    router.handed(router.route("b"), 1)  # execute-1
    assert router.route("a") == "execute-0"
    assert router.route("c") == "execute-2"  # and b is forgotten
    assert router.route("a") == "execute-0"
    assert router.route("d") == "execute-1"  # which is home to none again

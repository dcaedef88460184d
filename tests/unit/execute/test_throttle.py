"""A bucket follows what Azure says, and never gives out more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.execute.throttle import (
    GRAPH,
    READS,
    UNMETERED_ANSWERS,
    WRITES,
    Bucket,
    Scope,
    scope_of,
)

READ_SCOPE = Scope("s", "reads")
LEFT = "x-ms-ratelimit-remaining-subscription-reads"


def taken(bucket: Bucket, now_s: float, at_most: int = 10_000) -> int:
    count = 0
    while count < at_most and bucket.take(now_s):
        count += 1
    return count


@pytest.mark.parametrize(
    ("kind", "limits"), [("reads", READS), ("writes", WRITES), ("graph", GRAPH)]
)
def test_a_bucket_starts_full_and_refills(kind: str, limits: tuple[float, float]) -> None:
    size, refill = limits
    bucket = Bucket(Scope("s", kind), 0.0)
    assert taken(bucket, 0.0) == size
    assert bucket.ready_at(0.0) == pytest.approx(1.0 / refill)
    assert taken(bucket, 2.0) == 2.0 * refill
    assert taken(bucket, 10_000.0) == size


def test_scopes_are_what_azure_counts() -> None:
    graph = "/providers/Microsoft.ResourceGraph/resources?api-version=1"
    assert scope_of("GET", "/subscriptions/s", "s") == Scope("s", "reads")
    assert scope_of("HEAD", "/subscriptions/s", "s") == Scope("s", "reads")
    assert scope_of("POST", "/subscriptions/s/x/listKeys", "s") == Scope("s", "writes")
    assert scope_of("POST", graph, "s") == Scope("", "graph")


def test_a_header_is_taken_at_its_word_minus_calls_under_way() -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    assert taken(bucket, 0.0, 5) == 5
    bucket.answered({LEFT: "10"}, 0.0)
    assert bucket.under_way == 4
    assert taken(bucket, 0.0) == 6


def test_the_lowest_of_several_headers_counts() -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    bucket.take(0.0)
    bucket.answered({LEFT: "100", "x-ms-ratelimit-remaining-subscription-global-reads": "3"}, 0.0)
    assert taken(bucket, 0.0) == 3


@pytest.mark.parametrize("value", ["", "x", "-1", "\xb2", "9" * 5000, "1e9", "12 "])
def test_a_header_that_is_no_count_is_as_none(value: str) -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    bucket.take(0.0)
    bucket.answered({LEFT: value}, 0.0)
    assert taken(bucket, 0.0) == READS[0] - 1


def test_a_spent_graph_quota_blocks_until_its_reset() -> None:
    bucket = Bucket(Scope("", "graph"), 0.0)
    bucket.take(0.0)
    headers = {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:05"}
    bucket.answered(headers, 0.0)
    assert bucket.ready_at(0.0) == 5.0
    assert not bucket.take(4.99)
    assert bucket.take(5.0)


def test_without_any_limit_header_nobody_counts() -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    for _ in range(UNMETERED_ANSWERS):
        bucket.take(0.0)
        bucket.answered({}, 0.0)
    assert taken(bucket, 0.0, 5_000) == 5_000


def test_calls_that_nobody_counted_are_no_debt_after_a_429() -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    for _ in range(100_000):
        bucket.take(0.0)
        bucket.answered({}, 0.0)
    bucket.block(30.0)
    assert not bucket.take(29.9)
    assert bucket.ready_at(30.0) < 31.0


def test_a_later_shorter_block_does_not_end_an_earlier_longer_one() -> None:
    bucket = Bucket(READ_SCOPE, 0.0)
    bucket.block(30.0)
    bucket.block(5.0)
    bucket.answered({LEFT: "200"}, 6.0)
    assert bucket.ready_at(6.0) == 30.0
    assert bucket.throttled(6.0)


@given(st.lists(st.floats(0.0, 3.0), max_size=40), st.lists(st.integers(0, 60), max_size=40))
def test_never_more_than_size_and_refill(waits_s: list[float], wanted: list[int]) -> None:
    size, refill = READS
    bucket, now_s, total = Bucket(READ_SCOPE, 0.0), 0.0, 0
    for wait_s, want in zip(waits_s, wanted, strict=False):
        now_s += wait_s
        total += taken(bucket, now_s, want)
        assert total <= size + refill * now_s + 1e-6


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["take", "answered", "silent", "lost", "block"]),
        st.integers(0, 300),
        st.floats(0.0, 1.0),
    ),
    max_size=80,
)


@given(_EVENTS)
def test_after_a_header_no_more_than_it_said_and_what_came_back(
    events: list[tuple[str, int, float]],
) -> None:
    """Between two headers: at most the last one's word less what was under way, and the refill."""
    size, refill = READS
    bucket, now_s, blocked_s = Bucket(READ_SCOPE, 0.0), 0.0, 0.0
    allowed, since_s, total, silent = size, 0.0, 0, 0
    for kind, number, wait_s in events:
        now_s += wait_s
        if kind == "take":
            got = taken(bucket, now_s, number % 40)
            assert not got or now_s >= blocked_s
            if silent < UNMETERED_ANSWERS:
                total += got
                assert total <= max(0.0, allowed) + refill * (now_s - since_s) + 1e-6
        elif kind == "block":
            blocked_s = max(blocked_s, now_s + number / 100)
            bucket.block(now_s + number / 100)
            silent = 0
        elif bucket.under_way and kind == "lost":
            bucket.lost()
        elif bucket.under_way and kind == "silent":
            bucket.answered({}, now_s)
            silent += 1
        elif bucket.under_way:
            bucket.answered({LEFT: str(number)}, now_s)
            silent, total, since_s = 0, 0, now_s
            allowed = min(size, number - bucket.under_way)
        assert bucket.under_way >= 0
        if bucket.ready_at(now_s) > now_s:
            assert not bucket.take(now_s)

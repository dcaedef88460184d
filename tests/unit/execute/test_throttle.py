"""A scope's calls go ahead as Azure says, and as it lets them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arm_limits import Scope, scope_of
from stages.execute import throttle
from stages.execute.limit_headers import POLICIES
from stages.execute.targets import operation_of
from stages.execute.throttle import (
    FORGOTTEN_AFTER,
    ROOM_AFTER_REFUSAL,
    ROOM_AT_FIRST,
    Bucket,
    Ticket,
)

READ_SCOPE = Scope("s", "reads")
LEFT = "x-ms-ratelimit-remaining-subscription-reads"
LIST, GET = "GET p/t list", "GET p/t"


def taken(bucket: Bucket, now_s: float, operation: str = GET, most: int = 10_000) -> list[Ticket]:
    """Take all that is ready at this moment."""
    tickets: list[Ticket] = []
    while len(tickets) < most and bucket.ready_at(now_s, operation) <= now_s:
        tickets.append(bucket.take(now_s, operation))
    return tickets


def test_scopes_are_what_azure_counts() -> None:
    graph = "/providers/Microsoft.ResourceGraph/resources?api-version=1"
    assert scope_of("GET", "/subscriptions/s", "s") == Scope("s", "reads")
    assert scope_of("HEAD", "/subscriptions/s", "s") == Scope("s", "reads")
    assert scope_of("POST", "/subscriptions/s/x/listKeys", "s") == Scope("s", "writes")
    assert scope_of("POST", graph, "s") == Scope("", "graph")


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/subscriptions/0", "subscriptions"),
        ("/subscriptions", "subscriptions list"),
        ("/subscriptions/0/resourceGroups?x=1", "subscriptions/resourcegroups list"),
        ("/subscriptions/0/resourceGroups/g", "subscriptions/resourcegroups"),
        ("/subscriptions/0/providers/A.B/vms", "a.b/vms list"),
        ("/subscriptions/0/resourceGroups/g/providers/A.B/vms/v", "a.b/vms"),
        ("/subscriptions/0/providers/A.B/vms/v/disks", "a.b/vms/disks list"),
        ("/s/0/providers/A.B/vms/v/providers/C.D/locks/l", "c.d/locks"),
        ("/", " list"),
    ],
)
def test_operations_are_types_and_whether_they_are_listed(path: str, operation: str) -> None:
    assert operation_of("GET", path) == f"GET {operation}"


def test_a_few_calls_go_ahead_while_nothing_is_known() -> None:
    bucket = Bucket(READ_SCOPE)
    tickets = taken(bucket, 0.0)
    assert len(tickets) == ROOM_AT_FIRST
    assert bucket.ready_at(0.0, GET) == math.inf
    bucket.answered(tickets[0], {}, 0.0)
    assert len(taken(bucket, 0.0)) == 2


def test_a_scope_that_says_nothing_is_asked_ever_more_at_a_time() -> None:
    bucket = Bucket(READ_SCOPE)
    total = 0
    for _ in range(8):
        tickets = taken(bucket, 0.0)
        total += len(tickets)
        for ticket in tickets:
            bucket.answered(ticket, {}, 0.0)
    assert total == ROOM_AT_FIRST * (2**8 - 1)


def test_the_lowest_of_several_counts_decides() -> None:
    bucket = Bucket(READ_SCOPE)
    ticket = bucket.take(0.0, GET)
    both = {LEFT: "200", "x-ms-ratelimit-remaining-subscription-global-reads": "0"}
    bucket.answered(ticket, both, 0.0)
    assert bucket.ready_at(0.0, GET) > 0.0


def test_calls_under_way_when_a_count_is_first_named_are_counted() -> None:
    bucket = Bucket(READ_SCOPE)
    tickets = taken(bucket, 0.0)
    bucket.answered(tickets[0], {LEFT: str(ROOM_AT_FIRST - 1)}, 0.0)
    assert bucket.ready_at(0.0, GET) > 0.0
    # What these say is no news of calls made since.
    bucket.answered(tickets[1], {LEFT: "200"}, 0.0)
    assert bucket.ready_at(0.0, GET) > 0.0


def test_a_refusal_blocks_until_the_time_and_then_one_goes_ahead() -> None:
    bucket = Bucket(READ_SCOPE)
    tickets = taken(bucket, 0.0)
    bucket.block(tickets[0], 30.0, 0.0, whole_scope=True)
    for ticket in tickets:
        bucket.answered(ticket, {}, 0.0, refused=True)
    assert bucket.ready_at(29.9, GET) == 30.0
    assert len(taken(bucket, 30.0)) == ROOM_AFTER_REFUSAL


def test_a_later_shorter_block_does_not_end_an_earlier_longer_one() -> None:
    bucket = Bucket(READ_SCOPE)
    ticket = bucket.take(0.0, GET)
    bucket.block(ticket, 30.0, 0.0, whole_scope=True)
    bucket.block(ticket, 5.0, 0.0, whole_scope=True)
    bucket.answered(ticket, {LEFT: "200"}, 6.0)
    assert bucket.ready_at(6.0, GET) == 30.0


def test_a_refused_operation_holds_up_no_other() -> None:
    bucket = Bucket(READ_SCOPE)
    ticket = bucket.take(0.0, LIST)
    bucket.block(ticket, 30.0, 0.0, whole_scope=False)
    bucket.answered(ticket, {LEFT: "200"}, 0.0, refused=True)
    assert bucket.ready_at(1.0, LIST) == 30.0
    assert bucket.ready_at(1.0, GET) <= 1.0


def test_a_spent_policy_holds_up_the_operations_that_it_counts() -> None:
    bucket = Bucket(READ_SCOPE)
    for operation in (LIST, "GET p/other list"):
        ticket = bucket.take(0.0, operation)
        bucket.answered(ticket, {POLICIES: "P/HighCostGet3Min;1,P/HighCostGet30Min;90"}, 0.0)
    ticket = bucket.take(1.0, LIST)
    bucket.answered(ticket, {POLICIES: "P/HighCostGet3Min;0,P/HighCostGet30Min;89"}, 1.0)
    assert bucket.ready_at(1.0, LIST) > 1.0
    assert bucket.ready_at(1.0, "GET p/other list") > 1.0  # counted together
    assert bucket.ready_at(1.0, GET) <= 1.0  # and this is not


def test_calls_whose_answers_do_not_name_a_count_take_nothing_from_it() -> None:
    bucket = Bucket(READ_SCOPE)
    bucket.answered(bucket.take(0.0, GET), {LEFT: "5"}, 0.0)
    now_s = 0.0
    for _ in range(FORGOTTEN_AFTER - 1):
        now_s = max(now_s, bucket.ready_at(now_s, GET))
        bucket.answered(bucket.take(now_s, GET), {}, now_s)
    assert now_s < 10.0


def test_a_count_that_is_not_named_any_more_is_forgotten() -> None:
    bucket = Bucket(READ_SCOPE)
    bucket.answered(bucket.take(0.0, GET), {LEFT: "0"}, 0.0)
    now_s = 0.0
    for _ in range(FORGOTTEN_AFTER + 1):
        now_s = max(now_s, bucket.ready_at(now_s, GET))
        bucket.answered(bucket.take(now_s, GET), {}, now_s)
    assert len(taken(bucket, now_s, most=50)) == 50


def test_a_spent_graph_quota_blocks_until_its_reset() -> None:
    bucket = Bucket(Scope("", "graph"))
    ticket = bucket.take(0.0, GET)
    headers = {"x-ms-user-quota-remaining": "0", "x-ms-user-quota-resets-after": "00:00:05"}
    bucket.answered(ticket, headers, 0.0)
    assert bucket.ready_at(0.0, GET) == 5.0


def test_operations_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_GATES", 3)
    bucket = Bucket(READ_SCOPE)
    for number in range(10):
        ticket = bucket.take(float(number), f"GET {number}")
        bucket.block(ticket, 1.0, float(number), whole_scope=False)
        bucket.answered(ticket, {}, float(number), refused=True)
    assert len(bucket.operations) <= 3


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["take", "answered", "silent", "lost", "refused"]),
        st.integers(0, 300),
        st.floats(0.0, 1.0),
        st.sampled_from([GET, LIST]),
    ),
    max_size=80,
)


@given(_EVENTS)
def test_whatever_comes_calls_are_counted_and_a_block_holds(
    events: list[tuple[str, int, float, str]],
) -> None:
    bucket, now_s = Bucket(READ_SCOPE), 0.0
    blocked_s: dict[str, float] = {}
    out: list[Ticket] = []
    for kind, number, wait_s, operation in events:
        now_s += wait_s
        if kind == "take":
            got = taken(bucket, now_s, operation, number % 40)
            assert not got or now_s >= max(blocked_s.get(operation, 0.0), blocked_s.get("", 0.0))
            out += got
        elif out:
            ticket = out.pop(number % len(out))
            if kind == "lost":
                bucket.lost(ticket)
            elif kind == "silent":
                bucket.answered(ticket, {}, now_s)
            elif kind == "answered":
                headers = {LEFT: str(number), POLICIES: f"P/{number % 3};{number}"}
                bucket.answered(ticket, headers, now_s)
            else:
                whole = number % 2 == 0
                bucket.block(ticket, number / 100, now_s, whole)
                bucket.answered(ticket, {LEFT: "0"}, now_s, refused=True)
                key = "" if whole else ticket.operation
                blocked_s[key] = max(blocked_s.get(key, 0.0), now_s + number / 100)
        assert bucket.under_way == len(out)
    # Nobody waits for ever: what is under way comes back, and then there is a time.
    for ticket in out:
        bucket.lost(ticket)
    assert bucket.ready_at(now_s, GET) < math.inf
    assert bucket.ready_at(now_s, LIST) < math.inf

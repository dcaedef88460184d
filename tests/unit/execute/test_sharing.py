"""The same GET is asked once: for those that wait for it, and those that come within CACHE_TTL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.messages import PlannedRequest, Resource
from stages.execute import recorded as recorded_module
from stages.execute.client import Answer
from stages.execute.held import HoldSpace
from stages.execute.recorded import Recorded, RecordSpace
from stages.execute.run import RequestRun
from stages.execute.sharing import JOIN_WITHIN_S, Sharing
from stages.execute.steps import Again, Done, Step
from tests.unit.execute.made import (
    LEASE,
    LIMITS,
    LIST,
    ORIGIN,
    START_US,
    answer,
    planned,
    rows_in,
)

Make = Callable[..., RequestRun]
FOUND = answer(body={"value": [{"id": "/a"}, {"id": "/b"}]})
MORE = answer(body={"value": [{"id": "/c"}], "nextLink": LIST + "&p=2"})
MISSING = answer(404, {"error": {"code": "ResourceNotFound", "message": "none such"}})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Requests that all ask the same, each of a message of its own."""
    space, made = HoldSpace(tmp_path), iter(range(1_000))

    def a_request(request: PlannedRequest | None = None, *, alone: bool = False) -> RequestRun:
        number = next(made)
        lease = replace(LEASE, lease_id=number, message_id=f"m-{number}")
        return RequestRun(lease, request or planned(), ORIGIN, LIMITS, space, alone)

    return a_request


def called(run: RequestRun, *answers: Answer, now_s: float = 0.0) -> Step:
    step: Any = None
    for given_answer in answers:
        run.calling(now_s, START_US + int(now_s * 1e6))
        step = run.answered(given_answer, now_s, START_US + int(now_s * 1e6))
    return step


def ended(sharing: Sharing[RequestRun], run: RequestRun, done: Step) -> Any:
    assert isinstance(done, Done)
    return sharing.ended(run, done.outcome)


def ids(rows: list[Resource]) -> list[str | None]:
    return [row.resource_id for row in rows]


def test_who_comes_meanwhile_gets_the_answer_and_says_so(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(0.0)
    first, second, third = make(), make(), make()
    assert sharing.join(first, 0.0) is False
    assert sharing.join(second, 0.0) is True
    called(first, MORE)
    assert sharing.join(third, 1.0) is True  # in the middle of a list
    done = called(first, FOUND)
    waiting, recorded = ended(sharing, first, done)
    assert waiting == [second, third]
    for run in waiting:
        replayed = run.replay(recorded, START_US + 5_000_000)
        assert isinstance(replayed, Done)
        rows = rows_in(replayed)
        assert ids(rows) == ids(rows_in(done)) == ["/c", "/a", "/b"]
        assert all(row.cached for row in rows)
        assert {row.collected_at_us for row in rows} == {START_US}
        outcome = replayed.outcome
        assert (outcome.outcome, outcome.cached, outcome.attempts) == ("complete", True, 0)
        assert (outcome.pages, outcome.rows, outcome.status_code) == (2, 3, 200)
        assert not {row.row_key for row in rows} & {row.row_key for row in rows_in(done)}
    assert not done.outcome.cached
    assert not any(row.cached for row in rows_in(done))


def test_one_that_begins_anew_does_not_wait_for_itself(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(0.0)
    first, second = make(), make()
    sharing.join(first, 0.0)
    sharing.join(second, 0.0)
    assert sharing.join(first, 1.0) is False
    waiting, recorded = ended(sharing, first, called(first, FOUND))
    assert waiting == [second]
    assert recorded is not None


def test_without_a_ttl_nothing_is_kept(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(0.0)
    first = make()
    sharing.join(first, 0.0)
    ended(sharing, first, called(first, FOUND))
    assert sharing.join(make(), 0.0) is False
    assert sharing.kept == 0


def test_within_the_ttl_the_answer_is_here_and_after_it_is_not(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    first = make()
    sharing.join(first, 0.0)
    ended(sharing, first, called(first, FOUND, now_s=3.0))
    kept = sharing.join(make(), 13.0)  # counted from when it was asked
    assert isinstance(kept, Recorded)
    assert sharing.join(make(), 13.1) is False
    assert sharing.kept == 0


def test_what_is_not_there_is_told_to_those_that_wait_and_not_kept(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    first, second = make(), make()
    sharing.join(first, 0.0)
    sharing.join(second, 0.0)
    waiting, recorded = ended(sharing, first, called(first, MISSING))
    replayed = waiting[0].replay(recorded, START_US)
    assert replayed.outcome.outcome == "not_found"
    assert replayed.outcome.error_code == "ResourceNotFound"
    assert replayed.outcome.error_message == "none such"
    assert rows_in(replayed) == []
    assert sharing.join(make(), 0.0) is False


@pytest.mark.parametrize("status", [500, 429])
def test_what_went_wrong_on_the_way_is_no_answer_for_others(make: Make, status: int) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    first, second = make(), make()
    sharing.join(first, 0.0)
    sharing.join(second, 0.0)
    step = called(first, *[answer(status)] * (LIMITS.max_retries + 1))
    assert ended(sharing, first, step) == ([second], None)


def test_one_that_is_let_go_leaves_those_that_waited_to_themselves(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    first, second = make(), make()
    sharing.join(first, 0.0)
    sharing.join(second, 0.0)
    assert sharing.ended(first, None) == ([second], None)
    assert sharing.ended(first, None) == ([], None)
    assert sharing.join(make(), 0.0) is False


@pytest.mark.parametrize(
    "other",
    [
        planned(target=LIST + "&$expand=instanceView"),
        replace(planned(), headers={"ConsistencyLevel": "eventual"}),
        replace(planned(), prefer_graph=True),
        replace(planned(), audience="microsoft-graph"),
    ],
    ids=["query", "headers", "source", "audience"],
)
def test_another_question_is_asked_for_itself(make: Make, other: PlannedRequest) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    assert sharing.join(make(), 0.0) is False
    assert sharing.join(make(other), 0.0) is False


def test_only_a_get_is_shared_and_never_one_that_has_to_be_alone(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    for request in (planned("HEAD"), planned("POST", body={})):
        assert sharing.join(make(request), 0.0) is False
        assert sharing.join(make(request), 0.0) is False
    assert sharing.join(make(), 0.0) is False
    assert sharing.join(make(alone=True), 0.0) is False


def test_an_answer_that_is_long_in_coming_is_not_waited_for(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(0.0)
    first, second, third = make(), make(), make()
    sharing.join(first, 0.0)
    called(first, MORE)
    late_s = JOIN_WITHIN_S + 0.1
    assert sharing.join(second, late_s) is False
    assert sharing.join(third, late_s) is True  # for the second's, which is asked now
    assert ended(sharing, first, called(first, FOUND))[0] == []
    waiting, _ = ended(sharing, second, called(second, FOUND, now_s=late_s))
    assert waiting == [third]


def test_a_list_that_is_too_long_to_be_kept_is_asked_for_by_each(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_module, "MAX_RECORD_BYTES", 100)
    sharing: Sharing[RequestRun] = Sharing(10.0)
    first, second = make(), make()
    sharing.join(first, 0.0)
    sharing.join(second, 0.0)
    done = called(first, MORE, FOUND)
    assert ended(sharing, first, done) == ([second], None)
    assert len(rows_in(done)) == 3  # type: ignore[arg-type]


def test_what_is_kept_has_a_limit_and_the_longest_unused_goes_first(make: Make) -> None:
    body = {"value": [{"id": "/a", "text": "x" * 1000}]}
    sharing: Sharing[RequestRun] = Sharing(100.0, limit_bytes=3_500)
    requests = [planned(target=f"{LIST}&n={n}") for n in range(4)]
    for request in requests[:3]:
        run = make(request)
        sharing.join(run, 0.0)
        ended(sharing, run, called(run, answer(body=body)))
    assert isinstance(sharing.join(make(requests[0]), 1.0), Recorded)
    run = make(requests[3])
    sharing.join(run, 1.0)
    ended(sharing, run, called(run, answer(body=body)))
    found = [isinstance(sharing.join(make(request), 2.0), Recorded) for request in requests]
    assert found == [True, False, True, True]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4_000), max_size=20))
def test_what_is_under_way_never_takes_more_than_there_is(sizes: list[int]) -> None:
    space, taken = RecordSpace(10_000), []
    for size in sizes:
        if space.take(size):
            taken.append(size)
            assert sum(taken) <= 10_000
        else:
            assert sum(taken) + size > 10_000
    for size in taken:
        space.give_back(size)
    assert space.take(10_000)


# ── ETags ────────────────────────────────────────────────────────────────────────────────────────

TAGGED = answer(body={"id": "/a", "name": "one"}, etag='W/"7"')
UNCHANGED = answer(304, b"")


def kept_with_etag(make: Make, sharing: Sharing[RequestRun]) -> None:
    run = make()
    sharing.join(run, 0.0)
    ended(sharing, run, called(run, TAGGED))


def test_past_the_ttl_what_had_an_etag_is_asked_for_only_if_it_changed(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    kept_with_etag(make, sharing)
    run = make()
    assert sharing.join(run, 60.0) is False
    assert run.call.headers == {"If-None-Match": 'W/"7"'}
    done = called(run, UNCHANGED, now_s=60.0)
    assert isinstance(done, Done)
    (row,) = rows_in(done)
    assert (row.resource_id, row.cached, row.name) == ("/a", True, "one")
    assert row.collected_at_us == START_US + 60_000_000  # Azure has confirmed it
    assert (done.outcome.outcome, done.outcome.status_code) == ("complete", 304)
    assert (done.outcome.attempts, done.outcome.cached, done.outcome.rows) == (1, True, 1)
    ended(sharing, run, done)
    assert isinstance(sharing.join(make(), 69.9), Recorded)  # good for as long again


def test_what_has_changed_comes_whole(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    kept_with_etag(make, sharing)
    run = make()
    sharing.join(run, 60.0)
    done = called(run, answer(body={"id": "/a", "name": "two"}, etag='W/"8"'), now_s=60.0)
    assert isinstance(done, Done)
    assert [row.name for row in rows_in(done)] == ["two"]
    assert not done.outcome.cached
    ended(sharing, run, done)
    later = make()
    sharing.join(later, 120.0)
    assert later.call.headers == {"If-None-Match": 'W/"8"'}


def test_a_message_with_a_condition_of_its_own_keeps_it(make: Make) -> None:
    request = replace(planned(), headers={"if-none-match": "mine"})
    sharing: Sharing[RequestRun] = Sharing(10.0)
    run = make(request)
    sharing.join(run, 0.0)
    ended(sharing, run, called(run, TAGGED))
    run = make(request)
    sharing.join(run, 60.0)
    assert run.call.headers == {"if-none-match": "mine"}
    done = called(run, UNCHANGED)
    assert isinstance(done, Done)
    assert (done.outcome.outcome, done.outcome.error_code) == ("failed", "NotModified")


def test_the_etag_of_a_page_is_none_of_a_list(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    run = make()
    sharing.join(run, 0.0)
    first = answer(body={"value": [], "nextLink": LIST + "&p=2"}, etag="1")
    ended(sharing, run, called(run, first, answer(body={"value": []}, etag="2")))
    later = make()
    assert sharing.join(later, 60.0) is False
    assert later.call.headers == {}


def test_a_retry_asks_with_the_same_condition_and_a_page_with_none(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(10.0)
    kept_with_etag(make, sharing)
    run = make()
    sharing.join(run, 60.0)
    assert isinstance(called(run, answer(503)), Again)
    assert run.call.headers == {"If-None-Match": 'W/"7"'}
    assert isinstance(called(run, MORE), Again)
    assert run.call.headers == {}


def test_what_each_keeps_of_a_shared_answer_is_its_own(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(60.0)
    whole, ids_only, cannot = (
        make(replace(planned(), select=select)) for select in (None, "id", "length(n)")
    )
    assert [sharing.join(run, 0.0) for run in (whole, ids_only, cannot)] == [False, True, True]
    done = called(whole, FOUND)
    _, recorded = ended(sharing, whole, done)
    kept = ids_only.replay(recorded, START_US)
    assert [row.body for row in rows_in(kept)] == [b'"/a"', b'"/b"']
    assert [row.body for row in rows_in(done)] == [b'{"id":"/a"}', b'{"id":"/b"}']
    assert kept.outcome.body_hash == done.outcome.body_hash is not None
    failed = cannot.replay(recorded, START_US)
    assert (failed.outcome.outcome, failed.outcome.error_code) == ("failed", "SelectFailed")
    assert (failed.outcome.rows, failed.outcome.body_hash, rows_in(failed)) == (0, None, [])


def test_who_cannot_apply_its_select_has_no_answer_for_others(make: Make) -> None:
    sharing: Sharing[RequestRun] = Sharing(60.0)
    cannot, other = make(replace(planned(), select="length(n)")), make()
    assert [sharing.join(run, 0.0) for run in (cannot, other)] == [False, True]
    done = called(cannot, MORE)
    assert done.outcome.error_code == "SelectFailed"
    assert "element 0: length() takes" in done.outcome.error_message
    assert ended(sharing, cannot, done) == ([other], None)
    assert sharing.join(other, 0.0) is False

"""A request from its first call to its outcome, as a table of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.messages import PlannedRequest, Resource
from stages.execute import run as run_module
from stages.execute.client import Answer, ExchangeFailed
from stages.execute.run import Again, Call, Done, FreshToken, Limits, Step
from tests.unit.execute.made import (
    GRAPH,
    LIMITS,
    LIST,
    ORIGIN,
    START_US,
    a_run,
    answer,
    planned,
    rows_in,
)

Reply = Answer | ExchangeFailed
LOST = ExchangeFailed("ReadTimeoutError", "no byte for 60 s")
NOT_SENT = ExchangeFailed("NewConnectionError", "refused", sent=False)
ACTION = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v/start"
KEYS = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys"
STATUS = f"{ORIGIN}/providers/p/operations/1?t=1"
RESULT = f"{ORIGIN}/providers/p/results/1?t=1"
OK = answer(body={"id": "/a"})
HTML = answer(body=b"<html>")


class Ended:
    """How it went: calls made, steps between them, and the end."""

    def __init__(self, calls: list[Call], steps: list[Step], done: Done) -> None:
        self.calls = calls
        self.steps = steps
        self.outcome = done.outcome
        self.rows: list[Resource] = rows_in(done)

    @property
    def waits_s(self) -> list[float]:
        return [step.after_s for step in self.steps if isinstance(step, Again)]


Drive = Callable[..., Ended]


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    """Answer a request's calls in order; the clock stands but for its waits."""

    def go(
        replies: Sequence[Reply], request: PlannedRequest | None = None, limits: Limits = LIMITS
    ) -> Ended:
        run = a_run(tmp_path, request or planned(), limits)
        calls, steps, now_s = [], [], 0.0
        for reply in replies:
            calls.append(run.call)
            now_us = START_US + int(now_s * 1e6)
            run.calling(now_us)
            if isinstance(reply, ExchangeFailed):
                step = run.unanswered(reply, now_s, now_us)
            else:
                step = run.answered(reply, now_s, now_us)
            steps.append(step)
            if isinstance(step, Done):
                assert len(calls) == len(replies), "it ended early"
                ended = Ended(calls, steps, step)
                assert step.outcome.attempts == len(calls)
                assert step.outcome.rows == len(ended.rows)
                run.close()
                return ended
            now_s += step.after_s if isinstance(step, Again) else 0.0
        raise AssertionError(f"it has not ended: {steps}")

    return go


def page(number: int, following: Any = None, **more: Any) -> Answer:
    return answer(body={"value": [{"id": f"/{number}"}], "nextLink": following, **more})


def link(number: int) -> str:
    return f"{ORIGIN}/list?page={number}"


# ── one answer ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "outcome", "calls"),
    [
        (200, "complete", 1),
        (201, "complete", 1),
        (204, "complete", 1),
        (300, "failed", 1),
        (302, "failed", 1),
        (304, "failed", 1),
        (308, "failed", 1),
        (400, "rejected", 1),
        (403, "forbidden", 1),
        (404, "not_found", 1),
        (405, "rejected", 1),
        (408, "failed", 3),
        (409, "rejected", 1),
        (410, "rejected", 1),
        (412, "rejected", 1),
        (429, "throttled", 3),
        (500, "failed", 3),
        (501, "failed", 1),
        (502, "failed", 3),
        (503, "failed", 3),
        (504, "failed", 3),
        (507, "failed", 1),
    ],
)
def test_every_status_has_its_outcome(drive: Drive, status: int, outcome: str, calls: int) -> None:
    ended = drive([answer(status, x_ms_request_id="r-1")] * calls)
    found = ended.outcome
    assert (found.outcome, found.status_code) == (outcome, status)
    assert found.azure_request_id == "r-1"
    assert found.rows == (1 if outcome == "complete" else 0)
    assert found.url == str(ORIGIN) + LIST


def test_the_error_of_azure_is_in_the_ledger(drive: Drive) -> None:
    body = {"error": {"code": "AuthorizationFailed", "message": "m" * 5000}}
    found = drive([answer(403, body)]).outcome
    assert found.error_code == "AuthorizationFailed"
    assert found.error_message == "m" * run_module.MAX_ERROR_CHARS


def test_head_is_one_row_without_a_body(drive: Drive) -> None:
    ended = drive([answer(200)], planned("HEAD"))
    assert [row.body for row in ended.rows] == [None]


def test_a_redirect_is_told_without_its_query(drive: Drive) -> None:
    found = drive([answer(302, location="https://x.blob.example/c?sig=secret")]).outcome
    assert found.error_code == "Redirected"
    assert "https://x.blob.example/c" in (found.error_message or "")
    assert "secret" not in (found.error_message or "")


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_token_is_renewed_once_then_forbidden(drive: Drive) -> None:
    ended = drive([answer(401), answer(401)])
    assert isinstance(ended.steps[0], FreshToken)
    assert ended.outcome.outcome == "forbidden"


def test_each_page_may_need_a_newer_token_and_that_is_no_retry(drive: Drive) -> None:
    replies = [answer(401), page(1, link(2)), answer(401), page(2)]
    ended = drive(replies)
    assert ended.outcome.outcome == "complete"
    assert len(ended.rows) == 2


# ── retries ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failure", [LOST, NOT_SENT, answer(503), HTML, answer(429)])
@pytest.mark.parametrize("max_retries", [0, 1, 5])
def test_retries_of_a_call_are_bounded(drive: Drive, failure: Reply, max_retries: int) -> None:
    limits = Limits(max_retries, 0.001, 30.0, 900.0)
    assert drive([failure] * (max_retries + 1), limits=limits).outcome.outcome != "complete"
    assert drive([failure] * max_retries + [OK], limits=limits).outcome.outcome == "complete"


def test_retries_count_anew_for_each_page(drive: Drive) -> None:
    bad = answer(500)
    ended = drive([bad, bad, page(1, link(2)), bad, LOST, page(2, link(3)), HTML, page(3)])
    assert [row.resource_id for row in ended.rows] == ["/1", "/2", "/3"]
    assert ended.outcome.pages == 3


def test_what_can_not_come_whole_is_not_asked_again(drive: Drive) -> None:
    found = drive([ExchangeFailed("ResponseTooLarge", "too large", retryable=False)]).outcome
    assert (found.outcome, found.error_code, found.status_code) == (
        "failed", "ResponseTooLarge", None,
    )  # fmt: skip


def test_a_throttled_call_waits_as_asked(drive: Drive) -> None:
    assert drive([answer(429, retry_after="17"), OK]).waits_s == [17.0]


def test_without_a_retry_after_or_with_zero_it_backs_off(drive: Drive) -> None:
    for headers in ({}, {"retry_after": "0"}):
        waits_s = drive([answer(429, **headers)] * 2 + [OK]).waits_s
        assert all(0.0 < wait_s <= 2.0 for wait_s in waits_s)


def test_a_server_error_waits_no_less_than_asked(drive: Drive) -> None:
    assert drive([answer(503, retry_after="40"), OK]).waits_s == [40.0]


@pytest.mark.parametrize(
    ("code", "status", "blocks"),
    [
        ("SubscriptionRequestsThrottled", 429, True),
        ("TenantRequestsThrottled", 429, True),
        ("SubscriptionRequestsThrottled", 503, False),
        ("OperationNotAllowed", 429, False),
        ("TooManyRequests", 429, False),
        (None, 429, False),
    ],
)
def test_only_arms_own_codes_block_the_scope(
    drive: Drive, code: str | None, status: int, blocks: bool
) -> None:
    body = {"error": {"code": code}} if code else b""
    (step, _) = drive([answer(status, body), OK]).steps
    assert isinstance(step, Again)
    assert step.blocks_scope is blocks


def test_a_wait_past_the_time_limit_ends_it_at_once(drive: Drive) -> None:
    limits = Limits(3, 1.0, 30.0, 60.0)
    found = drive([answer(429, retry_after="61")], limits=limits).outcome
    assert found.outcome == "throttled"


def test_its_time_is_over_at_the_limit(tmp_path: Path) -> None:
    run = a_run(tmp_path, planned())
    assert not run.out_of_time(899.9)
    assert run.out_of_time(900.0)
    done = run.give_up("failed", "RequestTimeout", "too late", START_US)
    assert (done.outcome.outcome, done.outcome.attempts, rows_in(done)) == ("failed", 0, [])


# ── what may not be done twice ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failure", [LOST, HTML, *map(answer, (408, 500, 502, 503, 504))])
def test_a_post_that_may_have_written_is_not_sent_again(drive: Drive, failure: Reply) -> None:
    assert drive([failure], planned("POST", ACTION)).outcome.outcome == "failed"


@pytest.mark.parametrize("failure", [NOT_SENT, answer(429)])
def test_a_post_that_was_not_taken_is_sent_again(drive: Drive, failure: Reply) -> None:
    assert drive([failure, OK], planned("POST", ACTION)).outcome.outcome == "complete"


@pytest.mark.parametrize("failure", [LOST, HTML, answer(500)])
@pytest.mark.parametrize("target", [KEYS, GRAPH])
def test_a_post_that_reads_is_sent_again(drive: Drive, failure: Reply, target: str) -> None:
    ended = drive([failure, OK], planned("POST", target, {"query": "Resources"}))
    assert ended.outcome.outcome == "complete"


def test_polling_a_write_is_a_read(drive: Drive) -> None:
    begun = answer(202, azure_asyncoperation=STATUS)
    replies = [begun, LOST, answer(500), answer(body={"status": "Succeeded"})]
    ended = drive(replies, planned("POST", ACTION))
    assert [call.method for call in ended.calls] == ["POST", "GET", "GET", "GET"]
    assert ended.outcome.outcome == "complete"


# ── pages ────────────────────────────────────────────────────────────────────────────────────────


def test_pages_are_followed_in_order(drive: Drive) -> None:
    ended = drive([page(1, link(2)), page(2, "/list?page=3"), page(3, "?page=4"), page(4, "")])
    assert [call.target for call in ended.calls] == [
        LIST, "/list?page=2", "/list?page=3", "/list?page=4",
    ]  # fmt: skip
    assert [row.resource_id for row in ended.rows] == ["/1", "/2", "/3", "/4"]


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([answer(500)] * 3, "failed"),
        ([answer(429)] * 3, "throttled"),
        ([answer(403)], "forbidden"),
        ([answer(404)], "failed"),
        ([answer(400)], "rejected"),
        ([LOST] * 3, "failed"),
        ([HTML] * 3, "failed"),
        ([answer(200)] * 3, "failed"),
        ([answer(204)] * 3, "failed"),
        ([answer(body={"error": {"code": "x"}})] * 3, "failed"),
        ([answer(body={"value": [], "nextLink": {"href": "x"}})] * 3, "failed"),
        ([page(3, "https://management.azure.com.attacker/x")], "failed"),
        ([page(3, link(3))], "failed"),
        ([page(3, link(2))], "failed"),
        ([page(3, LIST), page(1, link(2))], "failed"),
        ([answer(401)] * 2, "forbidden"),
    ],
)
def test_a_list_is_whole_or_not_there(drive: Drive, replies: list[Reply], outcome: str) -> None:
    ended = drive([page(1, link(2)), page(2, link(3)), *replies])
    assert ended.outcome.outcome == outcome
    assert (ended.rows, ended.outcome.rows) == ([], 0)


def test_a_link_elsewhere_is_not_asked(drive: Drive) -> None:
    ended = drive([page(1, "https://management.azure.com.attacker/x")])
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "ForeignLink")


@pytest.mark.parametrize("following", [LIST, str(ORIGIN) + LIST, str(ORIGIN) + LIST + "#x"])
def test_a_page_that_leads_to_itself_is_a_loop(drive: Drive, following: str) -> None:
    assert drive([page(1, following)]).outcome.error_code == "PagingLoop"


def test_more_pages_than_the_limit_are_a_loop_too(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "MAX_PAGES", 3)
    found = drive([page(n, link(n + 1)) for n in range(1, 4)]).outcome
    assert (found.outcome, found.error_code) == ("failed", "TooManyPages")


def test_what_is_no_list_and_has_a_next_page_is_read_to_its_end(drive: Drive) -> None:
    ended = drive([answer(body={"value": None, "nextLink": link(2)}), answer(body={"a": 2})])
    assert len({row.row_key for row in ended.rows}) == 2


def test_resource_graph_goes_on_with_its_token_and_keeps_its_options(drive: Drive) -> None:
    query = {"query": "Resources", "options": {"resultFormat": "objectArray", "$top": 2}}
    replies = [
        answer(body={"data": [{"id": "/1"}], "$skipToken": "t1"}),
        answer(500),
        answer(body={"data": [{"id": "/2"}], "$skipToken": "t2"}),
        answer(body={"data": [{"id": "/3"}]}),
    ]
    ended = drive(replies, planned("POST", GRAPH, query))
    bodies = [msgspec.json.decode(call.body or b"") for call in ended.calls]
    assert [body["options"].get("$skipToken") for body in bodies] == [None, "t1", "t1", "t2"]
    assert all(body["query"] == "Resources" and body["options"]["$top"] == 2 for body in bodies)
    assert {call.target for call in ended.calls} == {GRAPH}
    assert [row.resource_id for row in ended.rows] == ["/1", "/2", "/3"]


@pytest.mark.parametrize("query", [{"query": "R"}, {"query": "R", "options": None}])
def test_resource_graph_without_options(drive: Drive, query: Any) -> None:
    replies = [answer(body={"data": [], "$skipToken": "t"}), answer(body={"data": []})]
    assert drive(replies, planned("POST", GRAPH, query)).outcome.outcome == "complete"


def test_a_repeated_skip_token_is_a_loop(drive: Drive) -> None:
    again = answer(body={"data": [{"id": "/1"}], "$skipToken": "t"})
    ended = drive([again, again], planned("POST", GRAPH, {"query": "R"}))
    assert (ended.outcome.error_code, ended.rows) == ("PagingLoop", [])


# ── long operations ──────────────────────────────────────────────────────────────────────────────

RUNNING = answer(body={"status": "InProgress"}, retry_after="2")
SUCCEEDED = answer(body={"status": "Succeeded"})


def begun(**headers: str) -> Answer:
    return answer(202, retry_after="1", **headers)


def test_a_status_then_its_location(drive: Drive) -> None:
    replies = [begun(azure_asyncoperation=STATUS, location=RESULT), RUNNING, SUCCEEDED, OK]
    ended = drive(replies, planned("POST", KEYS))
    results = [call.target.rpartition("/")[0] for call in ended.calls[1:]]
    assert results == ["/providers/p/operations"] * 2 + ["/providers/p/results"]
    assert ended.waits_s == [1.0, 2.0, 0.0]
    assert [row.resource_id for row in ended.rows] == ["/a"]


def test_a_status_then_the_original(drive: Drive) -> None:
    ended = drive([begun(azure_asyncoperation=STATUS), SUCCEEDED, page(1, link(2)), page(2)])
    assert [call.target for call in ended.calls[2:]] == [LIST, "/list?page=2"]
    assert len(ended.rows) == 2


def test_a_later_page_that_takes_its_time_is_asked_again_itself(drive: Drive) -> None:
    replies = [page(1, link(2)), begun(azure_asyncoperation=STATUS), SUCCEEDED, page(2)]
    ended = drive(replies)
    assert ended.calls[3].target == "/list?page=2"
    assert [row.resource_id for row in ended.rows] == ["/1", "/2"]


def test_the_last_status_of_a_post_is_its_result(drive: Drive) -> None:
    ended = drive([begun(azure_asyncoperation=STATUS), SUCCEEDED], planned("POST", KEYS))
    assert [row.body for row in ended.rows] == [b'{"status":"Succeeded"}']


def test_location_only(drive: Drive) -> None:
    moved = f"{ORIGIN}/providers/p/results/2"
    replies = [begun(location=RESULT), begun(location=moved), begun(), OK]
    ended = drive(replies, planned("POST", KEYS))
    assert [call.target for call in ended.calls[2:]] == ["/providers/p/results/2"] * 2


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ("Failed", {"code": "Bad", "message": "M"}, "Bad"),
        ("Failed", None, "OperationFailed"),
        ("failed", "Bad", "Bad"),
        ("Failed", {"code": None}, "OperationFailed"),
        ("Canceled", None, "OperationCanceled"),
    ],
)
def test_an_operation_that_fails(drive: Drive, status: str, error: Any, code: str) -> None:
    ended = drive(
        [begun(azure_asyncoperation=STATUS), answer(body={"status": status, "error": error})]
    )
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", code)


def test_an_operation_that_never_ends_ends_with_its_time(drive: Drive) -> None:
    limits = Limits(2, 1.0, 30.0, 10.0)
    ended = drive([begun(azure_asyncoperation=STATUS)] + [RUNNING] * 5, limits=limits)
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "OperationTimeout")


def test_polls_have_a_least_and_a_longest_wait(drive: Drive) -> None:
    polls = [
        answer(body={"status": "Running"}, retry_after="0"),
        answer(body={"status": "Running"}, retry_after="3000"),
        answer(body={"status": "Running"}),
    ]
    ended = drive([begun(azure_asyncoperation=STATUS), *polls, SUCCEEDED, OK])
    assert ended.waits_s == [1.0, 0.2, 60.0, 5.0, 0.0]


@pytest.mark.parametrize(
    "headers",
    [
        {"azure_asyncoperation": "https://attacker/x"},
        {"location": "https://management.azure.com@attacker/x"},
        {"azure_asyncoperation": STATUS, "location": "http://management.azure.com/x"},
    ],
)
def test_an_operation_elsewhere_is_not_polled(drive: Drive, headers: dict[str, str]) -> None:
    ended = drive([begun(**headers)])
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "ForeignLink")


def test_a_status_that_leads_elsewhere_is_not_followed(drive: Drive) -> None:
    away = answer(body={"status": "InProgress"}, azure_asyncoperation="https://attacker/x")
    assert drive([begun(azure_asyncoperation=STATUS), away]).outcome.error_code == "ForeignLink"


def test_a_status_that_is_gone_does_not_mean_the_resource_is(drive: Drive) -> None:
    ended = drive([begun(azure_asyncoperation=STATUS), answer(404)])
    assert ended.outcome.outcome == "failed"


@pytest.mark.parametrize("body", [b"", b"<", b'{"status":5}', b"\xff", b"[" * 100_000])
def test_a_broken_status_is_asked_again(drive: Drive, body: bytes) -> None:
    ended = drive([begun(azure_asyncoperation=STATUS), answer(body=body), SUCCEEDED, OK])
    assert ended.outcome.outcome == "complete"


def test_a_status_of_202_without_a_body_is_still_running(drive: Drive) -> None:
    replies = [begun(azure_asyncoperation=STATUS), *[begun()] * 4, SUCCEEDED, OK]
    assert drive(replies).outcome.outcome == "complete"


def test_accepted_with_nothing_to_poll_is_not_complete(drive: Drive) -> None:
    ended = drive([answer(202, body={"value": []})])
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "NothingToPoll")
    assert ended.rows == []


def test_a_truncated_answer_of_resource_graph_is_not_complete(drive: Drive) -> None:
    body = {"data": [{"name": "a"}], "count": 1, "totalRecords": 9, "resultTruncated": "true"}
    ended = drive([answer(body=body)], planned("POST", GRAPH, {"query": "Resources"}))
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "ResultTruncated")
    assert ended.rows == []

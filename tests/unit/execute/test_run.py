"""A request's outcome, its retries and what may not be done twice, as a table of answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.execute import run as run_module
from stages.execute.client import ExchangeFailed
from stages.execute.steps import Again, FreshToken, Limits, PutOff, Refusal
from tests.unit.execute.driven import (
    ACTION,
    HTML,
    KEYS,
    LOST,
    NOT_SENT,
    OK,
    Drive,
    Reply,
    drive,
    link,
    page,
)
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

__all__ = ["drive"]


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
    body = {"id": "/a"} if status == 200 else b""
    ended = drive([answer(status, body, x_ms_request_id="r-1")] * calls)
    found = ended.outcome
    assert (found.outcome, found.status_code) == (outcome, status)
    assert found.azure_request_id == "r-1"
    assert found.rows == (1 if outcome == "complete" else 0)
    assert found.url == str(ORIGIN) + LIST


def test_a_list_without_a_body_is_asked_again_and_a_single_thing_may_have_none(
    drive: Drive,
) -> None:
    assert drive([answer(200), OK]).outcome.outcome == "complete"
    assert drive([answer(200)] * 3).outcome.error_code == "BrokenBody"
    one = planned(target="/subscriptions/s1/providers/A.B/operationResults/1?api-version=1")
    assert drive([answer(200)], one).outcome.outcome == "complete"


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
        ("RateLimiting", 429, True),
        ("OperationNotAllowed", 429, False),
        ("TooManyRequests", 429, False),
        (None, 429, False),
    ],
)
def test_only_arms_own_codes_block_the_scope(
    drive: Drive, code: str | None, status: int, blocks: bool
) -> None:
    body = {"error": {"code": code}} if code else b""
    (refusal, _) = drive([answer(status, body, retry_after="7"), OK]).refusals
    assert refusal == Refusal(7.0, blocks)


def test_what_is_no_429_refuses_nothing_of_others(drive: Drive) -> None:
    body = {"error": {"code": "SubscriptionRequestsThrottled"}}
    assert drive([answer(503, body), OK]).refusals == [None, None]


def test_the_last_refusal_holds_up_others_although_it_ends_the_request(drive: Drive) -> None:
    found = drive([answer(429, retry_after="7")] * (LIMITS.max_retries + 1))
    assert found.outcome.outcome == "throttled"
    assert found.refusals[-1] == Refusal(7.0, False)


def test_a_wait_past_the_time_limit_ends_it_at_once(drive: Drive) -> None:
    limits = Limits(3, 1.0, 30.0, 60.0)
    found = drive([answer(429, retry_after="61")], limits=limits).outcome
    assert found.outcome == "throttled"


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_too_long_puts_it_off(tmp_path: Path, status: int) -> None:
    limits = Limits(3, 1.0, 30.0, 900.0, max_wait_s=60.0, put_off_until=3)
    run = a_run(tmp_path, planned(), limits)
    run.calling(0.0, START_US)
    assert run.answered(answer(status, retry_after="60"), 0.0, START_US) != PutOff(60.0)
    run.calling(60.0, START_US)
    assert run.answered(answer(status, retry_after="61"), 60.0, START_US) == PutOff(61.0)


def test_the_last_deliveries_of_a_message_are_not_spent_on_waits(tmp_path: Path) -> None:
    limits = Limits(3, 1.0, 30.0, 900.0, max_wait_s=60.0, put_off_until=0)
    run = a_run(tmp_path, planned(), limits)
    run.calling(0.0, START_US)
    assert isinstance(run.answered(answer(429, retry_after="61"), 0.0, START_US), Again)
    assert run.refusal == Refusal(61.0, False)


def test_time_that_is_up_while_it_was_throttled_is_told_so(tmp_path: Path) -> None:
    run = a_run(tmp_path, planned())
    run.calling(0.0, START_US)
    run.answered(answer(429, retry_after="100"), 0.0, START_US)
    done = run.time_is_up(START_US + 7)
    assert (done.outcome.outcome, done.outcome.status_code) == ("throttled", 429)
    run.calling(1.0, START_US)
    assert run.time_is_up(START_US + 7).outcome.outcome == "failed"


def test_its_time_is_over_at_the_limit(tmp_path: Path) -> None:
    run = a_run(tmp_path, planned())
    assert not run.out_of_time(1e9)  # it stands in line: nothing was asked yet
    run.calling(100.0, START_US)
    assert not run.out_of_time(999.9)
    assert run.out_of_time(1_000.0)
    done = run.give_up("failed", "RequestTimeout", "too late", START_US + 7)
    assert (done.outcome.outcome, done.outcome.attempts, rows_in(done)) == ("failed", 1, [])
    assert (done.outcome.started_at_us, done.outcome.completed_at_us) == (START_US, START_US + 7)


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

"""Long operations: polled to their end, and their result is the outcome."""

from __future__ import annotations

from typing import Any

import pytest

from stages.execute.client import Answer
from stages.execute.steps import Limits
from tests.unit.execute.driven import ACTION, KEYS, LOST, OK, Drive, drive, link, page
from tests.unit.execute.made import LIST, ORIGIN, answer, planned

__all__ = ["drive"]

STATUS = f"{ORIGIN}/providers/p/operations/1?t=1"
RESULT = f"{ORIGIN}/providers/p/results/1?t=1"
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


def test_polling_a_write_is_a_read(drive: Drive) -> None:
    begun = answer(202, azure_asyncoperation=STATUS)
    replies = [begun, LOST, answer(500), answer(body={"status": "Succeeded"})]
    ended = drive(replies, planned("POST", ACTION))
    assert [call.method for call in ended.calls] == ["POST", "GET", "GET", "GET"]
    assert ended.outcome.outcome == "complete"

"""The ARM client and a request's run against the real simulator and its faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from stages.execute.client import ExchangeFailed
from stages.execute.steps import Limits
from tests.integration.arm_calls import TOKEN, Arm, Canned, Elsewhere, arm, client_of, simulator

__all__ = ["arm", "simulator"]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        yield server


# ── whole answers ────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_collected_over_its_pages(arm: Arm) -> None:
    expected = arm.control.expected(arm.list)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.pages, found.outcome.attempts) == (
        "complete", 3, 3,
    )  # fmt: skip
    assert [row.resource_id for row in found.rows] == expected["ids"]
    assert found.outcome.azure_request_id


def test_resource_graph_is_collected_over_its_pages(arm: Arm) -> None:
    target = "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01"
    query = {"query": "Resources | project id, type", "options": {"$top": 20}}
    found = arm.collect(target, query)
    assert found.outcome.outcome == "complete"
    assert found.outcome.pages > 2
    assert len({row.resource_id for row in found.rows}) == len(found.rows) == found.outcome.rows


def test_headers_of_a_message_replace_ours_and_none_goes_out_twice() -> None:
    with Canned(b"{}", {}) as server:
        client = client_of(server.url)
        client.exchange("POST", "/a", {"accept": "x/y", "X-Own": "1"}, b"{}", TOKEN)
        client.close()
        (seen,) = server.seen
    assert seen.headers["accept"] == "x/y"
    assert seen.headers["x-own"] == "1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"


# ── answers that do not come whole ───────────────────────────────────────────────────────────────

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("reset", {}, "ProtocolError"),
    ("reset_mid_body", {}, "ProtocolError"),
    ("reset_mid_body", {"after_bytes": 0}, "ProtocolError"),
    ("content_length", {"delta": 10}, "ProtocolError"),
    ("stall", {"stall_s": 5}, "ReadTimeoutError"),
    ("stall", {"stall_s": 5, "after_bytes": 100}, "ReadTimeoutError"),
]


@pytest.mark.parametrize(("kind", "more", "code"), WRONG)
def test_a_broken_answer_fails_and_spoils_no_later_one(
    arm: Arm, kind: str, more: dict[str, Any], code: str
) -> None:
    whole = arm.get()
    # On a kept connection a reset may mean that it was closed long before: libcurl asks again.
    arm.client.close()
    arm.client = client_of(arm.endpoint)
    arm.fault(kind, first=1, **more)
    began_s = time.monotonic()
    failed = arm.failure()
    assert (failed.code, failed.retryable, failed.sent) == (code, True, True)
    assert time.monotonic() - began_s < 3.0
    assert [arm.get(), arm.get()] == [whole, whole]


@pytest.mark.parametrize(
    ("kind", "more"),
    [*((kind, more) for kind, more, _ in WRONG),
     ("broken_json", {}), ("broken_json", {"text": "{"}),
     ("content_length", {"delta": -10}), ("status", {"status": 503}),
     ("throttle", {"retry_after_s": 0.05, "form": "ms"}), ("throttle", {"form": "none"})],
)  # fmt: skip
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_list_is_whole_after_a_fault_on_any_page(
    arm: Arm, kind: str, more: dict[str, Any], skip: int
) -> None:
    expected = arm.control.expected(arm.list)["ids"]
    arm.fault(kind, skip=skip, first=1, **more)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.attempts) == ("complete", 4)
    assert [row.resource_id for row in found.rows] == expected


def test_what_may_not_be_sent_twice_is_not(arm: Arm) -> None:
    arm.get()
    arm.fault("reset")
    with pytest.raises(ExchangeFailed) as failed:
        arm.client.exchange("POST", arm.list, {}, b"{}", TOKEN, repeatable=False)
    assert (failed.value.code, failed.value.sent, failed.value.sends) == ("ProtocolError", True, 1)
    assert arm.control.stats()["faults"] == {"reset": 1}


def test_what_libcurl_sends_again_is_counted(arm: Arm) -> None:
    arm.get()
    arm.fault("reset", first=1)
    again = arm.client.exchange("GET", arm.list, {}, None, TOKEN)
    assert (again.status, again.sends) == (200, 2)
    assert arm.client.exchange("GET", arm.list, {}, None, TOKEN).sends == 1


def test_an_empty_page_is_not_the_end_of_a_list(arm: Arm) -> None:
    arm.fault("broken_json", text="", skip=1, first=1)
    assert len(arm.collect().rows) == 25
    arm.fault("broken_json", text="", skip=1)
    assert arm.collect().outcome.outcome == "failed"


@pytest.mark.parametrize(
    ("kind", "more", "outcome"),
    [
        ("reset_mid_body", {}, "failed"),
        ("broken_json", {}, "failed"),
        ("content_length", {"delta": -10}, "failed"),
        ("content_length", {"delta": 10}, "failed"),
        ("status", {"status": 500}, "failed"),
        ("throttle", {"retry_after_s": 0.01, "form": "ms"}, "throttled"),
    ],
)
def test_a_list_whose_last_page_never_comes_is_not_there(
    arm: Arm, kind: str, more: dict[str, Any], outcome: str
) -> None:
    arm.fault(kind, skip=2, **more)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.attempts, found.rows) == (outcome, 6, [])


def test_the_rest_of_an_answer_that_runs_over_is_not_the_next_one(arm: Arm) -> None:
    whole = arm.get()
    arm.fault("content_length", delta=-100, first=1)
    assert len(arm.get()) == len(whole) - 100
    assert [arm.get(), arm.get(), arm.get()] == [whole] * 3


@pytest.mark.parametrize("form", ["seconds", "date", "ms"])
def test_a_throttled_call_waits_as_long_as_asked(arm: Arm, form: str) -> None:
    arm.fault("throttle", first=1, retry_after_s=1, form=form)
    began_s = time.monotonic()
    found = arm.collect()
    (first, *_) = found.refusals
    assert first is not None
    assert first.whole_scope
    assert 0.0 < first.wait_s <= 2.0
    assert found.outcome.outcome == "complete"
    assert time.monotonic() - began_s >= 0.9 * first.wait_s


# ── where the token goes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_is_not_followed(arm: Arm, elsewhere: Elsewhere, status: int) -> None:
    arm.fault("redirect", status=status, origin=elsewhere.url)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.error_code) == ("failed", "Redirected")
    assert elsewhere.seen == []


def test_a_next_link_elsewhere_is_not_followed(arm: Arm, elsewhere: Elsewhere) -> None:
    arm.fault("next_link", form="foreign", origin=elsewhere.url)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.error_code) == ("failed", "ForeignLink")
    assert (found.rows, elsewhere.seen) == ([], [])


@pytest.mark.parametrize("header", ["Azure-AsyncOperation", "Location"])
def test_an_operation_elsewhere_is_not_polled(arm: Arm, elsewhere: Elsewhere, header: str) -> None:
    arm.fault("status", status=202, headers={header: elsewhere.url + "/operations/1"})
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.error_code) == ("failed", "ForeignLink")
    assert elsewhere.seen == []


def test_links_that_name_a_host_in_the_path_stay_here(arm: Arm, elsewhere: Elsewhere) -> None:
    arm.fault("next_link", form="exact", link=f"{arm.endpoint}//{elsewhere.url[7:]}/a", first=1)
    assert arm.collect().outcome.outcome != "complete"
    assert elsewhere.seen == []


@pytest.mark.parametrize("token", ["line\r\nX-Own: 1", "line\n", "t\u20ac"])
def test_a_token_that_no_header_takes_is_not_told(arm: Arm, token: str) -> None:
    with pytest.raises(ExchangeFailed) as failed:
        arm.client.exchange("GET", arm.list, {}, None, token)
    assert failed.value.code == "BadToken"
    assert not failed.value.retryable
    assert "line" not in failed.value.problem.replace("line break", "")


# ── lists and operations that misbehave ──────────────────────────────────────────────────────────


def test_a_list_that_leads_to_itself_ends(arm: Arm) -> None:
    arm.fault("next_link", form="loop")
    found = arm.collect()
    assert (found.outcome.error_code, found.rows) == ("PagingLoop", [])


def test_a_relative_next_link_is_followed(arm: Arm) -> None:
    arm.fault("next_link", form="relative", first=2)
    assert len(arm.collect().rows) == 25


@pytest.mark.parametrize("form", ["empty", "null"])
def test_an_empty_next_link_is_the_end(arm: Arm, form: str) -> None:
    arm.fault("next_link", form=form)
    assert len(arm.collect().rows) == 10


@pytest.mark.parametrize(
    ("style", "result"),
    [("azure-async", "location"), ("azure-async", "original"), ("location", "location")],
)
def test_a_long_operation_ends_with_its_rows(arm: Arm, style: str, result: str) -> None:
    # Of the original: begun by the first call, ended by the second.
    first = 2 if result == "original" else 1
    arm.fault(
        "operation", target=arm.list, first=first, style=style, result=result, polls=2,
        retry_after_s=0,
    )  # fmt: skip
    found = arm.collect()
    assert found.outcome.outcome == "complete"
    assert [row.resource_id for row in found.rows] == arm.control.expected(arm.list)["ids"]


@pytest.mark.parametrize("outcome", ["Failed", "Canceled"])
def test_a_long_operation_that_fails(arm: Arm, outcome: str) -> None:
    arm.fault("operation", target=arm.list, outcome=outcome, polls=1, retry_after_s=0)
    found = arm.collect()
    assert (found.outcome.outcome, found.outcome.error_code) == ("failed", f"Operation{outcome}")


def test_a_long_operation_that_never_ends(arm: Arm) -> None:
    arm.fault("operation", target=arm.list, polls=10_000, retry_after_s=0)
    found = arm.collect(limits=Limits(3, 0.01, 0.05, 1.0))
    assert (found.outcome.outcome, found.outcome.error_code) == ("failed", "OperationTimeout")

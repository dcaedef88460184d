"""Resource Graph first: when it is asked, when the provider is after it, and who has answered."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipeline.messages import PlannedRequest
from stages.execute.sources import asks_graph, from_graph, is_covered
from tests.unit.execute.driven import NOT_SENT, Drive, drive
from tests.unit.execute.made import GRAPH, LIST, answer, planned

__all__ = ["drive"]

ONE = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v"
VERSION = "?api-version=2024-07-01"
FLAG = "&useResourceGraph=true"
SIGNS = {"x_ms_user_quota_remaining": "3999", "x_ms_user_quota_resets_after": "00:00:59"}
GONE = answer(404, {"error": {"code": "ResourceNotFound", "message": "no"}})


def preferring(target: str = LIST) -> PlannedRequest:
    return replace(planned(target=target), prefer_graph=True)


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        (ONE, True),
        ("/subscriptions/s1/providers/Microsoft.Compute/virtualMachines", True),
        ("/Subscriptions/s1/resourcegroups/g/Providers/microsoft.storage/storageAccounts", True),
        ("/subscriptions/s1/resourceGroups/g/providers/m.n/scaleSets/s/virtualMachines", True),
        ("/subscriptions/s1/providers/Microsoft.Compute/locations/westeurope/usages", False),
        (f"{ONE}/providers/Microsoft.Insights/diagnosticSettings", False),
        ("/subscriptions/s1/resourceGroups", False),
        ("/subscriptions", False),
        ("/subscriptions/s1/providers", False),
        ("/subscriptions/s1/providers/Microsoft.Compute", False),
        ("/providers/Microsoft.Management/managementGroups", False),
    ],
)
def test_it_knows_what_lies_in_a_subscription_and_stands_for_itself(
    path: str, covered: bool
) -> None:
    assert is_covered(path + VERSION) is covered


def test_it_is_asked_by_a_flag_that_comes_once() -> None:
    asked = from_graph(ONE + VERSION)
    assert asked == ONE + VERSION + FLAG
    assert from_graph(asked) == asked
    assert asks_graph(ONE + VERSION + "&USERESOURCEGRAPH=true")
    assert not asks_graph(ONE + VERSION)


def test_what_it_answers_says_so(drive: Drive) -> None:
    first = answer(body={"value": [{"id": "/a"}], "nextLink": LIST + FLAG + "&p=2"}, **SIGNS)
    last = answer(body={"value": [{"id": "/b"}]}, **SIGNS)
    ended = drive([first, last], preferring())
    assert [call.target for call in ended.calls] == [LIST + FLAG, LIST + FLAG + "&p=2"]
    assert ended.outcome.outcome == "complete"
    assert ended.outcome.source == "resource-graph"
    assert [row.source for row in ended.rows] == ["resource-graph"] * 2
    assert ended.outcome.url.endswith(LIST)


def test_what_arm_routed_to_the_provider_all_the_same_says_that(drive: Drive) -> None:
    ended = drive([answer(body={"value": [{"id": "/a"}]})], preferring())
    assert ended.calls[0].target == LIST + FLAG
    assert ended.outcome.source == ended.rows[0].source == "provider"


@pytest.mark.parametrize("status", [404, 422])
def test_what_it_does_not_have_the_provider_is_asked_for(drive: Drive, status: int) -> None:
    refusal = answer(status, {"error": {"code": "NotIndexed", "message": "no"}}, **SIGNS)
    target = ONE + VERSION
    ended = drive([refusal, answer(body={"id": "/a"})], preferring(target))
    assert [call.target for call in ended.calls] == [target + FLAG, target]
    assert ended.outcome.outcome == "complete"
    assert ended.outcome.source == ended.rows[0].source == "provider"
    assert ended.outcome.attempts == 2
    assert ended.waits_s == [0.0]


def test_what_the_provider_does_not_have_either_is_not_found(drive: Drive) -> None:
    ended = drive([GONE, GONE], preferring(ONE + VERSION))
    assert (ended.outcome.outcome, ended.outcome.attempts) == ("not_found", 2)
    assert ended.outcome.source == "provider"


def test_a_list_that_ends_in_the_middle_is_read_from_its_beginning(drive: Drive) -> None:
    """Rows of two sources are never taken together for one list."""
    first = answer(body={"value": [{"id": "/old"}], "nextLink": LIST + FLAG + "&p=2"}, **SIGNS)
    whole = answer(body={"value": [{"id": "/a"}, {"id": "/b"}]})
    ended = drive([first, GONE, whole], preferring())
    assert [call.target for call in ended.calls] == [LIST + FLAG, LIST + FLAG + "&p=2", LIST]
    assert [row.resource_id for row in ended.rows] == ["/a", "/b"]
    assert {row.source for row in ended.rows} == {"provider"}
    assert (ended.outcome.pages, ended.outcome.rows) == (1, 2)


def test_its_refusal_holds_up_what_it_answers_and_nothing_else(drive: Drive) -> None:
    busy = answer(429, {"error": {"code": "RateLimiting", "message": "x"}}, retry_after="3")
    ended = drive([busy, answer(body={"value": []}, **SIGNS)], preferring())
    assert ended.refusals[0] is not None
    assert not ended.refusals[0].whole_scope
    query = drive(
        [busy, answer(body={"data": [], "resultTruncated": "false"})],
        planned("POST", GRAPH, {"query": "Resources"}),
    )
    assert query.refusals[0] is not None
    assert query.refusals[0].whole_scope


def test_what_it_does_not_cover_is_not_asked_for_twice(drive: Drive) -> None:
    target = "/subscriptions/s1/resourceGroups" + VERSION
    ended = drive([answer(body={"value": []})], preferring(target))
    assert [call.target for call in ended.calls] == [target]


def test_a_query_of_it_says_so_and_an_ordinary_request_does_not(drive: Drive) -> None:
    query = drive(
        [answer(body={"data": [{"id": "/a"}], "resultTruncated": "false"})],
        planned("POST", GRAPH, {"query": "Resources"}),
    )
    assert query.outcome.source == query.rows[0].source == "resource-graph"
    assert drive([answer(body={"id": "/a"})]).outcome.source == "provider"


def test_where_nobody_answered_there_is_no_source(drive: Drive) -> None:
    ended = drive([NOT_SENT] * 3)
    assert ended.outcome.outcome == "failed"
    assert ended.outcome.source is None

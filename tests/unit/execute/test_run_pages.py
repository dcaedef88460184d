"""A list over its pages: whole and in order, or not there at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stages.execute import paging
from tests.unit.execute.driven import HTML, LOST, Drive, Reply, drive, link, page
from tests.unit.execute.made import GRAPH, LIST, ORIGIN, answer, planned

__all__ = ["drive"]


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
    monkeypatch.setattr(paging, "MAX_PAGES", 3)
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


def test_a_truncated_answer_of_resource_graph_is_not_complete(drive: Drive) -> None:
    body = {"data": [{"name": "a"}], "count": 1, "totalRecords": 9, "resultTruncated": "true"}
    ended = drive([answer(body=body)], planned("POST", GRAPH, {"query": "Resources"}))
    assert (ended.outcome.outcome, ended.outcome.error_code) == ("failed", "ResultTruncated")
    assert ended.rows == []


COST = "/subscriptions/s1/providers/Microsoft.CostManagement/query?api-version=2025-03-01"


def cost(rows: list[list[object]], following: object = None) -> Reply:
    """A page of Cost Management: no list, and the link to the next among the properties."""
    body = {"id": "query/1", "properties": {"nextLink": following, "rows": rows}}
    return answer(body=body)


def test_a_query_whose_link_is_among_its_properties_is_asked_again_to_its_end(
    drive: Drive,
) -> None:
    question = {"type": "ActualCost"}
    replies = [cost([[1]], f"{ORIGIN}{COST}&$skiptoken=2"), cost([[2]], "")]
    ended = drive(replies, planned("POST", COST, question))
    assert [(call.method, call.target) for call in ended.calls] == [
        ("POST", COST),
        ("POST", f"{COST}&$skiptoken=2"),
    ]
    assert ended.calls[1].body == msgspec.json.encode(question)
    assert (ended.outcome.outcome, ended.outcome.pages, len(ended.rows)) == ("complete", 2, 2)
    assert len({row.row_key for row in ended.rows}) == 2


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([cost([[1]], f"{ORIGIN}{COST}&p=2"), *[answer(429)] * 3], "throttled"),
        ([cost([[1]], 7)] * 3, "failed"),
        ([cost([[1]], "https://elsewhere.invalid/x")], "failed"),
        ([cost([[1]], f"{ORIGIN}{COST}")], "failed"),
    ],
)
def test_of_such_a_query_there_is_all_or_nothing(
    drive: Drive, replies: list[Reply], outcome: str
) -> None:
    ended = drive(replies, planned("POST", COST, {}))
    assert (ended.outcome.outcome, ended.rows) == (outcome, [])


def test_a_resource_may_have_a_property_of_that_name(drive: Drive) -> None:
    ended = drive([answer(body={"id": "/1", "properties": {"nextLink": link(2)}})])
    assert (ended.outcome.outcome, len(ended.rows)) == ("complete", 1)

"""Resource Graph."""

from typing import Any

import msgspec
import pytest

from pipeline.sandbox.arm import kql
from pipeline.sandbox.arm.graph import Graph
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Request

TENANT = Tenant(subscriptions=2, vms=20, groups=3)
VMS = "Resources | where type =~ 'Microsoft.Compute/virtualMachines'"


def ask(query: str, graph: Graph | None = None, **more: Any) -> dict[str, Any]:
    graph = graph or Graph(TENANT, Settings())
    answer = graph.page(msgspec.json.encode({"query": query, **more}))
    value: dict[str, Any] = msgspec.json.decode(answer.body)
    return value | {"status": answer.status}


def test_rows_have_graphs_columns() -> None:
    found = ask(VMS)
    assert found["totalRecords"] == found["count"] == 40
    assert found["facets"] == []
    row = found["data"][0]
    assert row["type"] == "microsoft.compute/virtualmachines"
    assert row["subscriptionId"] == TENANT.subscription_ids[0]
    assert row["properties"]["hardwareProfile"]["vmSize"]


def test_subscriptions_narrow_a_query() -> None:
    assert ask(VMS, subscriptions=[TENANT.subscription_ids[1]])["totalRecords"] == 20
    assert ask(VMS, subscriptions=["00000000-0000-0000-0000-000000000000"])["totalRecords"] == 0


@pytest.mark.parametrize(
    "query", [VMS, "Resources", f"{VMS} | project id, name", f"{VMS} | take 33"]
)
def test_pages_joined_by_skip_tokens_hold_every_row_once(query: str) -> None:
    graph = Graph(TENANT, Settings(graph_page_size=9))
    ids: list[str] = []
    options: dict[str, Any] = {}
    for _ in range(1000):
        found = ask(query, graph, options=options)
        assert found["count"] == len(found["data"]) <= 9
        ids += [row["id"] for row in found["data"]]
        if "$skipToken" not in found:
            break
        options = {"$skipToken": found["$skipToken"]}
    assert len(ids) == len(set(ids)) == found["totalRecords"]


def test_a_skip_token_of_another_query_is_refused() -> None:
    token = ask(VMS, options={"$top": 1})["$skipToken"]
    assert ask("Resources", options={"$skipToken": token})["status"] == 400


def test_without_the_column_id_the_rest_is_cut_off() -> None:
    found = ask(f"{VMS} | project name", options={"$top": 5})
    assert found["resultTruncated"] == "true"
    assert "$skipToken" not in found


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"{VMS} | take 3", 3),
        (f"{VMS} | limit 3 | project id", 3),
        (f"{VMS} and name =~ 'VM-00003'", 2),
        (f"{VMS} | where name in~ ('VM-00003', \"vm-00004\")", 4),
        (f"{VMS} | where location == 'westeurope' | take 2", 2),
        (f"{VMS} | where name startswith 'vm-0001'", 20),
        (f"{VMS} | where isempty(name)", 0),
        (f"{VMS} | where name != 'vm-00000' | order by name asc | take 1", 1),
        (f"{VMS} | count", 1),
        ("resourcecontainers", 8),
        ("ResourceContainers | where type == 'microsoft.resources/subscriptions'", 2),
        ("where type =~ 'microsoft.compute/disks'", 80),
    ],
)
def test_what_is_understood(query: str, count: int) -> None:
    assert ask(query)["totalRecords"] == count


def test_columns_are_renamed_and_looked_up() -> None:
    row = ask(f"{VMS} | project size = tostring(properties.hardwareProfile.vmSize), tags['env']")
    assert set(row["data"][0]) == {"size", "tags_env"}
    assert row["data"][0]["tags_env"] == "prod"


def test_rows_are_counted_by_column() -> None:
    query = "Resources | summarize n = count() by type | order by n desc | take 1"
    assert ask(query)["data"] == [{"type": "microsoft.compute/disks", "n": 80}]


def test_the_table_format() -> None:
    found = ask(f"{VMS} | project name", options={"resultFormat": "table", "$top": 1})
    assert found["data"] == {
        "columns": [{"name": "name", "type": "string"}],
        "rows": [["vm-00000"]],
    }


@pytest.mark.parametrize(
    "query",
    ["", "Nowhere", "Resources | join x", "Resources | where a like 'b'", "Resources | take many"],
)
def test_what_is_not_understood_is_refused(query: str) -> None:
    assert ask(query)["status"] == 400


def test_a_body_that_is_no_query_is_refused() -> None:
    for body in (b"", b"[]", b'{"query": 1}', b'{"query":"Resources","options":{"$top":5000}}'):
        assert Graph(TENANT, Settings()).page(body).status == 400


def test_a_pipe_in_a_text_does_not_end_a_part() -> None:
    assert len(kql.parse("Resources | where name == 'a|b'").conditions) == 1


def test_the_quota_is_told_and_kept() -> None:
    graph = Graph(TENANT, Settings(graph_quota=2, graph_window_s=3600))
    body = msgspec.json.encode({"query": VMS})
    request = Request("POST", "/providers/x?api-version=2022-10-01", {}, body)
    answers = [graph.answer(request, "me") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].header("x-ms-user-quota-remaining") == "1"
    assert answers[2].header("x-ms-user-quota-resets-after") == "01:00:00"
    assert graph.answer(request, "you").status == 200

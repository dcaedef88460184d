"""GETs that Resource Graph answers: which, how, and how many."""

from __future__ import annotations

import re

import msgspec
import pytest

from pipeline.sandbox.arm.graph_reads import GraphReads
from pipeline.sandbox.arm.pages import Listing, One
from pipeline.sandbox.arm.router import Router
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer, Request

ORIGIN = "http://127.0.0.1:1"
TENANT = Tenant(subscriptions=2, vms=20, groups=3)
S, OTHER = TENANT.subscription_ids
ROUTER = Router(TENANT)
V = "api-version=2024-07-01"
FLAG = "useResourceGraph=true"
GROUP = f"/subscriptions/{S}/resourceGroups/{TENANT.group_name(0)}"
VMS = "providers/Microsoft.Compute/virtualMachines"


def reads(**settings: object) -> GraphReads:
    return GraphReads(TENANT, ROUTER, msgspec.convert(settings, Settings))


def ask(target: str, reads_: GraphReads | None = None, who: str = "me") -> Answer | None:
    return (reads_ or reads()).answer(Request("GET", target, {}), who, ORIGIN)


@pytest.mark.parametrize(
    "path",
    [
        f"/subscriptions/{S}/{VMS}",
        f"/SUBSCRIPTIONS/{S.upper()}/{VMS.lower()}/",
        f"/subscriptions/{S}/providers/Microsoft.Storage/storageAccounts",
        f"{GROUP}/{VMS}",
    ],
)
def test_lists_of_one_type_hold_the_rows_of_the_provider(path: str) -> None:
    answer = ask(f"{path}?{V}&{FLAG}")
    provided = ROUTER.resolve(f"{path}?{V}")
    assert answer is not None
    assert isinstance(provided, Listing)
    rows = msgspec.json.decode(answer.body)["value"]
    assert [row.pop("apiVersion") for row in rows] == ["2024-07-01"] * provided.count
    assert rows == [msgspec.json.decode(provided.row(i).body) for i in range(provided.count)]
    assert re.fullmatch(r"\d:\d\d:\d\d:\d\d\.\d{7}", answer.header(_DURATION))
    assert answer.header(_SNAPSHOT) == ""
    assert answer.kind.endswith("list from Resource Graph")


_DURATION = "x-ms-resource-graph-request-duration"
_SNAPSHOT = "x-ms-arg-snapshot-timestamp"


def test_one_resource_says_when_it_was_indexed() -> None:
    target = f"{GROUP}/{VMS}/vm-00000?{V}"
    answer, provided = ask(f"{target}&{FLAG}"), ROUTER.resolve(target)
    assert answer is not None
    assert isinstance(provided, One)
    value = msgspec.json.decode(answer.body)
    assert value.pop("apiVersion") == "2024-07-01"
    assert value == msgspec.json.decode(provided.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", answer.header(_SNAPSHOT))


def test_what_does_not_exist_is_not_found_here_either() -> None:
    answer = ask(f"{GROUP}/{VMS}/nope?{V}&{FLAG}")
    assert answer is not None
    assert answer.status == 404
    assert answer.header("x-ms-user-quota-remaining") == "3999"


@pytest.mark.parametrize(
    "target",
    [
        f"/subscriptions/{S}/{VMS}?{V}",
        f"/subscriptions/{S}/{VMS}?{V}&useResourceGraph=false",
        f"/subscriptions/{S}/{VMS}?{V}&x=useResourceGraph%3Dtrue",
        f"/subscriptions?{V}&{FLAG}",
        f"/subscriptions/{S}/resources?{V}&{FLAG}",
        f"/subscriptions/{S}/resourceGroups?{V}&{FLAG}",
        f"{GROUP}?{V}&{FLAG}",
        f"{GROUP}/{VMS}/vm-00000/instanceView?{V}&{FLAG}",
        f"{GROUP}/{VMS}/vm-00000/providers/Microsoft.Authorization/roleAssignments?{V}&{FLAG}",
        f"{GROUP}/providers/Microsoft.Network/virtualNetworks/vnet-000/subnets?{V}&{FLAG}",
        f"/subscriptions/{S}/providers/Microsoft.Compute/skus?{V}&{FLAG}",
        f"/subscriptions/{S}/providers/Microsoft.Compute/locations/uksouth/usages?{V}&{FLAG}",
        f"/subscriptions/{S}/providers/Microsoft.Authorization/roleAssignments?{V}&{FLAG}",
    ],
)
def test_the_provider_answers_the_rest(target: str) -> None:
    assert ask(target) is None


def test_the_flag_stays_on_the_next_link() -> None:
    answer = ask(f"/subscriptions/{S}/{VMS}?{V}&{FLAG}", reads(page_size=15))
    assert answer is not None
    link = msgspec.json.decode(answer.body)["nextLink"]
    assert f"&{FLAG}&" in link
    rest = ask(link.removeprefix(ORIGIN), reads(page_size=15))
    assert rest is not None
    assert len(msgspec.json.decode(rest.body)["value"]) == 5


def test_the_quota_is_of_a_principal_in_a_subscription() -> None:
    limited = reads(graph_get_quota=2, graph_get_window_s=60)
    mine = f"/subscriptions/{S}/{VMS}?{V}&{FLAG}"
    answers = [ask(mine, limited) for _ in range(3)]
    assert [answer and answer.status for answer in answers] == [200, 200, 429]
    refused = answers[2]
    assert refused is not None
    assert msgspec.json.decode(refused.body)["error"]["code"] == "RateLimiting"
    assert refused.header("x-ms-user-quota-remaining") == "0"
    assert refused.header("x-ms-user-quota-resets-after") == "00:01:00"
    assert refused.header("Retry-After") == "60"
    others = [ask(mine, limited, "you"), ask(mine.replace(S, OTHER), limited)]
    assert [answer and answer.status for answer in others] == [200, 200]


def test_without_throttling_a_spent_quota_is_only_told() -> None:
    unlimited = reads(graph_get_quota=1, buckets=False)
    target = f"/subscriptions/{S}/{VMS}?{V}&{FLAG}"
    answers = [ask(target, unlimited) for _ in range(2)]
    told = [(a.status, a.header("x-ms-user-quota-remaining")) for a in answers if a]
    assert told == [(200, "0"), (200, "0")]

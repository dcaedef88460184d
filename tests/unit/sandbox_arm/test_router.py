"""Paths, lists and ARM's errors."""

from typing import Any

import msgspec
import pytest

from pipeline.sandbox.arm.pages import Listing, One, decode_token, encode_token, page
from pipeline.sandbox.arm.router import Action, Router
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer

ORIGIN = "http://127.0.0.1:1"
V = "api-version=2024-07-01"
TENANT = Tenant(subscriptions=2, vms=20, groups=3)
S = TENANT.subscription_ids[0]
G = TENANT.group_name(0)
ROUTER = Router(TENANT)


def code(found: object) -> tuple[int, str]:
    assert isinstance(found, Answer)
    return found.status, msgspec.json.decode(found.body)["error"]["code"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"/subscriptions/{S}", (400, "MissingApiVersionParameter")),
        (f"/subscriptions/{S}?api-version=", (400, "MissingApiVersionParameter")),
        (f"/subscriptions/{S}?api-version=v1", (400, "InvalidApiVersionParameter")),
        (
            f"/subscriptions/{S}/providers/Microsoft.Compute/disks?api-version=v1",
            (400, "NoRegisteredProviderFound"),
        ),
        (f"/subscriptions/nope?{V}", (400, "InvalidSubscriptionId")),
        (f"/subscriptions/{'1' * 8}-1111-1111-1111-{'1' * 12}?{V}", (404, "SubscriptionNotFound")),
        (f"/subscriptions/{S}/resourceGroups/nope?{V}", (404, "ResourceGroupNotFound")),
        (
            f"/subscriptions/{S}/resourceGroups/nope/providers/A.B/c/d?{V}",
            (404, "ResourceGroupNotFound"),
        ),
        (f"/subscriptions/{S}/providers/A.B/c?{V}", (404, "InvalidResourceNamespace")),
        (f"/subscriptions/{S}/providers/Microsoft.Compute/c?{V}", (404, "InvalidResourceType")),
        (
            f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Compute/disks/nope?{V}",
            (404, "ResourceNotFound"),
        ),
        (
            f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Sql/servers/nope/"
            f"databases?{V}",
            (404, "ParentResourceNotFound"),
        ),
        (f"/nothing?{V}", (404, "NotFound")),
        (f"/?{V}", (404, "NotFound")),
        (f"/{'a/' * 100}?{V}", (404, "NotFound")),
    ],
)
def test_errors_are_those_of_arm(target: str, expected: tuple[int, str]) -> None:
    assert code(ROUTER.resolve(target)) == expected


def test_a_resource_is_found_in_its_own_group_only() -> None:
    vm = f"providers/Microsoft.Compute/virtualMachines/vm-00000?{V}"
    assert isinstance(ROUTER.resolve(f"/subscriptions/{S}/resourceGroups/{G}/{vm}"), One)
    elsewhere = f"/subscriptions/{S}/resourceGroups/{TENANT.group_name(1)}/{vm}"
    assert code(ROUTER.resolve(elsewhere)) == (404, "ResourceNotFound")


def test_paths_match_in_any_case() -> None:
    target = f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Compute/disks/disk-000000"
    found = ROUTER.resolve(f"{target}?{V}")
    shouted = ROUTER.resolve(f"{target.upper()}?API-VERSION=2024-07-01")
    assert isinstance(found, One)
    assert found == shouted


@pytest.mark.parametrize(
    "path",
    [
        "/subscriptions",
        "/tenants",
        "/providers",
        "/providers/Microsoft.Management/managementGroups",
        "/providers/Microsoft.Authorization/roleDefinitions",
        f"/subscriptions/{S}/locations",
        f"/subscriptions/{S}/providers",
        f"/subscriptions/{S}/resources",
        f"/subscriptions/{S}/resourceGroups",
        f"/subscriptions/{S}/resourceGroups/{G}/resources",
        f"/subscriptions/{S}/providers/Microsoft.Compute/locations/westeurope/usages",
        f"/subscriptions/{S}/providers/microsoft.insights/eventtypes/management/values",
        f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Authorization/roleAssignments",
        f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Compute/virtualMachines/"
        "vm-00000/providers/Microsoft.Authorization/roleAssignments",
        f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Compute/virtualMachines/"
        "vm-00000/providers/microsoft.insights/diagnosticSettings",
        f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Sql/servers/"
        f"sql-{S[:8]}-000/databases",
    ],
)
def test_lists(path: str) -> None:
    found = ROUTER.resolve(f"{path}?{V}")
    assert isinstance(found, Listing)
    assert found.count > 0
    assert all(msgspec.json.decode(found.row(i).body) for i in range(found.count))


def test_every_type_lists_what_single_gets_give() -> None:
    for type_ in TENANT.types.values():
        if type_.level in {"child", "plain"} or not TENANT.count(type_):
            continue
        found = ROUTER.resolve(f"/subscriptions/{S}/providers/{type_.full}?{V}")
        assert isinstance(found, Listing), type_.full
        row = found.row(found.count - 1)
        one = ROUTER.resolve(f"{row.id}?{V}")
        assert isinstance(one, One), row.id
        assert one.body == row.body


def test_the_list_of_all_resources_filters_by_type() -> None:
    text = "resourceType%20eq%20'Microsoft.Compute/disks'"
    found = ROUTER.resolve(f"/subscriptions/{S}/resources?{V}&$filter={text}")
    assert isinstance(found, Listing)
    assert found.count == TENANT.count(TENANT.types["microsoft.compute/disks"])
    bad = ROUTER.resolve(f"/subscriptions/{S}/resources?{V}&$filter=colour%20eq%20'red'")
    assert code(bad) == (400, "InvalidFilterInQueryString")


def test_the_list_of_all_resources_is_that_of_its_groups() -> None:
    whole = ROUTER.resolve(f"/subscriptions/{S}/resources?{V}")
    assert isinstance(whole, Listing)
    ids = set()
    for index in range(TENANT.groups):
        name = TENANT.group_name(index)
        part = ROUTER.resolve(f"/subscriptions/{S}/resourceGroups/{name}/resources?{V}")
        assert isinstance(part, Listing)
        ids |= {part.row(i).id for i in range(part.count)}
    assert ids == {whole.row(i).id for i in range(whole.count)}


def test_what_stands_behind_a_resource_is_an_action() -> None:
    target = f"/subscriptions/{S}/resourceGroups/{G}/providers/Microsoft.Storage/storageAccounts/"
    found = ROUTER.resolve(f"{target}st{S[:8]}00000/listKeys?{V}")
    assert isinstance(found, Action)
    assert found.name == "listKeys"


def read_all(target: str, page_size: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    link = target
    for _ in range(100):
        found = ROUTER.resolve(link)
        assert isinstance(found, Listing)
        answer = page(found, ORIGIN, link, page_size)
        assert answer.status == 200
        value = msgspec.json.decode(answer.body)
        assert len(value["value"]) <= page_size
        rows += value["value"]
        if "nextLink" not in value:
            return rows
        assert value["nextLink"].startswith(f"{ORIGIN}/")
        link = value["nextLink"].removeprefix(ORIGIN)
    raise AssertionError("the list has no end")


@pytest.mark.parametrize("page_size", [1, 7, 20, 1000])
def test_pages_hold_every_row_once(page_size: int) -> None:
    rows = read_all(
        f"/subscriptions/{S}/providers/Microsoft.Compute/virtualMachines?{V}", page_size
    )
    assert [row["name"] for row in rows] == [f"vm-{k:05}" for k in range(20)]


def test_top_makes_pages_smaller() -> None:
    target = f"/subscriptions/{S}/providers/Microsoft.Compute/disks?{V}&$top=3"
    found = ROUTER.resolve(target)
    assert isinstance(found, Listing)
    assert len(msgspec.json.decode(page(found, ORIGIN, target, 100).body)["value"]) == 3
    assert len(read_all(target, 100)) == 40


@pytest.mark.parametrize("token", ["nope", "bz0wO2M9", "", "%FF"])
def test_a_skip_token_that_was_not_given_out_is_refused(token: str) -> None:
    target = f"/subscriptions?{V}&$skiptoken={token}"
    found = ROUTER.resolve(target)
    assert isinstance(found, Listing)
    assert page(found, ORIGIN, target, 1).status == 400


def test_a_skip_token_is_good_for_its_own_list_only() -> None:
    token = encode_token(5, "/a")
    assert decode_token(token, "/a") == 5
    assert decode_token(token, "/b") is None

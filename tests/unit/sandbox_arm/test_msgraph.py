"""Microsoft Graph's answers: lists, single objects, options, errors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.sandbox.arm.access import Access
from pipeline.sandbox.arm.api import RequestIds
from pipeline.sandbox.arm.directory import USER_BASICS, Directory
from pipeline.sandbox.arm.msgraph import MicrosoftGraph, unauthorized
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer, Request

ORIGIN = "http://127.0.0.1:2"
TENANT = Tenant(subscriptions=1, vms=1, groups=1)
DIRECTORY = Directory(TENANT.id, 250, TENANT.guid)
USER = DIRECTORY.users.value(3)
GROUP = DIRECTORY.groups.id(4)


def graph(**settings: Any) -> MicrosoftGraph:
    return MicrosoftGraph(
        DIRECTORY,
        Operations(TENANT.guid("operations")),
        RequestIds(),
        Settings(**settings),
        Access(None, frozenset(), unauthorized),
    )


def ask(target: str, method: str = "GET", headers: dict[bytes, bytes] | None = None) -> Answer:
    request, there = Request(method, target, headers or {}), graph()
    return there.finish(request, there.answer(request, "me", ORIGIN))


def value(target: str) -> dict[str, Any]:
    answer = ask(target)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found


@pytest.mark.parametrize("version", ["v1.0", "beta"])
@pytest.mark.parametrize("name", DIRECTORY.counts())
def test_pages_hold_every_object_once(version: str, name: str) -> None:
    target = f"/{version}/{name}?$top=40"
    ids = []
    for _ in range(20):
        found = value(target)
        assert found["@odata.context"] == f"{ORIGIN}/{version}/$metadata#{name}"
        assert len(found["value"]) <= 40
        ids += [row["id"] for row in found["value"]]
        if "@odata.nextLink" not in found:
            break
        assert found["@odata.nextLink"].startswith(f"{ORIGIN}/{version}/{name}?$top=40&$skiptoken=")
        target = found["@odata.nextLink"].removeprefix(ORIGIN)
    assert ids == graph().expected(f"/{version}/{name}")
    assert len(ids) == DIRECTORY.counts()[name]


def test_a_page_has_100_rows_unless_asked() -> None:
    assert len(value("/v1.0/users")["value"]) == 100
    assert len(value("/v1.0/users?$top=999")["value"]) == 250


def test_one_object_is_found_by_id_and_a_user_by_name() -> None:
    by_id = value(f"/v1.0/users/{USER['id']}")
    assert by_id == value(f"/v1.0/USERS/{USER['userPrincipalName'].upper()}")
    assert by_id.pop("@odata.context") == f"{ORIGIN}/v1.0/$metadata#users/$entity"
    assert by_id == {name: USER[name] for name in USER if name in USER_BASICS}
    assert value(f"/beta/users/{USER['id']}").keys() == USER.keys() | {"@odata.context"}
    assert value(f"/v1.0/organization/{TENANT.id}")["displayName"] == "Contoso"


def test_select_gives_what_is_asked_and_the_id() -> None:
    row = value("/v1.0/users?$select=displayName,DEPARTMENT&$top=1")["value"][0]
    assert row.keys() == {"id", "displayName", "department"}
    one = value(f"/v1.0/groups/{GROUP}?$select=displayName")
    assert one.keys() == {"@odata.context", "id", "displayName"}
    assert one["@odata.context"].endswith("$metadata#groups(displayName)/$entity")


def test_members_say_what_they_are() -> None:
    found = value(f"/v1.0/groups/{GROUP}/members")
    assert found["@odata.context"].endswith("#directoryObjects")
    types = {row["@odata.type"] for row in found["value"]}
    assert types == {"#microsoft.graph.user", "#microsoft.graph.servicePrincipal"}
    user = next(row for row in found["value"] if row["@odata.type"].endswith("user"))
    assert user.keys() == USER_BASICS | {"@odata.type"}
    assert [row["id"] for row in found["value"]] == graph().expected(
        f"/v1.0/groups/{GROUP}/members"
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v1.0/users?$filter=x", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?%24expand=manager", (400, "Request_UnsupportedQuery")),
        (f"/v1.0/users/{USER['id']}?$top=3", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?$top=0", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?$top=1000", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?$top=0000000129999", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?$top=x", (400, "Request_UnsupportedQuery")),
        ("/v1.0/users?$select=displayName,colour", (400, "BadRequest")),
        ("/v1.0/users?$skiptoken=x", (400, "Directory_ExpiredPageToken")),
        (f"/v1.0/users/{TENANT.id}", (404, "Request_ResourceNotFound")),
        ("/v1.0/users/nobody@contoso.com", (404, "Request_ResourceNotFound")),
        (f"/v1.0/groups/{TENANT.id}/members", (404, "Request_ResourceNotFound")),
        ("/v1.0/groups/nope", (400, "Request_BadRequest")),
        (f"/v1.0/groups/{GROUP}/owners", (400, "BadRequest")),
        (f"/v1.0/users/{USER['id']}/members", (400, "BadRequest")),
        ("/v1.0/colours", (400, "BadRequest")),
        ("/v1.0", (400, "BadRequest")),
        ("/v2.0/users", (400, "BadRequest")),
        ("/", (400, "BadRequest")),
    ],
)
def test_errors_are_those_of_microsoft_graph(target: str, expected: tuple[int, str]) -> None:
    answer = ask(target, headers={b"client-request-id": b"mine"})
    error = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, error["code"]) == expected
    assert error["message"]
    assert error["innerError"].keys() == {"date", "request-id", "client-request-id"}
    assert error["innerError"]["request-id"] == answer.header("request-id")
    assert error["innerError"]["client-request-id"] == "mine"


def test_a_skip_token_is_good_for_its_own_list_only() -> None:
    link = value("/v1.0/users?$top=5")["@odata.nextLink"].removeprefix(ORIGIN)
    assert ask(link).status == 200
    assert ask(link.replace("users", "devices")).status == 400


def test_headers_are_those_of_microsoft_graph() -> None:
    answer = ask("/v1.0/organization")
    assert answer.header("OData-Version") == "4.0"
    assert len(answer.header("request-id")) == 36
    assert answer.header("x-ms-request-id") == ""
    assert answer.header("Content-Type").startswith("application/json;odata.metadata=minimal")


def test_it_is_read_only() -> None:
    assert ask("/v1.0/users", "POST").status == 405


def test_targets_of_arm_are_none_of_its() -> None:
    assert graph().expected("/subscriptions?api-version=2024-07-01") is None

"""What a message may ask of Microsoft Graph, and when Resource Graph may be preferred."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.messages import ARM, MICROSOFT_GRAPH
from tests.unit.message_fixture import SUBSCRIPTION, a_message, a_request, parse, refusal


def a_graph_request(**fields: Any) -> dict[str, Any]:
    given = {"service": "graph", "api_version": "v1.0", "resource_path": "/users", **fields}
    return a_request(**given)


# ── Microsoft Graph ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({}, "/v1.0/users"),
        ({"api_version": "beta"}, "/beta/users"),
        ({"resource_path": "/v1.0/users"}, "/v1.0/users"),
        ({"resource_path": "/v1.0"}, "/v1.0"),
        (
            {"query_params": {"$select": "id,displayName", "$top": "999"}},
            "/v1.0/users?$select=id%2CdisplayName&$top=999",
        ),
        (
            {"resource_path": "/users/{upn}", "parameters": {"upn": "a#EXT#@b.example"}},
            None,  # a value never holds a #
        ),
        (
            {"resource_path": "/users/{upn}/memberOf", "parameters": {"upn": "a+b@c.example"}},
            "/v1.0/users/a%2Bb%40c.example/memberOf",
        ),
    ],
)
def test_its_version_stands_in_the_path(fields: dict[str, Any], target: str | None) -> None:
    message = a_message(a_graph_request(**fields))
    if target is None:
        assert refusal(message).reason == "bad parameter"
        return
    planned = parse(message).requests[0]
    assert planned.target == target
    assert planned.audience == MICROSOFT_GRAPH


def test_everything_else_is_for_azure_resource_manager() -> None:
    assert parse(a_message()).requests[0].audience == ARM


def test_its_paths_lie_in_no_subscription() -> None:
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    planned = parse(a_message(a_graph_request(resource_path=path))).requests[0]
    assert (planned.subscription_id, planned.resource_group) == ("", "")


@pytest.mark.parametrize("version", ["2024-07-01", "v2.0", "V1.0", "1.0", "", "v1.0/x"])
def test_another_version_is_refused_with_those_it_takes(version: str) -> None:
    error = refusal(a_message(a_graph_request(api_version=version)))
    assert error.reason == "bad api_version"
    assert "v1.0 or beta" in error.detail


@pytest.mark.parametrize("service", ["compute", "graphs"])
def test_its_versions_are_no_dates_for_others(service: str) -> None:
    assert refusal(a_message(a_graph_request(service=service))).reason == "bad api_version"


def test_a_path_of_another_version_is_refused() -> None:
    error = refusal(a_message(a_graph_request(resource_path="/beta/users")))
    assert error.reason == "bad resource_path"
    assert "beta" in error.detail
    assert "v1.0" in error.detail


@pytest.mark.parametrize(
    "path",
    [
        "/directoryObjects/getByIds",
        "/users/u/getMemberGroups",
        "/users/u/microsoft.graph.getMemberObjects",
        "/groups/g/checkMemberGroups",
    ],
)
def test_a_post_that_reads_is_taken(path: str) -> None:
    planned = parse(a_message(a_graph_request(method="POST", resource_path=path))).requests[0]
    assert planned.method == "POST"


@pytest.mark.parametrize(
    "path",
    [
        "/users",
        "/$batch",
        "/users/u/revokeSignInSessions",
        "/groups/g/members/$ref",
        "/providers/Microsoft.ResourceGraph/resources",
        "/users/getByIds/x",
        "/users/u/list",
        "/x/evil.microsoft.graph.getByIds",
    ],
)
def test_a_post_that_may_write_is_refused(path: str) -> None:
    message = a_message(a_graph_request(method="POST", resource_path=path))
    assert refusal(message).reason == "write refused"
    assert parse(message, allow_writes=True).requests[0].method == "POST"


# ── Resource Graph first ─────────────────────────────────────────────────────────────────────────


def test_resource_graph_may_be_preferred() -> None:
    first, second = parse(a_message(a_request(prefer="resource-graph"), a_request())).requests
    assert first.prefer_graph
    assert not second.prefer_graph
    assert first.target == second.target


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prefer": "provider"}, "'provider'; takes resource-graph"),
        ({"prefer": ""}, "takes resource-graph"),
        ({"prefer": "resource-graph", "method": "HEAD"}, "only a GET"),
        (
            {
                "prefer": "resource-graph",
                "method": "POST",
                "resource_path": "/providers/Microsoft.ResourceGraph/resources",
            },
            "only a GET",
        ),
        (
            {
                "prefer": "resource-graph",
                "service": "graph",
                "api_version": "v1.0",
                "resource_path": "/users",
            },
            "only a GET of Azure Resource Manager",
        ),
    ],
)
def test_a_preference_that_cannot_be_followed_is_refused(fields: dict[str, Any], said: str) -> None:
    error = refusal(a_message(a_request(), a_request(**fields)))
    assert error.reason == "bad prefer"
    assert said in error.detail
    assert "api_requests[1]" in error.detail


def test_a_preference_of_another_type_is_named_with_its_place() -> None:
    error = refusal(a_message(a_request(prefer=True)))
    assert error.reason == "wrong type"
    assert "api_requests[0].prefer" in error.detail

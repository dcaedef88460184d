"""The ARM simulator over sockets: the tenant, who may see it, and how often."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from tests.integration.simulator_calls import (
    Running,
    V,
    arm,
    call,
    collect,
    shared,
    subscription,
    vms,
)

__all__ = ["arm", "shared"]


# -- the tenant over HTTP


def test_every_list_holds_what_the_simulator_says_it_holds(arm: Running) -> None:
    arm.control.settings(page_size=7)
    scope = f"/subscriptions/{subscription(arm)}"
    targets = ["/subscriptions", f"{scope}/resourceGroups", f"{scope}/resources"]
    for name, row in arm.control.catalogue()["types"].items():
        if row["level"] not in {"child", "plain"}:
            targets.append(f"{scope}/providers/{name}")
    for target in targets:
        expected = arm.control.expected(f"{target}?{V}")
        assert expected["status"] == 200, target
        assert collect(arm, f"{target}?{V}") == expected["ids"], target
        assert len(expected["ids"]) == expected["count"]


def test_headers_are_those_of_arm(arm: Running) -> None:
    got = call(arm, vms(arm), **{"x-ms-correlation-request-id": "mine"})
    assert got.status == 200
    assert got.headers["Content-Type"] == "application/json; charset=utf-8"
    assert got.headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    assert got.headers["x-ms-ratelimit-remaining-subscription-global-reads"] == "3749"
    assert got.headers["x-ms-ratelimit-remaining-resource"].startswith(
        "Microsoft.Compute/HighCostGet3Min;"
    )
    assert got.headers["x-ms-correlation-request-id"] == "mine"
    assert len(got.headers["x-ms-request-id"]) == 36
    assert parsedate_to_datetime(got.headers["Date"]).tzinfo is not None


def test_the_tenants_own_bucket_is_told_for_requests_above_subscriptions(arm: Running) -> None:
    got = call(arm, f"/subscriptions?{V}")
    assert got.headers["x-ms-ratelimit-remaining-tenant-reads"] == "249"


def test_head_tells_whether_a_group_exists(arm: Running) -> None:
    scope = f"/subscriptions/{subscription(arm)}/resourceGroups"
    name = arm.control.catalogue()["resource_groups"][0]
    assert call(arm, f"{scope}/{name}?{V}", "HEAD").status == 204
    assert call(arm, f"{scope}/nope?{V}", "HEAD").status == 404


def test_read_actions(arm: Running) -> None:
    listed = arm.control.expected(
        f"/subscriptions/{subscription(arm)}/providers/Microsoft.Storage/storageAccounts?{V}"
    )
    got = call(arm, f"{listed['ids'][0]}/listKeys?{V}", "POST", {})
    assert got.status == 200
    assert [key["keyName"] for key in got.json()["keys"]] == ["key1", "key2"]
    assert "x-ms-ratelimit-remaining-subscription-writes" in got.headers


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_writes_are_refused(arm: Running, method: str) -> None:
    assert call(arm, vms(arm), method, {}).status == 405


def test_resource_graph_pages_hold_what_the_simulator_says(arm: Running) -> None:
    arm.control.settings(graph_page_size=9)
    target = "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01"
    query = {"query": "Resources | where type =~ 'microsoft.compute/disks'", "options": {}}
    expected = arm.control.expected(target, "POST", query)
    ids: list[str] = []
    while True:
        got = call(arm, target, "POST", query)
        assert got.headers["x-ms-user-quota-resets-after"] == "00:00:05"
        ids += [row["id"] for row in got.json()["data"]]
        if "$skipToken" not in got.json():
            break
        query["options"] = {"$skipToken": got.json()["$skipToken"]}
    assert ids == expected["ids"]
    assert len(ids) == 120


@pytest.mark.parametrize(
    ("action", "has_status"), [("assessPatches", True), ("effectiveRouteTable", False)]
)
def test_long_actions(arm: Running, action: str, has_status: bool) -> None:
    kind = "Microsoft.Compute/virtualMachines"
    if not has_status:
        kind = "Microsoft.Network/networkInterfaces"
    target = f"/subscriptions/{subscription(arm)}/providers/{kind}?{V}"
    owner = arm.control.expected(target)["ids"][0]
    begun = call(arm, f"{owner}/{action}?{V}", "POST", {})
    assert begun.status == 202
    assert begun.headers["Retry-After"] == "1"
    assert ("Azure-AsyncOperation" in begun.headers) == has_status
    link = begun.headers["Azure-AsyncOperation"] or begun.headers["Location"]
    polls = [call(arm, link.removeprefix(arm.endpoint)) for _ in range(3)]
    if has_status:
        states = [poll.json()["status"] for poll in polls]
        assert states == ["InProgress", "InProgress", "Succeeded"]
    else:
        assert [poll.status for poll in polls] == [202, 202, 200]
    final = call(arm, begun.headers["Location"].removeprefix(arm.endpoint))
    assert final.status == 200
    assert final.json()


# -- access and throttling


def test_a_request_without_a_token_is_refused(arm: Running) -> None:
    got = call(arm, vms(arm), token=None)
    assert (got.status, got.code()) == (401, "AuthenticationFailed")
    assert got.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


def test_accepted_tokens_change_while_it_runs(arm: Running) -> None:
    target = vms(arm)
    assert call(arm, target, token="old").status == 200
    arm.control.settings(tokens=["new"])
    got = call(arm, target, token="old")
    assert (got.status, got.code()) == (401, "InvalidAuthenticationToken")
    assert call(arm, target, token="new").status == 200


def test_an_empty_bucket_throttles_its_own_scope_only(arm: Running) -> None:
    arm.control.settings(buckets=True, bucket_size=3, bucket_refill=0.5)
    mine = vms(arm)
    other = mine.replace(subscription(arm), subscription(arm, 1))
    assert [call(arm, mine).status for _ in range(4)] == [200, 200, 200, 429]
    got = call(arm, mine)
    assert got.code() == "SubscriptionRequestsThrottled"
    assert 1 <= int(got.headers["Retry-After"]) <= 2
    assert got.headers["x-ms-ratelimit-remaining-subscription-reads"] == "0"
    assert call(arm, other).status == 200
    assert call(arm, mine, token="somebody else").status == 200

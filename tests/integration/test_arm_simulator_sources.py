"""The ARM simulator: GETs that Resource Graph answers, and what a client need not be sent again."""

from __future__ import annotations

import gzip

import pytest

from tests.integration.simulator_calls import (
    Got,
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

FLAG = "&useResourceGraph=true"
DURATION = "x-ms-resource-graph-request-duration"


def network(arm: Running) -> str:
    scope = f"/subscriptions/{subscription(arm)}/providers/Microsoft.Network/virtualNetworks"
    return f"{arm.control.expected(f'{scope}?{V}')['ids'][0]}?{V}"


# -- Resource Graph in the provider's place


def test_all_pages_come_from_resource_graph(arm: Running) -> None:
    arm.control.settings(page_size=7)
    assert collect(arm, vms(arm) + FLAG) == arm.control.expected(vms(arm))["ids"]
    kinds = arm.control.stats()["by_kind"]
    assert kinds == {"GET Microsoft.Compute/virtualMachines list from Resource Graph": 5}


def test_what_it_does_not_cover_is_the_providers(arm: Running) -> None:
    target = f"/subscriptions/{subscription(arm)}/resourceGroups?{V}"
    asked, plain = call(arm, target + FLAG), call(arm, target)
    assert asked.body == plain.body
    assert DURATION not in asked.headers


def test_it_draws_on_arms_own_bucket_too(arm: Running) -> None:
    arm.control.settings(buckets=True, bucket_size=2, bucket_refill=0.01)
    got = [call(arm, vms(arm) + FLAG) for _ in range(3)]
    assert [each.status for each in got] == [200, 200, 429]
    assert got[1].headers["x-ms-ratelimit-remaining-subscription-reads"] == "0"
    assert got[1].headers["x-ms-user-quota-remaining"] == "3998"
    assert DURATION in got[1].headers
    assert "x-ms-ratelimit-remaining-resource" not in got[1].headers
    assert got[2].code() == "SubscriptionRequestsThrottled"


def test_its_own_quota_leaves_the_provider_alone(arm: Running) -> None:
    arm.control.settings(buckets=True, graph_get_quota=1, graph_get_window_s=600)
    assert call(arm, vms(arm) + FLAG).status == 200
    refused = call(arm, vms(arm) + FLAG)
    assert (refused.status, refused.code()) == (429, "RateLimiting")
    assert 590 <= int(refused.headers["Retry-After"]) <= 600
    assert refused.headers["x-ms-user-quota-resets-after"] in {"00:09:59", "00:10:00"}
    assert call(arm, vms(arm)).status == 200


@pytest.mark.parametrize(
    ("status", "code"), [(404, "ResourceNotFound"), (422, "UnprocessableEntity")]
)
def test_a_resource_it_has_not_indexed_is_the_providers_still(
    arm: Running, status: int, code: str
) -> None:
    one = f"{arm.control.expected(vms(arm))['ids'][3]}?{V}"
    arm.control.faults(
        [
            {
                "kind": "status", "status": status, "code": code,
                "regex": "vm-00003.*useResourceGraph=true",
            }
        ]
    )  # fmt: skip
    refused = call(arm, one + FLAG)
    assert (refused.status, refused.code()) == (status, code)
    assert call(arm, one).status == 200
    assert call(arm, one.replace("vm-00003", "vm-00008") + FLAG).status == 200


def test_its_answers_are_compressed_for_who_takes_it(arm: Running) -> None:
    arm.control.settings(gzip=True)
    got = call(arm, vms(arm) + FLAG, **{"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert b'"apiVersion"' in gzip.decompress(got.body)


# -- If-None-Match


def tagged(arm: Running, target: str, known: str) -> Got:
    return call(arm, target, **{"If-None-Match": known})


def test_what_has_not_changed_is_not_sent_again(arm: Running) -> None:
    arm.control.settings(buckets=True)
    target = network(arm)
    first = call(arm, target)
    etag = first.headers["ETag"]
    assert etag.startswith('"')
    for known in (etag, f'"other", W/{etag}', "*"):
        again = tagged(arm, target, known)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == etag
        assert len(again.headers["x-ms-request-id"]) == 36
    assert again.headers["x-ms-ratelimit-remaining-subscription-reads"] == "246"
    assert tagged(arm, target, '"other"').body == first.body
    assert arm.control.stats()["by_status"] == {"200": 2, "304": 3}


def test_a_connection_goes_on_after_an_answer_without_a_body(arm: Running) -> None:
    target = network(arm)
    etag = call(arm, target).headers["ETag"]
    assert [tagged(arm, target, each).status for each in (etag, "no", etag)] == [304, 200, 304]


def test_neither_lists_nor_other_providers_nor_resource_graph_have_an_etag(arm: Running) -> None:
    one = network(arm)
    listed = f"/subscriptions/{subscription(arm)}/providers/Microsoft.Network/virtualNetworks?{V}"
    machine = f"{arm.control.expected(vms(arm))['ids'][0]}?{V}"
    for target in (listed, machine, one + FLAG):
        got = tagged(arm, target, "*")
        assert got.status == 200
        assert "ETag" not in got.headers

"""Every header in which Azure says what is left."""

from __future__ import annotations

import pytest

from pipeline.arm_limits import READS, WRITES
from stages.execute.limit_headers import (
    MAX_POLICIES,
    POLICIES,
    Reading,
    readings,
)


def scope_readings(headers: dict[str, str], kind: str = "reads") -> list[Reading]:
    return readings(headers, kind, "p")[0]


def provider_readings(headers: dict[str, str], provider: str, kind: str = "reads") -> list[Reading]:
    return readings(headers, kind, provider)[1]


PREFIX = "x-ms-ratelimit-remaining-"


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("subscription-reads", READS),
        ("tenant-reads", READS),
        ("subscription-writes", WRITES),
        ("subscription-deletes", WRITES),
        ("subscription-global-reads", (3750.0, 375.0)),
        ("subscription-global-writes", (3000.0, 150.0)),
        ("something-new", (0.0, 0.0)),
    ],
)
def test_counts_of_a_scope(name: str, limits: tuple[float, float]) -> None:
    assert scope_readings({PREFIX + name: "12"}) == [Reading(PREFIX + name, 12, *limits)]


def test_names_are_found_in_any_case() -> None:
    assert scope_readings({"X-Ms-RateLimit-Remaining-Subscription-Reads": "7"})[0].left == 7


@pytest.mark.parametrize("value", ["", "x", "-1", "\xb2", "9" * 5000, "1e9", "12 "])
def test_a_header_that_is_no_count_is_as_none(value: str) -> None:
    assert scope_readings({PREFIX + "subscription-reads": value}) == []
    assert provider_readings({POLICIES: f"Some/Policy;{value}x"}, "p") == []


def test_the_quota_of_resource_graph_comes_back_at_a_time() -> None:
    headers = {"x-ms-user-quota-remaining": "3", "x-ms-user-quota-resets-after": "00:01:05"}
    (reading,) = scope_readings(headers, "graph")
    assert (reading.left, reading.resets_after_s) == (3, 65.0)


def test_among_reads_resource_graph_counts_those_that_it_answers() -> None:
    headers = {"x-ms-user-quota-remaining": "3998", "x-ms-user-quota-resets-after": "00:00:30"}
    assert scope_readings(headers) == []
    (one,), (other,) = provider_readings(headers, "a"), provider_readings(headers, "b")
    assert (one.left, one.resets_after_s) == (3998, 30.0)
    assert one.name == other.name


def test_policies_of_a_provider() -> None:
    value = "Microsoft.Compute/HighCostGet3Min;136,Microsoft.Compute/HighCostGet30Min;696"
    found = provider_readings({POLICIES: value}, "microsoft.compute")
    assert [(reading.name, reading.left) for reading in found] == [
        ("microsoft.compute/highcostget3min", 136),
        ("microsoft.compute/highcostget30min", 696),
    ]
    assert scope_readings({POLICIES: value}) == []


def test_policies_are_bounded() -> None:
    value = ",".join(f"P/{number};1" for number in range(100))
    assert len(provider_readings({POLICIES: value}, "p")) == MAX_POLICIES
    assert provider_readings({POLICIES: "P/" + "x" * 500 + ";1"}, "p") == []


@pytest.mark.parametrize("name", ["subscription-resource-requests", "tenant-resource-requests"])
def test_a_count_that_every_provider_has_is_each_ones_own(name: str) -> None:
    headers = {PREFIX + name: "47"}
    assert scope_readings(headers) == []
    (cdn,) = provider_readings(headers, "microsoft.cdn")
    (web,) = provider_readings(headers, "microsoft.web")
    assert cdn.left == web.left == 47
    assert cdn.name != web.name

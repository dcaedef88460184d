"""What an answer says of Azure's limits: how many calls are left, of which counts. Pure.

Sources:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
https://learn.microsoft.com/azure/virtual-machines/compute-throttling-limits
https://learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipeline.arm_limits import ALL_IDENTITIES, READS, WRITES
from stages.execute.waits import quota_reset_s, whole_number

_PREFIX = "x-ms-ratelimit-remaining-"
# The counts of one resource provider, several in a header: ``Microsoft.Compute/GetVM3Min;238,…``.
POLICIES = _PREFIX + "resource"
# Counts of one resource provider too, each with its own of this name:
# ``…-subscription-resource-requests``, ``…-subscription-resource-entities-read``.
_PROVIDERS = "-resource-"
_QUOTA = "x-ms-user-quota-remaining"
# Policies taken from one header; no provider has so many.
MAX_POLICIES = 16
MAX_POLICY_CHARS = 128


class Reading(NamedTuple):
    """What is left of one count.

    Attributes:
        name: of the count.
        left: calls.
        size: calls that it holds when full; 0 if not known.
        refill_per_s: calls a second that come back; 0 if not known.
        resets_after_s: seconds until all come back at once, or None if they come back steadily.
    """

    name: str
    left: int
    size: float
    refill_per_s: float
    resets_after_s: float | None = None


def scope_readings(headers: Mapping[str, str]) -> list[Reading]:
    """The counts that all calls of a scope share.

    Args:
        headers: of an answer, found in any case.
    """
    found = []
    for spelled in headers:
        name = spelled.lower()
        if name.startswith(_PREFIX) and name != POLICIES and _PROVIDERS not in name:
            if (left := whole_number(headers[spelled])) is not None:
                found.append(Reading(name, left, *_limits(name)))
        elif name == _QUOTA and (left := whole_number(headers[spelled])) is not None:
            found.append(Reading(name, left, 0.0, 0.0, quota_reset_s(headers) or 0.0))
    return found


def provider_readings(headers: Mapping[str, str], provider: str) -> list[Reading]:
    """The counts of a resource provider, which only some calls of a scope share.

    Args:
        headers: of an answer, found in any case.
        provider: whose answer it is; providers have counts of the same name.
    """
    found: list[Reading] = []
    for spelled in headers:
        name = spelled.lower()
        if name == POLICIES:
            found += _policies(headers[spelled])
        elif name.startswith(_PREFIX) and _PROVIDERS in name:
            left = whole_number(headers[spelled])
            if left is not None:
                found.append(Reading(f"{provider} {name}", left, 0.0, 0.0))
    return found


def _policies(value: str) -> Iterator[Reading]:
    for policy in value.split(",", MAX_POLICIES)[:MAX_POLICIES]:
        name, _, text = policy.strip().rpartition(";")
        left = whole_number(text)
        if name and len(name) <= MAX_POLICY_CHARS and left is not None:
            yield Reading(name.lower(), left, 0.0, 0.0)


def _limits(name: str) -> tuple[float, float]:
    kind = name.rpartition("-")[2]
    limits = {"reads": READS, "writes": WRITES, "deletes": WRITES}.get(kind)
    if limits is None:
        return 0.0, 0.0
    factor = ALL_IDENTITIES if "-global-" in name else 1.0
    return limits.size * factor, limits.refill_per_s * factor

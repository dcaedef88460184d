"""What an answer says of Azure's limits: how many calls are left, of which counts. Pure.

Sources:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
https://learn.microsoft.com/azure/virtual-machines/compute-throttling-limits
https://learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pipeline.arm_limits import ALL_IDENTITIES, READS, WRITES
from stages.execute.waits import quota_reset_s, whole_number

_PREFIX = "x-ms-ratelimit-remaining-"
# The counts of one resource provider, several in a header: ``Microsoft.Compute/GetVM3Min;238,…``.
POLICIES = _PREFIX + "resource"
# Counts of one resource provider too, each with its own of this name:
# ``…-subscription-resource-requests``, ``…-subscription-resource-entities-read``.
_PROVIDERS = "-resource-"
# Of Resource Graph: its queries have a scope of their own, other calls that it answers do not.
_QUOTA = "x-ms-user-quota-remaining"
_GRAPH = "graph"
_COUNTS = (_PREFIX, _QUOTA)
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


def readings(
    headers: Mapping[str, str], kind: str, provider: str
) -> tuple[list[Reading], list[Reading]]:
    """What an answer says is left.

    Args:
        headers: of the answer, found in any case.
        kind: of the scope that was asked in.
        provider: whose answer it is; providers have counts of the same name.

    Returns:
        The counts that all calls of the scope share; and those that only some share, because a
        provider keeps them, or Resource Graph does of what it answers in a provider's place.
    """
    scope: list[Reading] = []
    apart: list[Reading] = []
    for spelled, value in headers.items():
        name = spelled.lower()
        if not name.startswith(_COUNTS):
            continue
        if name == POLICIES:
            apart += _policies(value)
        elif name == _QUOTA:
            (scope if kind == _GRAPH else apart).extend(_quota(headers))
        elif name.startswith(_PREFIX) and (left := whole_number(value)) is not None:
            if _PROVIDERS in name:
                apart.append(Reading(f"{provider} {name}", left, 0.0, 0.0))
            else:
                scope.append(Reading(name, left, *_limits(name)))
    return scope, apart


def _quota(headers: Mapping[str, str]) -> Iterator[Reading]:
    left = whole_number(headers[_QUOTA])
    if left is not None:
        yield Reading(_QUOTA, left, 0.0, 0.0, quota_reset_s(headers) or 0.0)


def _policies(value: str) -> Iterator[Reading]:
    for policy in value.split(",", MAX_POLICIES)[:MAX_POLICIES]:
        name, _, text = policy.strip().rpartition(";")
        left = whole_number(text)
        if name and len(name) <= MAX_POLICY_CHARS and left is not None:
            yield Reading(name.lower(), left, 0.0, 0.0)


@lru_cache(maxsize=256)
def _limits(name: str) -> tuple[float, float]:
    kind = name.rpartition("-")[2]
    limits = {"reads": READS, "writes": WRITES, "deletes": WRITES}.get(kind)
    if limits is None:
        return 0.0, 0.0
    factor = ALL_IDENTITIES if "-global-" in name else 1.0
    return limits.size * factor, limits.refill_per_s * factor

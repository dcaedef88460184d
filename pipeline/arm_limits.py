"""What Azure counts calls by, and its published limits for one identity. Pure.

Sources:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
https://learn.microsoft.com/azure/governance/resource-graph/concepts/guidance-for-throttled-requests
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.messages import ARM, MICROSOFT_GRAPH


class Limit(NamedTuple):
    """A token bucket.

    Attributes:
        size: calls at once when it is full.
        refill_per_s: calls a second that come back.
    """

    size: float
    refill_per_s: float


# For each subscription, and for the tenant.
READS = Limit(250.0, 25.0)
WRITES = Limit(200.0, 10.0)
# Resource Graph queries over the whole tenant: 15 in any 5 seconds.
GRAPH = Limit(15.0, 3.0)
# By kind of :class:`Scope`. Microsoft Graph has limits by kind of object and application, and says
# nothing of what is left of them.
LIMITS = {"reads": READS, "writes": WRITES, "graph": GRAPH}
# What all identities have together of each, in multiples.
ALL_IDENTITIES = 15.0


class Scope(NamedTuple):
    """What Azure counts calls by.

    Attributes:
        subscription_id: or "" for the tenant.
        kind: ``reads``, ``writes``, ``graph`` (Resource Graph) or ``microsoft_graph``.
    """

    subscription_id: str
    kind: str


def scope_of(method: str, target: str, subscription_id: str, audience: str = ARM) -> Scope:
    """The scope a call counts in.

    Args:
        method: ``GET``, ``HEAD`` or ``POST``.
        target: path and query.
        subscription_id: lower-cased from the path, or "".
        audience: whose API it is.
    """
    if audience == MICROSOFT_GRAPH:
        return Scope("", "microsoft_graph")
    if method == "POST":
        if "/microsoft.resourcegraph/" in target.lower():
            return Scope("", "graph")
        return Scope(subscription_id, "writes")
    return Scope(subscription_id, "reads")


def least_time_s(calls: int, limit: Limit | None) -> float:
    """Seconds before the last of these calls can begin, with a bucket that is full at first.

    Args:
        calls: of one scope.
        limit: of it, or None where none is known.
    """
    if limit is None:
        return 0.0
    return max(0.0, calls - limit.size) / limit.refill_per_s

"""Who answers: the resource provider, or Azure Resource Graph's copy of what it knows. Pure.

An ordinary GET with ``useResourceGraph=true`` is answered from Resource Graph, which spares the
provider's own limits and is some seconds old. What it does not cover ARM routes to the provider all
the same, so only the answer tells who gave it.
https://learn.microsoft.com/azure/governance/resource-graph/concepts/azure-resource-graph-get-list-api
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.messages import MICROSOFT_GRAPH, PROVIDER, RESOURCE_GRAPH

# Not indexed yet, or never: the provider has to be asked.
FALL_BACK_STATUS = frozenset({404, 422})

_FLAG = "useResourceGraph=true"
_SIGNS = (
    "x-ms-resource-graph-request-duration",
    "x-ms-user-quota-remaining",
    "x-ms-arg-snapshot-timestamp",
    "x-ms-arg-snapshot",
)


def is_covered(target: str) -> bool:
    """Whether Resource Graph may know the answer to a GET: a resource or a list of one type.

    Its tables for this hold what lies in a subscription and stands for itself: no resources that
    extend others, and nothing of a location's.

    Args:
        target: path and query.
    """
    parts = target.partition("?")[0].lower().strip("/").split("/")
    if parts[0] != "subscriptions" or parts.count("providers") != 1:
        return False
    types = parts[parts.index("providers") + 2 :: 2]
    return bool(types) and types[0] != "locations"


def from_graph(target: str) -> str:
    """The target that asks Resource Graph for the same."""
    if asks_graph(target):
        return target
    return f"{target}{'&' if '?' in target else '?'}{_FLAG}"


def asks_graph(target: str) -> bool:
    """Whether a target asks Resource Graph first."""
    return _FLAG.lower() in target.lower()


def source_of(audience: str, target: str, headers: Mapping[str, str], *, graph_query: bool) -> str:
    """Who gave an answer.

    Args:
        audience: whose API was asked.
        target: of the call that was answered.
        headers: of the answer, found in any case.
        graph_query: Resource Graph itself was queried.
    """
    if audience == MICROSOFT_GRAPH:
        return MICROSOFT_GRAPH
    if graph_query:
        return RESOURCE_GRAPH
    if asks_graph(target) and any(sign in headers for sign in _SIGNS):
        return RESOURCE_GRAPH
    return PROVIDER

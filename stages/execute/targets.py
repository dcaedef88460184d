"""What a path asks for: a type, one of it or all. Pure."""

from __future__ import annotations

from pipeline.messages import ARM, MICROSOFT_GRAPH, PlannedRequest


def operation_of(method: str, target: str, audience: str = ARM) -> str:
    """What Azure may count a call by beside its scope: its type, and whether that is listed.

    ``GET /subscriptions/0/providers/Microsoft.Compute/virtualMachines?…`` is
    ``GET microsoft.compute/virtualmachines list``.
    """
    if audience == MICROSOFT_GRAPH:
        return f"{method} {collection_of(target)}"
    types, listed = _taken_apart(target)
    return f"{method} {'/'.join(types)}{' list' if listed else ''}"


def is_list(target: str, audience: str = ARM) -> bool:
    """Whether a path ends in a type, so that it asks for all of it, rather than in a name."""
    if audience == MICROSOFT_GRAPH:
        return len(_segments(target)) % 2 == 0  # a version, then collections and ids in turn
    return _taken_apart(target)[1]


def lists(planned: PlannedRequest) -> bool:
    """Whether a request is a GET for all of a type."""
    return planned.method == "GET" and is_list(planned.target, planned.audience)


def collection_of(target: str) -> str:
    """The collection of Microsoft Graph's that a path is about.

    ``/v1.0/groups/0/members`` is ``microsoft.graph/members``.
    """
    parts = _segments(target)[1:]
    return "microsoft.graph/" + (parts[::2] or [""])[-1]


def _segments(target: str) -> list[str]:
    return target.partition("?")[0].strip("/").split("/")


def _taken_apart(target: str) -> tuple[list[str], bool]:
    path = target.partition("?")[0].lower().strip("/")
    before, found, below = path.rpartition("providers/")
    parts = (below if found else before or path).split("/")
    # Below a provider its namespace comes first; then types and names take turns.
    types = [parts[0], *parts[1::2]] if found else parts[0::2]
    return types, len(parts) % 2 == (0 if found else 1)

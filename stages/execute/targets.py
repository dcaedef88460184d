"""What a path of Azure's asks for: a type, one of it or all. Pure."""

from __future__ import annotations


def operation_of(method: str, target: str) -> str:
    """What a provider may count a call by: its type, and whether that is listed.

    ``GET /subscriptions/0/providers/Microsoft.Compute/virtualMachines?…`` is
    ``GET microsoft.compute/virtualmachines list``.
    """
    types, listed = _taken_apart(target)
    return f"{method} {'/'.join(types)}{' list' if listed else ''}"


def is_list(target: str) -> bool:
    """Whether a path ends in a type, so that it asks for all of it, rather than in a name."""
    return _taken_apart(target)[1]


def _taken_apart(target: str) -> tuple[list[str], bool]:
    path = target.partition("?")[0].lower().strip("/")
    before, found, below = path.rpartition("providers/")
    parts = (below if found else before or path).split("/")
    # Below a provider its namespace comes first; then types and names take turns.
    types = [parts[0], *parts[1::2]] if found else parts[0::2]
    return types, len(parts) % 2 == (0 if found else 1)

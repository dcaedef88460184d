"""Which action a request needs to be permitted in Azure, and whether a role permits it. Pure.

Source: https://learn.microsoft.com/azure/role-based-access-control/role-definitions
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

# An action that is permitted, or each of those that will do: the first is its name for people.
Need = tuple[str, ...]


class Permission(msgspec.Struct, frozen=True, rename="camel"):
    """What one role assignment grants, as ARM tells it.

    Attributes:
        actions: patterns of what is permitted, e.g. ``*/read``.
        not_actions: patterns of what this assignment leaves out; another one may still grant it.
    """

    actions: list[str] = []
    not_actions: list[str] = []


class Access(msgspec.Struct, frozen=True):
    """What an identity may do in one subscription.

    Attributes:
        subscription_id: lower case.
        state: ``granted``, ``missing`` (it lacks actions), ``not seen`` (the subscription is hidden
            from it, or does not exist) or ``not known`` (ARM did not tell).
        detail: what ARM said, or "".
        missing: actions that requests need and no role grants.
    """

    subscription_id: str
    state: str
    detail: str = ""
    missing: list[str] = []


def need_of(method: str, target: str) -> Need:
    """The action that a request needs.

    ``GET …/providers/Microsoft.Compute/virtualMachines/vm-1`` needs
    ``Microsoft.Compute/virtualMachines/read``, ``POST …/storageAccounts/s/listKeys`` needs
    ``Microsoft.Storage/storageAccounts/listKeys/action``. What is queried by POST is a read in some
    providers and an action in others, so either will do; what lists secrets is always an action.

    Args:
        method: ``GET``, ``HEAD`` or ``POST``.
        target: path and query.
    """
    segments = unquote(target.partition("?")[0]).strip("/").split("/")
    lowered = [segment.lower() for segment in segments]
    if "providers" in lowered[:-1]:
        at = len(lowered) - lowered[::-1].index("providers")
        types = [segments[at], *segments[at + 1 :: 2]]
    else:
        types = ["Microsoft.Resources", *segments[0::2]]
    # An action is the odd one at the end of the pairs of type and name.
    name = "/".join(types)
    if method != "POST":
        return (f"{name}/read",)
    if types[-1].lower().startswith("list"):
        return (f"{name}/action",)
    return (f"{name}/action", f"{name}/read")


def grants(permissions: Iterable[Permission], need: Need) -> bool:
    """Whether one of the role assignments grants what is needed."""
    granted = list(permissions)
    return any(
        _any_matches(one.actions, action) and not _any_matches(one.not_actions, action)
        for one in granted
        for action in need
    )


def _any_matches(patterns: Iterable[str], action: str) -> bool:
    return any(matches(pattern, action) for pattern in patterns)


def matches(pattern: str, action: str) -> bool:
    """Whether a pattern covers an action: ``*`` stands for any text, case counts for nothing."""
    first, *rest = pattern.lower().split("*")
    action = action.lower()
    if not rest:
        return first == action
    last = rest.pop()
    if len(action) < len(first) + len(last):
        return False
    if not (action.startswith(first) and action.endswith(last)):
        return False
    at, end = len(first), len(action) - len(last)
    for part in rest:
        at = action.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True

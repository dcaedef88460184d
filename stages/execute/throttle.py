"""How fast a scope may be asked: a token bucket that follows what Azure says of its own.

Pure: the time is an argument. A scope is what Azure counts for one principal: a subscription (or
the tenant) and a kind of operation. The bucket starts at ARM's published size, takes each
``x-ms-ratelimit-remaining-*`` header at its word, and stops for as long as a 429 asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.execute.waits import quota_reset_s, whole_number

# Azure Resource Manager's published limits: bucket size, refill per second.
# https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
READS = (250.0, 25.0)
WRITES = (200.0, 10.0)
# Resource Graph: 15 queries in 5 s for a user or application.
GRAPH = (15.0, 3.0)

# So many answers in a row without any limit header: nobody counts here but by 429.
UNMETERED_ANSWERS = 10

_READ_HEADERS = (
    "x-ms-ratelimit-remaining-subscription-reads",
    "x-ms-ratelimit-remaining-tenant-reads",
    "x-ms-ratelimit-remaining-subscription-global-reads",
)
_WRITE_HEADERS = (
    "x-ms-ratelimit-remaining-subscription-writes",
    "x-ms-ratelimit-remaining-tenant-writes",
    "x-ms-ratelimit-remaining-subscription-global-writes",
)
_GRAPH_HEADERS = ("x-ms-user-quota-remaining",)


@dataclass(frozen=True, slots=True)
class Scope:
    """What Azure counts calls by.

    Attributes:
        subscription_id: or "" for the tenant.
        kind: ``reads``, ``writes`` or ``graph``.
    """

    subscription_id: str
    kind: str


def scope_of(method: str, target: str, subscription_id: str) -> Scope:
    """The scope a call counts in."""
    if method == "POST":
        if "/microsoft.resourcegraph/" in target.lower():
            return Scope("", "graph")
        return Scope(subscription_id, "writes")
    return Scope(subscription_id, "reads")


class Bucket:
    """The calls a scope may make now.

    Args:
        scope: whose.
        now_s: monotonic seconds.
    """

    def __init__(self, scope: Scope, now_s: float) -> None:
        size, refill = {"reads": READS, "writes": WRITES, "graph": GRAPH}[scope.kind]
        self._headers = {
            "reads": _READ_HEADERS,
            "writes": _WRITE_HEADERS,
            "graph": _GRAPH_HEADERS,
        }[scope.kind]
        self._size = size
        self._refill_per_s = refill
        self._level = size
        self._as_of_s = now_s
        self._blocked_until_s = 0.0
        self._silent_answers = 0
        self.under_way = 0

    def take(self, now_s: float) -> bool:
        """Take one call, if there is one."""
        if self.ready_at(now_s) > now_s:
            return False
        if not self._unmetered:  # a debt nobody counts would have to be paid off after a 429
            self._level -= 1.0
        self.under_way += 1
        return True

    def ready_at(self, now_s: float) -> float:
        """When the next call may be made; not later than ``now_s`` means now."""
        if now_s < self._blocked_until_s:
            return self._blocked_until_s
        if self._unmetered:
            return now_s
        self._fill(now_s)
        if self._level >= 1.0:
            return now_s
        return now_s + (1.0 - self._level) / self._refill_per_s

    def answered(self, headers: Mapping[str, str], now_s: float) -> None:
        """A call came back: follow its headers."""
        self.under_way -= 1
        self._fill(now_s)
        told = (whole_number(headers.get(name, "")) for name in self._headers)
        remaining = [left for left in told if left is not None]
        if not remaining:
            self._silent_answers += 1
            return
        self._silent_answers = 0
        # What is under way was not counted yet when the answer was made.
        self._level = min(self._size, min(remaining) - float(self.under_way))
        reset_s = quota_reset_s(headers)
        if reset_s is not None and min(remaining) == 0:
            self.block(now_s + reset_s)

    def lost(self) -> None:
        """A call got no answer."""
        self.under_way -= 1

    def block(self, until_s: float) -> None:
        """Azure asked for a pause of this whole scope."""
        self._level = min(self._level, 0.0)
        self._blocked_until_s = max(self._blocked_until_s, until_s)
        self._silent_answers = 0

    def throttled(self, now_s: float) -> bool:
        """Whether calls of this scope have to wait."""
        return self.ready_at(now_s) > now_s

    @property
    def _unmetered(self) -> bool:
        return self._silent_answers >= UNMETERED_ANSWERS

    def _fill(self, now_s: float) -> None:
        self._level = min(self._size, self._level + (now_s - self._as_of_s) * self._refill_per_s)
        self._as_of_s = now_s

"""Throttling as ARM does it: token buckets for each scope, and quotas in windows.

Pure: every call takes the time. A scope is (subscription or tenant, principal, kind of operation).
Source: https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
"""

from __future__ import annotations

import math
from collections import OrderedDict

# A subscription's bucket over all principals is this many times one principal's.
GLOBAL_FACTOR = 15
# Scopes remembered; past it the one longest unused is forgotten, which makes it a full bucket.
SCOPES_MAX = 50_000


class TokenBucket:
    """Holds up to ``size`` tokens; ``refill_per_s`` come back each second.

    Args:
        size: tokens when full, which it is at first.
        refill_per_s: tokens a second.
        now_s: any monotonic clock.
    """

    __slots__ = ("_at_s", "_refill_per_s", "_size", "_tokens")

    def __init__(self, size: float, refill_per_s: float, now_s: float) -> None:
        self._size = size
        self._refill_per_s = refill_per_s
        self._tokens = size
        self._at_s = now_s

    def refill(self, now_s: float) -> None:
        """Add what has come back since the last call."""
        if now_s > self._at_s:
            back = (now_s - self._at_s) * self._refill_per_s
            self._tokens = min(self._size, self._tokens + back)
            self._at_s = now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until a token is there; 0 if one is."""
        self.refill(now_s)
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._refill_per_s

    def take(self, now_s: float) -> bool:
        """Take a token if there is one."""
        self.refill(now_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def remaining(self) -> int:
        """Whole tokens left at the last call."""
        return int(self._tokens)


class Quota:
    """So many in a window; all come back when the window ends.

    Args:
        limit: how many.
        window_s: length of the window, which starts with the first request in it.
        now_s: any monotonic clock.
    """

    __slots__ = ("_ends_s", "_limit", "_used", "_window_s")

    def __init__(self, limit: int, window_s: float, now_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._ends_s = now_s + window_s
        self._used = 0

    def take(self, now_s: float) -> bool:
        """Use one if one is left."""
        if now_s >= self._ends_s:
            self._ends_s = now_s + self._window_s
            self._used = 0
        if self._used >= self._limit:
            return False
        self._used += 1
        return True

    @property
    def remaining(self) -> int:
        return max(0, self._limit - self._used)

    def resets_after_s(self, now_s: float) -> int:
        """Whole seconds until the window ends, at least 1."""
        return max(1, math.ceil(self._ends_s - now_s))


class Scopes:
    """The buckets of all scopes, made full when first asked for.

    Args:
        size: tokens of one principal's bucket.
        refill_per_s: tokens a second that come back to it.
    """

    def __init__(self, size: int, refill_per_s: float) -> None:
        self._size = size
        self._refill_per_s = refill_per_s
        self._own: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        self._shared: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, scope: str, principal: str, now_s: float) -> tuple[int, int, int]:
        """Take a token of the principal's bucket and one of the scope's shared bucket.

        Returns:
            Seconds to wait (0 if the request may go on), tokens left of the principal, and tokens
            left of the scope over all principals.
        """
        own, shared = self._buckets(scope, principal, now_s)
        wait_s = max(own.wait_s(now_s), shared.wait_s(now_s))
        if wait_s > 0:
            return max(1, math.ceil(wait_s)), own.remaining, shared.remaining
        own.take(now_s)
        shared.take(now_s)
        return 0, own.remaining, shared.remaining

    def levels(self, now_s: float) -> dict[str, int]:
        """Tokens left in each scope's principals' buckets, the lowest of them."""
        found: dict[str, int] = {}
        for (scope, _), bucket in self._own.items():
            bucket.refill(now_s)
            found[scope] = min(bucket.remaining, found.get(scope, bucket.remaining))
        return found

    def _buckets(self, scope: str, principal: str, now_s: float) -> tuple[TokenBucket, TokenBucket]:
        key = (scope, principal)
        own = self._own.get(key)
        if own is None:
            own = self._own[key] = TokenBucket(self._size, self._refill_per_s, now_s)
        self._own.move_to_end(key)
        shared = self._shared.get(scope)
        if shared is None:
            shared = self._shared[scope] = TokenBucket(
                self._size * GLOBAL_FACTOR, self._refill_per_s * GLOBAL_FACTOR, now_s
            )
        self._shared.move_to_end(scope)
        if len(self._own) > SCOPES_MAX:
            self._own.popitem(last=False)
        if len(self._shared) > SCOPES_MAX:
            self._shared.popitem(last=False)
        return own, shared

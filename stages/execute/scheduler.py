"""Which request is called next: whoever's scope has a call left, scopes in turn.

Pure: the time is an argument. A request that must wait stands in a heap or in its scope's line, and
holds no thread; a throttled scope is passed over, so it delays no other.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Generic, TypeVar

from stages.execute.throttle import Bucket, Scope

# Buckets kept of scopes that have nothing to do; forgetting one relearns it from the next answer.
MAX_IDLE_BUCKETS = 20_000

T = TypeVar("T")


class Scheduler(Generic[T]):
    """Requests that wait for their turn.

    Args:
        scope_of: the scope a request's next call counts in.
    """

    def __init__(self, scope_of: Callable[[T], Scope]) -> None:
        self._scope_of = scope_of
        self._lines: dict[Scope, deque[T]] = {}
        # Scopes with someone in line: those that may call, in turn, and those that wait.
        self._turns: deque[Scope] = deque()
        self._waking: list[tuple[float, int, Scope]] = []
        self._delayed: list[tuple[float, int, T]] = []
        self._buckets: OrderedDict[Scope, Bucket] = OrderedDict()
        self._order = count()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, request: T, now_s: float, after_s: float = 0.0) -> None:
        """Put a request in line, now or after a wait."""
        self._size += 1
        if after_s > 0.0:
            heapq.heappush(self._delayed, (now_s + after_s, next(self._order), request))
        else:
            self._line_up(request)

    def take(self, now_s: float) -> T | None:
        """The next request that may call now, its call taken from its scope's bucket."""
        self._wake(now_s)
        for _ in range(len(self._turns)):
            scope = self._turns.popleft()
            line = self._lines[scope]
            bucket = self.bucket(scope, now_s)
            if not bucket.take(now_s):
                heapq.heappush(self._waking, (bucket.ready_at(now_s), next(self._order), scope))
                continue
            request = line.popleft()
            if line:
                self._turns.append(scope)
            else:
                del self._lines[scope]
            self._size -= 1
            return request
        return None

    def next_wake_s(self) -> float | None:
        """When someone who waits now may be ready, or None when nobody waits."""
        times = [heap[0][0] for heap in (self._delayed, self._waking) if heap]
        return min(times) if times else None

    def bucket(self, scope: Scope, now_s: float) -> Bucket:
        """The scope's bucket."""
        bucket = self._buckets.get(scope)
        if bucket is None:
            bucket = self._buckets[scope] = Bucket(scope, now_s)
            self._forget_idle()
        else:
            self._buckets.move_to_end(scope)
        return bucket

    def answered(self, scope: Scope, headers: Mapping[str, str], now_s: float) -> None:
        """A call of this scope came back."""
        self.bucket(scope, now_s).answered(headers, now_s)
        self._reconsider(scope)

    def throttled_scopes(self, now_s: float) -> int:
        """Scopes whose requests have to wait for calls."""
        return sum(
            scope in self._lines and bucket.throttled(now_s)
            for scope, bucket in self._buckets.items()
        )

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out the requests for which this is true."""
        removed: list[T] = []
        for scope, line in list(self._lines.items()):
            gone = [request for request in line if unwanted(request)]
            if gone:
                removed.extend(gone)
                kept = deque(request for request in line if not unwanted(request))
                if kept:
                    self._lines[scope] = kept
                else:
                    del self._lines[scope]
                    self._turns = deque(turn for turn in self._turns if turn != scope)
        gone = [request for _, _, request in self._delayed if unwanted(request)]
        if gone:
            removed.extend(gone)
            self._delayed = [entry for entry in self._delayed if not unwanted(entry[2])]
            heapq.heapify(self._delayed)
        self._size -= len(removed)
        return removed

    def clear(self) -> list[T]:
        """Take everything out."""
        left = [request for line in self._lines.values() for request in line]
        left.extend(request for _, _, request in self._delayed)
        self._lines.clear()
        self._turns.clear()
        self._waking.clear()
        self._delayed.clear()
        self._size = 0
        return left

    def _line_up(self, request: T) -> None:
        scope = self._scope_of(request)
        line = self._lines.get(scope)
        if line is None:
            self._lines[scope] = deque([request])
            self._turns.append(scope)
        else:
            line.append(request)

    def _wake(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            self._line_up(heapq.heappop(self._delayed)[2])
        while self._waking and self._waking[0][0] <= now_s:
            scope = heapq.heappop(self._waking)[2]
            if scope in self._lines and scope not in self._turns:
                self._turns.append(scope)

    def _reconsider(self, scope: Scope) -> None:
        """An answer may have shown more calls than were thought to be left."""
        if self._waking and any(waiting == scope for _, _, waiting in self._waking):
            self._waking = [entry for entry in self._waking if entry[2] != scope]
            heapq.heapify(self._waking)
            if scope in self._lines and scope not in self._turns:
                self._turns.append(scope)

    def _forget_idle(self) -> None:
        while len(self._buckets) > MAX_IDLE_BUCKETS:
            scope, bucket = next(iter(self._buckets.items()))
            if bucket.under_way or scope in self._lines:
                self._buckets.move_to_end(scope)
                return
            del self._buckets[scope]

"""Which request is called next: whoever's scope has a call left.

Three things take turns: priorities by weight, so that a low one is late and never starved; within a
priority the scopes; and within a scope the messages. A request that must wait stands in a heap or
in its scope's line and holds no thread; a throttled scope is passed over, and so is a throttled
operation of a scope, so they delay no other.

Pure: the time is an argument.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Generic, Protocol, TypeVar

from pipeline.arm_limits import Scope
from pipeline.turns import PRIORITY_WEIGHTS, WeightedTurns
from stages.execute.fair import FairLine, Waiting
from stages.execute.throttle import Bucket, Ticket

_PRIORITIES = range(len(PRIORITY_WEIGHTS))
# Scopes kept that have nothing to do, of some 2 kB each; a forgotten one is relearned from the next
# answer.
MAX_IDLE_SCOPES = 5_000
# Scopes looked at to find one that may be forgotten.
_FORGET_TRIES = 8


class Schedulable(Waiting, Protocol):
    """A request whose next call is to be made."""

    @property
    def priority(self) -> int:
        """0 is high, 1 normal, 2 low."""
        ...

    @property
    def operation(self) -> str:
        """What a provider may count the call by."""
        ...

    def scope(self) -> Scope:
        """What Azure counts the call by."""
        ...


T = TypeVar("T", bound=Schedulable)


class _ScopeLine(Generic[T]):
    """Those who wait for one scope."""

    __slots__ = ("bucket", "in_turn", "lines", "parked", "wake_s")

    def __init__(self, scope: Scope) -> None:
        self.bucket = Bucket(scope)
        self.lines: list[FairLine[T]] = [FairLine() for _ in PRIORITY_WEIGHTS]
        # Whose operation has to wait while others of the scope need not.
        self.parked: dict[str, list[FairLine[T]]] = {}
        self.in_turn = [False for _ in PRIORITY_WEIGHTS]
        # The entry in the heap that counts.
        self.wake_s: float | None = None

    def waiting(self, priority: int) -> bool:
        """Somebody of this priority waits."""
        if self.lines[priority]:
            return True
        return bool(self.parked) and any(parked[priority] for parked in self.parked.values())

    @property
    def idle(self) -> bool:
        """Nobody waits, and no call is under way."""
        return not self.bucket.under_way and not any(map(self.waiting, _PRIORITIES))

    def next(self, priority: int, now_s: float) -> T | float:
        """The next request that may call, or when there may be one."""
        ready_s = self.bucket.gate.ready_at(now_s)
        if ready_s > now_s:
            return ready_s
        wake_s = math.inf
        for operation, parked in self.parked.items():
            if parked[priority]:
                ready_s = self.bucket.ready_at(now_s, operation)
                if ready_s <= now_s:
                    return self._unpark(operation, priority)
                wake_s = min(wake_s, ready_s)
        line = self.lines[priority]
        while line:
            request = line.pop()
            if not self.bucket.operations:
                return request
            operation = request.operation
            ready_s = self.bucket.operation_ready_at(now_s, operation)
            if ready_s <= now_s:
                return request
            if operation not in self.parked:
                self.parked[operation] = [FairLine() for _ in PRIORITY_WEIGHTS]
            self.parked[operation][priority].add(request)
            wake_s = min(wake_s, ready_s)
        return wake_s

    def _unpark(self, operation: str, priority: int) -> T:
        parked = self.parked[operation]
        request = parked[priority].pop()
        if not any(parked):
            del self.parked[operation]
        return request

    def all_lines(self) -> Iterator[FairLine[T]]:
        """Every line of it."""
        yield from self.lines
        for parked in self.parked.values():
            yield from parked


class Scheduler(Generic[T]):
    """Requests that wait for their turn."""

    def __init__(self) -> None:
        self._scopes: OrderedDict[Scope, _ScopeLine[T]] = OrderedDict()
        # Of each priority, the scopes that may have a call left for somebody.
        self._turns: list[deque[_ScopeLine[T]]] = [deque() for _ in PRIORITY_WEIGHTS]
        self._weighted = WeightedTurns(PRIORITY_WEIGHTS)
        self._waking: list[tuple[float, int, _ScopeLine[T]]] = []
        self._delayed: list[tuple[float, int, T]] = []
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

    def take(self, now_s: float) -> tuple[T, Ticket] | None:
        """The next request that may call now, and its call's ticket, which has to come back."""
        self._wake(now_s)
        while ready := [priority for priority in _PRIORITIES if self._turns[priority]]:
            priority = self._weighted.next(ready)
            line = self._turns[priority].popleft()
            found = line.next(priority, now_s)
            if isinstance(found, float):
                line.in_turn[priority] = False
                self._wake_at(line, found)
                continue
            if line.waiting(priority):
                self._turns[priority].append(line)
            else:
                line.in_turn[priority] = False
            self._weighted.charge(priority, ready)
            self._size -= 1
            return found, line.bucket.take(now_s, found.operation)
        return None

    def next_wake_s(self) -> float | None:
        """When someone who waits now may be ready, or None when only an answer can tell."""
        times = [heap[0][0] for heap in (self._delayed, self._waking) if heap]
        return min(times) if times else None

    # ── what came of a call ──────────────────────────────────────────────────────────────────

    def answered(
        self, ticket: Ticket, headers: Mapping[str, str], now_s: float, refused: bool = False
    ) -> None:
        """A call came back; see :meth:`Bucket.answered`."""
        line = self._scope(ticket.scope)
        line.bucket.answered(ticket, headers, now_s, refused)
        self._turn(line)

    def lost(self, ticket: Ticket) -> None:
        """A call got no answer."""
        line = self._scope(ticket.scope)
        line.bucket.lost(ticket)
        self._turn(line)

    def block(self, ticket: Ticket, wait_s: float, now_s: float, whole_scope: bool) -> None:
        """Azure has refused a call; see :meth:`Bucket.block`."""
        self._scope(ticket.scope).bucket.block(ticket, wait_s, now_s, whole_scope)

    def paused_scopes(self) -> Counter[str]:
        """By kind, the scopes whose requests all have to wait for calls."""
        return Counter(
            scope.kind
            for scope, line in self._scopes.items()
            if any(map(line.waiting, _PRIORITIES)) and not any(line.in_turn)
        )

    def buckets(self) -> Iterator[tuple[Bucket, bool]]:
        """The scopes' buckets, the last used first, each with whether requests wait for it."""
        for line in reversed(self._scopes.values()):
            yield line.bucket, any(map(line.waiting, _PRIORITIES))

    # ── out of the line ──────────────────────────────────────────────────────────────────────

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out the requests for which this is true."""
        removed = [
            request
            for scope in self._scopes.values()
            for line in scope.all_lines()
            for request in line.remove(unwanted)
        ]
        gone = [request for _, _, request in self._delayed if unwanted(request)]
        if gone:
            removed.extend(gone)
            self._delayed = [entry for entry in self._delayed if not unwanted(entry[2])]
            heapq.heapify(self._delayed)
        self._size -= len(removed)
        return removed

    def remove_blocked(
        self, now_s: float, longer_s: float, may_go: Callable[[T], bool]
    ) -> list[tuple[T, float]]:
        """Take out those whose scope or operation Azure has asked to pause for longer than this.

        Args:
            now_s: monotonic seconds.
            longer_s: seconds.
            may_go: those for which it is false stay.

        Returns:
            Each with the seconds that the pause still lasts.
        """
        removed: list[tuple[T, float]] = []
        for scope in self._scopes.values():
            wait_s = scope.bucket.gate.blocked_for_s(now_s)
            if wait_s > longer_s:
                for line in scope.all_lines():
                    removed += [(request, wait_s) for request in line.remove(may_go)]
                continue
            for operation, parked in scope.parked.items():
                gate = scope.bucket.operations.get(operation)
                wait_s = gate.blocked_for_s(now_s) if gate is not None else 0.0
                if wait_s > longer_s:
                    for line in parked:
                        removed += [(request, wait_s) for request in line.remove(may_go)]
        self._size -= len(removed)
        return removed

    def clear(self) -> list[T]:
        """Take everything out."""
        return self.remove(lambda _: True)

    # ── turns ────────────────────────────────────────────────────────────────────────────────

    def _line_up(self, request: T) -> None:
        line = self._scope(request.scope())
        line.lines[request.priority].add(request)
        self._turn(line)

    def _turn(self, line: _ScopeLine[T]) -> None:
        """Somebody of this scope may be ready."""
        for priority in _PRIORITIES:
            if not line.in_turn[priority] and line.waiting(priority):
                line.in_turn[priority] = True
                self._turns[priority].append(line)

    def _wake_at(self, line: _ScopeLine[T], wake_s: float) -> None:
        if wake_s < math.inf and (line.wake_s is None or wake_s < line.wake_s):
            line.wake_s = wake_s
            heapq.heappush(self._waking, (wake_s, next(self._order), line))

    def _wake(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            self._line_up(heapq.heappop(self._delayed)[2])
        while self._waking and self._waking[0][0] <= now_s:
            wake_s, _, line = heapq.heappop(self._waking)
            if line.wake_s == wake_s:  # and no earlier one has come in its place
                line.wake_s = None
                self._turn(line)

    def _scope(self, scope: Scope) -> _ScopeLine[T]:
        line = self._scopes.get(scope)
        if line is None:
            line = self._scopes[scope] = _ScopeLine(scope)
            self._forget_idle()
        else:
            self._scopes.move_to_end(scope)
        return line

    def _forget_idle(self) -> None:
        for _ in range(_FORGET_TRIES):
            if len(self._scopes) <= MAX_IDLE_SCOPES:
                return
            scope, line = next(iter(self._scopes.items()))
            if line.idle and line.wake_s is None:
                del self._scopes[scope]
            else:
                self._scopes.move_to_end(scope)

"""Requests that are leased and not handed out: those that may go, and those that have to wait.

A request whose scope Azure has throttled for longer is no reason to hold up others, so it waits
apart until its time. Pure: the time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import NamedTuple

from pipeline.turns import PRIORITY_WEIGHTS, WeightedTurns


class Lot(NamedTuple):
    """Some requests of one message.

    Attributes:
        lease_id: of the message.
        indices: of the requests.
        priority: of the message; 0 is high, 1 normal, 2 low.
    """

    lease_id: int
    indices: list[int]
    priority: int


class Backlog:
    """The lots of one ``fetch``, in order of arrival within their priority."""

    def __init__(self) -> None:
        self._lines: list[deque[Lot]] = [deque() for _ in PRIORITY_WEIGHTS]
        self._turns = WeightedTurns(PRIORITY_WEIGHTS)
        self._parked: list[tuple[float, int, Lot]] = []
        self._order = count()

    def __bool__(self) -> bool:
        """Somebody may go now, as far as was looked."""
        return any(self._lines)

    @property
    def requests(self) -> int:
        """Requests in it, those that have to wait among them."""
        lots = [*(lot for line in self._lines for lot in line), *(p[2] for p in self._parked)]
        return sum(len(lot.indices) for lot in lots)

    def add(self, lot: Lot) -> None:
        """Hand this out when its turn comes."""
        self._lines[lot.priority].append(lot)

    def park(self, lot: Lot, until_s: float) -> None:
        """Hand this out when its turn comes after this time."""
        heapq.heappush(self._parked, (until_s, next(self._order), lot))

    def take(self, most: int) -> Lot | None:
        """The next lot, or as many of its requests."""
        wanting = [priority for priority, line in enumerate(self._lines) if line]
        if not wanting:
            return None
        priority = wanting[0]
        if len(wanting) > 1:
            priority = self._turns.next(wanting)
            self._turns.charge(priority, wanting)
        line = self._lines[priority]
        lot = line.popleft()
        if len(lot.indices) > most:
            line.appendleft(lot._replace(indices=lot.indices[most:]))
            lot = lot._replace(indices=lot.indices[:most])
        return lot

    def wake(self, now_s: float) -> float | None:
        """Let those go whose time has come; when the next one's is, or None."""
        while self._parked and self._parked[0][0] <= now_s:
            self.add(heapq.heappop(self._parked)[2])
        return self._parked[0][0] if self._parked else None

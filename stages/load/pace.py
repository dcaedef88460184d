"""When the next load goes, and with which batches: as few loads as BATCH_TIMEOUT allows. Pure.

A load costs the warehouse two MERGEs and the scan before each, however few rows it brings. So what
is sealed waits for company until it fills a load, or until its first row is BATCH_TIMEOUT old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from stages.load.join import JOIN_LIMIT, join_plan

# A load that is so full is not held up for the rest. A batch that BATCH_BYTES has closed is this
# full: its size was estimated as it grew, and a request that did not fit went into the next one.
FULL_SHARE = 0.8
MINUTE_S = 60.0

_TIME_OF_ID = "%Y%m%dT%H%M%S%f"


class Turn(NamedTuple):
    """The next load.

    Attributes:
        plan: its batches, as far as they are known now; empty if none waits.
        wait_s: seconds until it may go; 0 is now.
    """

    plan: list[str]
    wait_s: float


class Pace:
    """The order of loads.

    Args:
        batch_bytes: BATCH_BYTES; a load stays within it, but for a single batch that does not.
        room_bytes: SPOOL_BYTES; with so much waiting nothing more is collected, so none comes.
        timeout_s: BATCH_TIMEOUT.
        loads_per_minute: LOADS_PER_MINUTE; 0 is no cap.
    """

    def __init__(
        self, batch_bytes: int, room_bytes: int, timeout_s: float, loads_per_minute: int
    ) -> None:
        self._batch_bytes = batch_bytes
        self._room_bytes = room_bytes
        self._timeout_s = timeout_s
        self._gap_s = MINUTE_S / loads_per_minute if loads_per_minute else 0.0
        self._next_s = 0.0
        # By batch id: when it has waited for company long enough.
        self._due_s: dict[str, float] = {}
        self._hurried: set[str] = set()

    def turn(self, waiting: Mapping[str, int], now_s: float, wall_s: float) -> Turn:
        """Which load is next, and when.

        Args:
            waiting: sizes in bytes by batch id, of all that wait.
            now_s: monotonic seconds.
            wall_s: seconds since 1970; a batch's id tells when its first row came.
        """
        self._see(waiting, now_s, wall_s)
        plan = join_plan(waiting, self._batch_bytes)
        if not plan or not self._hurried.isdisjoint(plan):
            return Turn(plan, 0.0)
        ready_s = now_s if self._full(plan, waiting) else min(self._due_s[one] for one in waiting)
        return Turn(plan, max(0.0, ready_s - now_s, self._next_s - now_s))

    def hurry(self, batch_ids: Iterable[str]) -> None:
        """Nothing more is coming: these wait neither for company nor for the cap."""
        self._hurried.update(batch_ids)

    def loaded(self, started_s: float) -> None:
        """A load that was begun then is done: the cap counts from its beginning.

        One that failed is not counted. It has pauses of its own, and nothing to show for the bill.
        """
        self._next_s = started_s + self._gap_s

    def _see(self, waiting: Mapping[str, int], now_s: float, wall_s: float) -> None:
        self._hurried.intersection_update(waiting)
        for gone in self._due_s.keys() - waiting.keys():
            del self._due_s[gone]
        for batch_id in waiting.keys() - self._due_s.keys():
            # Looked at once: a wall clock that is set back later makes no batch wait longer.
            age_s = wall_s - first_row_s(batch_id)
            self._due_s[batch_id] = now_s + min(self._timeout_s, max(0.0, self._timeout_s - age_s))

    def _full(self, plan: list[str], waiting: Mapping[str, int]) -> bool:
        total_bytes = sum(waiting[batch_id] for batch_id in plan)
        return (
            len(plan) < len(waiting)  # the next one does not fit
            or len(plan) >= JOIN_LIMIT
            or total_bytes >= FULL_SHARE * self._batch_bytes
            or total_bytes >= self._room_bytes
        )


def first_row_s(batch_id: str) -> float:
    """When the batch got its first row, seconds since 1970; 0 if its name does not tell."""
    moment = batch_id.partition("-")[0]
    try:
        return datetime.strptime(moment, _TIME_OF_ID).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0

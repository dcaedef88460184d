"""Counts that Azure keeps of calls, followed by what its answers say is left.

Pure: the time is an argument, in monotonic seconds.

A count is shared with every other process, host and program that asks as the same principal, and
all of them see the same number. So the pace is made proportional to that number: whoever follows
the rule takes the same share, without a word between them, and the calls of all together settle
where they equal what comes back. The count then never reaches zero, so nobody is refused; and since
a bucket loses only what comes back while it is full, nothing of the budget is lost.
"""

from __future__ import annotations

import math

# Calls a second for each one that is left. Higher leaves less standing in the bucket (25 a second
# settle at 12.5 left); lower bears more who share it, and later answers: it holds while
# PACE_PER_S x others x seconds that an answer takes is below 1.
PACE_PER_S = 2.0
# Refused all the same, there are more who share it than that bears: the pace is divided by this, at
# most once in SLOWED_S, not below a part of it, and grows back by this part of it a second.
SLOWED_BY = 2.0
SLOWED_S = 2.0
PACE_MIN_PER_S = PACE_PER_S / 64
REGAINED_PER_S = 0.01
# Pace that was not used may be made up for, so long; so a full bucket can be asked in bursts.
MAKE_UP_S = 0.05
# What others take is learned over about this long.
LEARN_S = 2.0
# However much others take, this part of what comes back is tried for; or, where that is not known,
# one call is tried again after so long.
LEAST_SHARE = 0.05
SLOWEST_S = 30.0


class Meter:
    """A token bucket of Azure's: a count that comes back at a steady rate.

    Args:
        size: calls that it holds when full, as far as is known.
        refill_per_s: calls a second that come back at most; 0 if not known.
        now_s: monotonic seconds.
    """

    __slots__ = (
        "_as_of_s", "_full", "_gained", "_learned_s", "_left", "_level", "_net_per_s", "_next_s",
        "_pace_per_s", "_read_number", "_read_s", "_refill_per_s", "_size", "_slowed_s", "_taken",
        "_tried_s", "unread",
    )  # fmt: skip

    def __init__(self, size: float, refill_per_s: float, now_s: float) -> None:
        self._size = size
        self._refill_per_s = refill_per_s
        self._level = size
        self._as_of_s = now_s
        self._pace_per_s = PACE_PER_S
        self._slowed_s = -math.inf
        # What comes back, less what others take.
        self._net_per_s = refill_per_s
        self._next_s = now_s
        self._taken = 0
        self._tried_s = now_s
        # The last count that was read: after which of our calls, when, and what it was.
        self._read_number = -1
        self._read_s = now_s
        self._left = 0.0
        # Calls take nothing from it: whoever asks may be counted elsewhere, or not at all.
        self._full = False
        self._gained = 0.0
        self._learned_s = 0.0
        self.unread = 0

    def take(self, now_s: float) -> int:
        """Count a call; its number."""
        self._advance(now_s)
        pace_per_s = self._pace_per_s * max(1.0, self._level)
        self._next_s = max(self._next_s, now_s - MAKE_UP_S) + 1.0 / pace_per_s
        self._level -= 1.0
        self._taken += 1
        self._tried_s = now_s
        return self._taken

    def give_back(self) -> None:
        """A call was counted that does not count here."""
        self._level = min(self._size, self._level + 1.0)

    def ready_at(self, now_s: float) -> float:
        """When the next call may be made; not later than ``now_s`` means now."""
        self._advance(now_s)
        ready_s = now_s if self._full else self._next_s
        if self._level < 1.0:
            back_s = self._tried_s + SLOWEST_S
            if self._net_per_s > 0.0:
                back_s = min(back_s, now_s + (1.0 - self._level) / self._net_per_s)
            ready_s = max(ready_s, back_s)
        return ready_s

    def level(self, now_s: float) -> tuple[float, float] | None:
        """Calls that are left, as far as is known, and calls that it holds when full."""
        self._advance(now_s)
        return self._level, self._size

    def slow_down(self, now_s: float) -> None:
        """A call was refused that there seemed to be room for."""
        if now_s >= self._slowed_s + SLOWED_S:
            self._slowed_s = now_s
            self._pace_per_s = max(PACE_MIN_PER_S, self._pace_per_s / SLOWED_BY)

    def read(self, left: float, number: int, now_s: float) -> None:
        """An answer said what is left.

        Args:
            left: calls.
            number: of the call that was answered.
            now_s: monotonic seconds.
        """
        self.unread = 0
        if number < self._read_number:
            return  # older than what is known
        if self._read_number >= 0:
            self._learn(left, number, now_s)
            regained = PACE_PER_S * REGAINED_PER_S * (now_s - self._read_s)
            self._pace_per_s = min(PACE_PER_S, self._pace_per_s + regained)
        self._size = max(self._size, left)
        self._full = left >= self._size - 2.0
        self._read_number = number
        self._read_s = now_s
        self._left = left
        # Calls made since were most likely not counted yet when the answer was made.
        self._level = left - (self._taken - number)
        self._as_of_s = now_s

    def _learn(self, left: float, number: int, now_s: float) -> None:
        if max(left, self._left) >= self._size - 1.0:
            return  # of a full bucket, what comes back is lost
        passed_s = now_s - self._read_s
        forgotten = math.exp(-passed_s / LEARN_S)
        self._gained = self._gained * forgotten + left - self._left + number - self._read_number
        self._learned_s = self._learned_s * forgotten + passed_s
        if self._learned_s > 0.0:
            most = self._refill_per_s or math.inf
            least = LEAST_SHARE * self._refill_per_s
            self._net_per_s = min(most, max(least, self._gained / self._learned_s))

    def _advance(self, now_s: float) -> None:
        if now_s != self._as_of_s:
            level = self._level + (now_s - self._as_of_s) * self._net_per_s
            self._level = level if level < self._size else self._size
            self._as_of_s = now_s


class Window:
    """A quota of Azure's that comes back all at once, when it says.

    Its calls are spread over the time that is left: whoever shares it and does the same leaves
    something for the others until the end.
    """

    __slots__ = ("_ends_s", "_level", "_most", "_next_s", "_read_number", "_taken", "unread")

    def __init__(self, now_s: float) -> None:
        self._level = math.inf
        self._ends_s = now_s
        self._most = 0.0
        self._next_s = now_s
        self._taken = 0
        self._read_number = -1
        self.unread = 0

    def take(self, now_s: float) -> int:
        """Count a call; its number."""
        self._level -= 1.0
        self._taken += 1
        self._space(now_s)
        return self._taken

    def give_back(self) -> None:
        """A call was counted that does not count here."""
        self._level += 1.0

    def level(self, now_s: float) -> tuple[float, float] | None:
        """Calls that are left, and the most that were; None if that is not known any more."""
        return (self._level, self._most) if now_s < self._ends_s else None

    def slow_down(self, now_s: float) -> None:
        """A call was refused; the pause that was asked for is enough."""

    def ready_at(self, now_s: float) -> float:
        """When the next call may be made; not later than ``now_s`` means now."""
        if now_s >= self._ends_s:
            return now_s
        return self._ends_s if self._level < 1.0 else min(self._next_s, self._ends_s)

    def read(self, left: float, number: int, now_s: float, resets_after_s: float) -> None:
        """An answer said what is left.

        Args:
            left: calls.
            number: of the call that was answered.
            now_s: monotonic seconds.
            resets_after_s: seconds until all come back.
        """
        self.unread = 0
        if number < self._read_number:
            return
        self._read_number = number
        self._ends_s = now_s + resets_after_s
        self._most = max(self._most, left)
        self._level = left - (self._taken - number)
        self._space(now_s)

    def _space(self, now_s: float) -> None:
        if now_s < self._ends_s:
            self._next_s = now_s + (self._ends_s - now_s) / max(1.0, self._level)

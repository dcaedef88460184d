"""How many calls a server is asked at once: fewer where it is slow, more where it is not.

Additive increase and multiplicative decrease, as of TCP's congestion control (RFC 5681, 3.1): more
calls than a server keeps up with only wait there, and keep it from answering others.
"""

from __future__ import annotations

# Of those that are under way, kept after a call that went badly.
DECREASE = 0.9


class Concurrency:
    """A number that follows how calls go.

    Args:
        fewest: it never is less.
        most: it never is more, and begins so.
        slow_s: a call that took as long went badly, in seconds.
    """

    def __init__(self, fewest: int, most: int, slow_s: float) -> None:
        self._fewest = fewest
        self._most = most
        self._slow_s = slow_s
        self._now = float(most)

    @property
    def now(self) -> int:
        """Calls that may be under way."""
        return int(self._now)

    def ended(self, took_s: float, *, well: bool) -> None:
        """A call has ended.

        Args:
            took_s: from its begin, in seconds.
            well: it was done.
        """
        if well and took_s < self._slow_s:
            # One more once as many have ended well as are under way.
            self._now = min(self._most, self._now + 1 / self._now)
        else:
            self._now = max(self._fewest, self._now * DECREASE)

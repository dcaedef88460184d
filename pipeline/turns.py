"""Whose turn it is, by weight: the heavier more often, the lightest in time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# Of 21 turns that all three priorities want: high, normal, low.
PRIORITY_WEIGHTS = (16, 4, 1)


class WeightedTurns:
    """Smooth weighted round-robin over a fixed number of lines.

    Args:
        weights: of each line; of ``sum(weights)`` turns that all want, it gets so many.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = list(weights)
        self._credits = [0] * len(self._weights)

    def next(self, wanting: Sequence[int]) -> int:
        """Whose turn it is; nothing is charged yet.

        Args:
            wanting: numbers of the lines that somebody stands in, at least one.
        """
        if len(wanting) == 1:
            return wanting[0]
        return max(wanting, key=lambda line: (self._credits[line] + self._weights[line], -line))

    def charge(self, taken: int, wanting: Sequence[int]) -> None:
        """A line had its turn.

        Args:
            taken: which.
            wanting: those that wanted it, that one among them. Who did not saves nothing up.
        """
        if len(wanting) == 1:
            return
        for line in wanting:
            self._credits[line] += self._weights[line]
        self._credits[taken] -= sum(self._weights[line] for line in wanting)

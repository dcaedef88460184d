"""Whether something outside is within reach, as far as is known. Pure: the time is an argument."""

from __future__ import annotations


class Reached:
    """When a dependency has last answered."""

    def __init__(self) -> None:
        self._answered_s: float | None = None
        self._held_since_s: float | None = None

    def answered(self, now_s: float) -> None:
        """It has answered.

        Args:
            now_s: monotonic seconds.
        """
        self._answered_s = now_s

    def failed(self) -> None:
        """It was asked and has not answered, or refused."""
        self._answered_s = None

    def holding(self, since_s: float | None) -> None:
        """Something that may take long is asked of it: what was known stays so meanwhile.

        Args:
            since_s: monotonic seconds when it began; None once it is over.
        """
        self._held_since_s = since_s

    def age_s(self, now_s: float) -> float | None:
        """How old its last answer is, in seconds; None if it did not answer the last question."""
        if self._answered_s is None:
            return None
        as_of_s = now_s if self._held_since_s is None else self._held_since_s
        return max(0.0, as_of_s - self._answered_s)

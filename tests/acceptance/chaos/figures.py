"""What a chaos run's figures have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def summary(values: Sequence[float]) -> list[str]:
    """How many, median and greatest, in words of a table."""
    if not values:
        return ["0", "-", "-"]
    return [str(len(values)), f"{statistics.median(values):.2f}", f"{max(values):.2f}"]

"""The times of spans."""

from __future__ import annotations

import time


def wall_ns(monotonic_s: float) -> int:
    """A time of this process's clock, as nanoseconds since 1970."""
    return time.time_ns() - int((time.monotonic() - monotonic_s) * 1e9)

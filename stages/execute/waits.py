"""How long an answer asks to wait, and how long to wait when it does not say. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A Retry-After of more than this is taken as this; the request's own time limit ends it anyway.
MAX_RETRY_AFTER_S = 3600.0
# A request whose rows find no room begins anew after this, doubling each time, with jitter.
NO_ROOM_FIRST_S = 2.0
NO_ROOM_MAX_S = 60.0
# Of a count in a header.
MAX_DIGITS = 12


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that an answer asks to wait, or None when it does not say.

    Understands ``Retry-After`` as seconds and as an HTTP date, ``x-ms-retry-after-ms`` and
    ``retry-after-ms``.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        value = headers.get(name)
        if value is not None and (wait_ms := _number(value)) is not None:
            return _bounded(wait_ms / 1000.0)
    value = headers.get("retry-after")
    if value is None:
        return None
    if (wait_s := _number(value)) is not None:
        return _bounded(wait_s)
    try:
        until = parsedate_to_datetime(value)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        return _bounded((until - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None


def quota_reset_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until Resource Graph's quota is full again (``hh:mm:ss``), or None."""
    value = headers.get("x-ms-user-quota-resets-after")
    if value is None:
        return None
    parts = [whole_number(part.strip()) for part in value.split(":")]
    match parts:
        case [int() as hours, int() as minutes, int() as seconds]:
            return _bounded(hours * 3600.0 + minutes * 60.0 + seconds)
        case _:
            return None


def whole_number(text: str) -> int | None:
    """A header's count, or None when it is none; what no counter reaches is none either."""
    # str.isdigit() alone would let through "²", which int() refuses.
    if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS:
        return int(text)
    return None


def backoff_s(initial_s: float, retry: int, cap_s: float) -> float:
    """Exponential back-off with full jitter.

    Args:
        initial_s: upper end of the first wait.
        retry: 1 for the first retry.
        cap_s: upper end of any wait.
    """
    return random.uniform(0.0, min(cap_s, initial_s * 2.0 ** (retry - 1)))


def no_room_wait_s(times: int) -> float:
    """Until a request tries again whose rows the disk did not take.

    Args:
        times: that it did not, 1 or more.
    """
    # Bounded, and each time long enough for others to end meanwhile.
    longest_s = min(NO_ROOM_MAX_S, NO_ROOM_FIRST_S * 2.0 ** min(10, times - 1))
    return random.uniform(longest_s / 2, longest_s)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None


def _bounded(seconds: float) -> float:
    return min(MAX_RETRY_AFTER_S, max(0.0, seconds))

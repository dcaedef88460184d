"""Repeated errors are written a few times, and then counted.

An outage of an hour says the same thing at every retry. Of one event the first lines of a minute
are written; the rest of that minute becomes one line with their number. Events are told apart by
:func:`pipeline.logs.setup`'s sink, which asks here; nothing here knows of lines or clocks.
"""

from __future__ import annotations

import re
from collections.abc import Hashable

import msgspec

# Lines of one event that are written in an interval before the rest is counted.
FIRST_LINES = 10
INTERVAL_S = 60.0
# Events that are told apart; more share one count for each action.
MAX_KEYS = 256
# Of a text, what tells one event from another: its first words, without names and numbers.
SHAPE_WORDS = 8
SHAPE_CHARS = 160
# Of the last text that was not written, so much is kept for the line that counts.
KEPT_CHARS = 300

# A word that names one thing of many is longer than this, or has a digit in it.
WORD_CHARS = 24

_digit = re.compile(r"\d").search


class Suppressed(msgspec.Struct, frozen=True):
    """Lines of one event that were not written.

    Attributes:
        action: of the event.
        level: name of its level, e.g. ``WARNING``.
        process: whom it was about, or "".
        count: how many.
        seconds: in how many.
        last: beginning of the text of the last one.
    """

    action: str
    level: str
    process: str
    count: int
    seconds: float
    last: str


class _Event(msgspec.Struct):
    action: str
    level: str
    process: str
    began_s: float
    written: int = 0
    suppressed: int = 0
    last: str = ""

    def told(self, now_s: float) -> Suppressed:
        return Suppressed(
            self.action, self.level, self.process, self.suppressed, now_s - self.began_s, self.last
        )


class Sampler:
    """Decides which lines are written. Not for more than one thread at once.

    Args:
        first_lines: of one event that are written in an interval.
        interval_s: length of an interval, in seconds; it begins with the event's first line.
        max_keys: events that are told apart.
    """

    def __init__(
        self,
        first_lines: int = FIRST_LINES,
        interval_s: float = INTERVAL_S,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._first_lines = first_lines
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._events: dict[Hashable, _Event] = {}

    def __len__(self) -> int:
        """Events that are remembered."""
        return len(self._events)

    def admit(
        self, now_s: float, site: Hashable, action: str, level: str, process: str, text: str
    ) -> tuple[bool, Suppressed | None]:
        """One line came.

        Args:
            now_s: monotonic seconds.
            site: where in the source it is logged.
            action: its action.
            level: name of its level.
            process: whom it is about, or "".
            text: its text, without secrets.

        Returns:
            Whether it is to be written, and what is to be told before it.
        """
        key: Hashable = (site, action, process, shape(text))
        event = self._events.get(key)
        if event is None and len(self._events) >= self._max_keys:
            self._forget_old(now_s)
            if len(self._events) >= self._max_keys:
                # Actions are words of the source, so there are few of these.
                key = action
                event = self._events.get(key)
                process = ""
        if event is None:
            event = self._events[key] = _Event(action, level, process, now_s)
        told = self._next_interval(event, now_s)
        if event.written < self._first_lines:
            event.written += 1
            return True, told
        event.suppressed += 1
        event.last = text[:KEPT_CHARS]
        return False, told

    def due(self, now_s: float) -> list[Suppressed]:
        """What is to be told by now: of each event whose interval is over, what was not written."""
        if not self._events:
            return []
        told = [self._next_interval(event, now_s) for event in self._events.values()]
        self._forget_old(now_s)
        return [one for one in told if one is not None]

    def end(self, now_s: float) -> list[Suppressed]:
        """All that was not written and is not told yet; then nothing is remembered."""
        told = [event.told(now_s) for event in self._events.values() if event.suppressed]
        self._events.clear()
        return told

    def _next_interval(self, event: _Event, now_s: float) -> Suppressed | None:
        if now_s - event.began_s < self._interval_s:
            return None
        told = event.told(now_s) if event.suppressed else None
        # One that goes on as before has no more first lines: a line a minute tells of it.
        goes_on = event.suppressed > self._first_lines
        event.began_s = now_s
        event.written = self._first_lines if goes_on else 0
        event.suppressed = 0
        return told

    def _forget_old(self, now_s: float) -> None:
        old = [
            key
            for key, event in self._events.items()
            if not event.suppressed
            and (not event.written or now_s - event.began_s >= self._interval_s)
        ]
        for key in old:
            del self._events[key]


def shape(text: str) -> str:
    """The first words of a text, with a star for each that names one thing of many."""
    words = text[:SHAPE_CHARS].split(None, SHAPE_WORDS)[:SHAPE_WORDS]
    return " ".join([w if len(w) <= WORD_CHARS and not _digit(w) else "*" for w in words])

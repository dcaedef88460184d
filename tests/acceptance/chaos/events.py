"""A collector's log as it grows: lines with their times, whoever of its processes wrote them."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

# A line may stand so long after one that has a later time.
OUT_OF_ORDER_S = 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the log.

    Attributes:
        at_s: wall time, seconds since 1970, exact to a millisecond.
        stage: the process that wrote it, e.g. ``execute-0`` or ``supervisor``.
        action: what it is about.
        line: all of it.
    """

    at_s: float
    stage: str
    action: str
    line: dict[str, Any] = field(repr=False)


class EventLog:
    """Reads what has been added to a log file since it last looked.

    Args:
        file: of JSON lines; it need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._events: list[Event] = []
        self._read_bytes = 0

    def all(self) -> list[Event]:
        """Every line so far, in the order of the file."""
        self._read()
        return self._events

    def of(self, action: str, since_s: float = 0.0, **wanted: Any) -> Iterator[Event]:
        """Lines of this action that are no older, and have these fields.

        Args:
            action: e.g. ``loaded``.
            since_s: wall time, seconds since 1970.
            wanted: values of other fields, ``stage`` too.
        """
        events = self.all()
        # Lines of several processes are in order but for a moment.
        start = bisect.bisect_left(events, since_s - OUT_OF_ORDER_S, key=lambda event: event.at_s)
        for event in islice(events, start, None):
            if (
                event.action == action
                and event.at_s >= since_s
                and all(event.line.get(name) == value for name, value in wanted.items())
            ):
                yield event

    def first(self, action: str, since_s: float = 0.0, **wanted: Any) -> Event | None:
        """The first of :meth:`of`, if there is one."""
        return next(self.of(action, since_s, **wanted), None)

    def count(self, action: str, **wanted: Any) -> int:
        """How many there are of :meth:`of`."""
        return sum(1 for _ in self.of(action, **wanted))

    def _read(self) -> None:
        if not self.file.exists():
            return
        with self.file.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for text in whole.splitlines():
            line = json.loads(text)
            at_s = datetime.fromisoformat(line["time"]).timestamp()
            self._events.append(Event(at_s, line["stage"], line["action"], line))

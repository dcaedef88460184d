"""What a process has logged, for its counters and for the status page."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.logs import counts, log
from pipeline.masking import masked
from pipeline.messages import LogEvent
from pipeline.metrics.series import series_of

if TYPE_CHECKING:
    from loguru import Message

# Events kept until they are taken; of more, the newest.
MAX_KEPT = 50
# Given out: so many a second, and at once.
MAX_PER_S = 10.0
MAX_AT_ONCE = 20
MAX_MESSAGE_CHARS = 500
LEVELS = ("INFO", "WARNING", "ERROR", "CRITICAL")


class LogEvents:
    """The log of one process, from its :meth:`watch` on.

    Args:
        process: its name.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._series = {level: series_of("log_events_total", level.lower()) for level in LEVELS}
        self._kept: deque[LogEvent] = deque(maxlen=MAX_KEPT)
        self._allowed = float(MAX_AT_ONCE)
        self._as_of_s = 0.0
        self._handler: int | None = None

    def watch(self) -> None:
        """Look at each event from WARNING on, beside what prints it."""
        self._handler = log.add(
            self._logged, level="WARNING", format="{message}", backtrace=False, diagnose=False
        )

    def unwatch(self) -> None:
        """Look no more."""
        if self._handler is not None:
            with suppress(ValueError):  # the logs were set up anew meanwhile
                log.remove(self._handler)
            self._handler = None

    def count(self, counters: Counter[str]) -> None:
        """Set ``log_events_total`` of each level to what it is."""
        logged = counts()
        for level, series in self._series.items():
            counters[series] = logged.get(level, 0)

    def take(self, now_s: float, *, everything: bool = False) -> list[LogEvent]:
        """Give out what was kept, the oldest first.

        Args:
            now_s: monotonic seconds.
            everything: all of it, as the last word of a process.
        """
        kept = self._kept
        if not kept:
            return []
        self._allowed = min(MAX_AT_ONCE, self._allowed + (now_s - self._as_of_s) * MAX_PER_S)
        self._as_of_s = now_s
        many = len(kept) if everything else min(len(kept), int(self._allowed))
        self._allowed -= many
        return [kept.popleft() for _ in range(many)]

    def recent(self) -> list[LogEvent]:
        """All that is kept."""
        return list(self._kept)

    def _logged(self, message: Message) -> None:
        # In the thread that logs, one at a time.
        record = message.record
        text = record["message"]
        error = record["exception"]
        if error is not None and error.value is not None:
            text = f"{text}: {type(error.value).__name__}: {error.value}"
        self._kept.append(
            LogEvent(
                record["time"].isoformat(timespec="milliseconds"),
                record["level"].name,
                self._process,
                str(record["extra"].get("action", "")),
                # Masked before it is cut: half a secret would not be known for one.
                masked(text)[:MAX_MESSAGE_CHARS],
            )
        )

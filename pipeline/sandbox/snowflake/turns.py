"""One writer at a time.

In Snowflake a MERGE waits until another transaction's MERGE into the same table is committed, and
then sees its rows. DuckDB lets both run and fails one, or inserts the same key twice. So here a
writer takes its turn with its first write and ends it with COMMIT or ROLLBACK.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A writer that has been silent in its transaction for this long is rolled back when another waits:
# its client is gone. Snowflake does the same after five minutes.
IDLE_ROLLBACK_S = 10.0
# A statement waits this long for its turn; the connector sends a statement again after 60 s
# without an answer. (Snowflake says "in progress" meanwhile; its LOCK_TIMEOUT is 12 hours.)
LOCK_TIMEOUT_S = 40.0
_POLL_S = 0.2


class LockTimeout(Exception):
    """Another session wrote all the while; the turn did not come in time."""


class TransactionAborted(Exception):
    """The transaction was aborted by another session while it waited for its turn."""


class WriteTurns:
    """Who writes now.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._writer: Writer | None = None

    def take(self, writer: Writer) -> None:
        """Wait until ``writer`` may write.

        Raises:
            LockTimeout: another one wrote all the while.
            TransactionAborted: see :meth:`give_up`.
        """
        end = self._clock() + LOCK_TIMEOUT_S
        with self._changed:
            while self._writer not in (None, writer):
                if writer.abandoned:
                    writer.abandoned = False  # it is told here
                    raise TransactionAborted(TransactionAborted.__doc__)
                if (
                    self._writer is not None
                    and self._writer.idle_s(self._clock()) > IDLE_ROLLBACK_S
                ):
                    self._writer.abandon()
                    break
                if self._clock() > end:
                    raise LockTimeout(LockTimeout.__doc__)
                self._changed.wait(_POLL_S)
            self._writer = writer

    def give_up(self, writer: Writer) -> None:
        """Let ``writer`` not wait any longer, and be told that its transaction was aborted."""
        with self._changed:
            writer.abandoned = True
            self._changed.notify_all()

    def release(self, writer: Writer) -> None:
        """End the turn of ``writer``, if it has it."""
        with self._changed:
            if self._writer is writer:
                self._writer = None
                self._changed.notify_all()


class Writer:
    """A session as :class:`WriteTurns` sees it.

    Args:
        rollback: rolls its transaction back.
        clock: seconds that only grow.
    """

    def __init__(
        self, rollback: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rollback = rollback
        self._clock = clock
        self._running = 0
        self._last_s = clock()
        self.abandoned = False

    def __enter__(self) -> Writer:
        """A statement of the session begins."""
        self._running += 1
        return self

    def __exit__(self, *_: object) -> None:
        """It has ended."""
        self._running -= 1
        self._last_s = self._clock()

    def idle_s(self, now_s: float) -> float:
        """Seconds since the last statement ended; 0 while one runs."""
        return 0.0 if self._running else now_s - self._last_s

    def abandon(self) -> None:
        """Roll back on behalf of a waiting session."""
        self.abandoned = True
        self._rollback()

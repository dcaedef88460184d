"""Writing to the spool's disk for as long as it takes nothing.

What is to be written waits in memory meanwhile, and nothing more is read: that stops the stages
before, up to the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipeline.disk import Reminder, is_full, is_refusal
from pipeline.logs import log
from pipeline.spool import Spool

# A disk that refused is tried again after this.
RETRY_S = 2.0

T = TypeVar("T")


class Patience:
    """Repeats what the disk refuses.

    Args:
        spool: what is written to.

    Attributes:
        waiting: writes that are refused and tried again.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._reminder = Reminder()
        self.waiting = 0

    async def write(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call ``attempt`` until the disk takes what it writes; return what it returns.

        Args:
            attempt: leaves nothing behind when it raises an OSError.

        Raises:
            StageFailed: the folder is gone.
            OSError: it is not the disk's state that is wrong.
        """
        try:
            return await attempt()
        except OSError as error:
            self._refused(error)
        self.waiting += 1
        try:
            while True:
                await asyncio.sleep(RETRY_S)
                try:
                    written = await attempt()
                    break
                except OSError as error:
                    self._refused(error)
        finally:
            self.waiting -= 1
        if not self.waiting and self._reminder.over():
            log.bind(action="spool_written", folder=str(self._spool.folder)).info(
                "the spool can be written again"
            )
        return written

    def _refused(self, error: OSError) -> None:
        if not is_refusal(error):
            self._spool.check()
            raise error
        if self._reminder.due(time.monotonic()):
            log.bind(action="spool_refused", folder=str(self._spool.folder)).error(
                "{}: collecting pauses until the spool {} can be written again: {}",
                "the disk is full" if is_full(error) else "the disk refuses",
                self._spool.folder,
                error,
            )

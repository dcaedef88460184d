"""Receives whose answer was lost: the queue may have leased messages that nobody here knows of.

They are not lost, and come again when that lease ends. But until then an answer with nothing in it
does not mean that the queue is empty, and a run that is to end with the queue has to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pipeline.errors import DependencyError
from pipeline.logs import log

# How often somebody who waits for the queue to be empty asks how many messages are in it.
LOOK_S = 2.0
# A lease may end so much later than it was asked for, by the service's clock.
SLACK_S = 2.0


class Unheard:
    """What may be leased to nobody.

    Args:
        visibility_s: how long a lease lasts.
    """

    def __init__(self, visibility_s: float) -> None:
        self._visibility_s = visibility_s
        self._until_s: float | None = None

    def __bool__(self) -> bool:
        return self._until_s is not None

    def note(self, queue: str, now_s: float) -> None:
        """A receive that the queue may have done has ended without its answer.

        Args:
            queue: its name.
            now_s: monotonic seconds.
        """
        self._until_s = now_s + self._visibility_s + SLACK_S
        log.bind(action="receive_unanswered", queue=queue).info(
            "{} did not answer a receive in time; what it leased all the same comes again in {} s",
            queue,
            self._visibility_s,
        )

    async def watch(
        self,
        emptied: Callable[[], bool],
        messages_left: Callable[[], Awaitable[int]],
        ask_again: Callable[[], None],
    ) -> None:
        """Find out for ever whether something is still hidden.

        Args:
            emptied: the queues have said that nothing is there, and nothing is held.
            messages_left: asks how many messages are in the queues, hidden ones too.
            ask_again: what the queues have said is out of date.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            if self._until_s is None or not emptied():
                continue
            if time.monotonic() < self._until_s and await _some(messages_left):
                continue
            self._until_s = None
            ask_again()


async def _some(messages_left: Callable[[], Awaitable[int]]) -> bool:
    try:
        return await messages_left() > 0
    except DependencyError:
        return True  # it is asked again, and the lease's end comes anyway

"""Asks the queues for messages, for as long as there is room for more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pipeline.errors import DependencyError
from pipeline.logs import log
from pipeline.turns import WeightedTurns
from stages.fetch import counted
from stages.fetch.queue_io import QueueIo
from stages.fetch.queue_rest import RECEIVE_MESSAGES, Received

# Receives under way at once, while pages come full: one takes longer than its requests.
RECEIVERS = 4
# An empty queue is asked again after a pause that doubles: each question costs money.
EMPTY_PAUSE_MIN_S = 0.1
EMPTY_PAUSE_MAX_S = 2.0
# The longest such pause with --until-empty, which waits for the last answer.
LAST_PAUSE_MAX_S = 0.2
# How often paused receiving looks whether there is room again.
ROOM_PAUSE_S = 0.02
# How much more often a queue is asked first than the next one in the list.
QUEUE_WEIGHT = 4
# Empty answers in a row, from all queues, before the queue counts as empty.
EMPTY_ROUNDS = 2

Take = Callable[[str, list[Received], float], None]


class Receiver:
    """The receives of one ``fetch``.

    Args:
        io: the queue's operations.
        queues: names in falling priority.
        has_room: whether more messages may be taken.
        take: takes the messages of a queue, with the monotonic time before they were asked for.
        nothing: called after an answer in which there was nothing.
        counters: messages received.

    Attributes:
        receiving: goes on asking.
        under_way: calls that have begun.
    """

    def __init__(
        self,
        io: QueueIo,
        queues: Sequence[str],
        has_room: Callable[[], bool],
        take: Take,
        nothing: Callable[[], None],
        counters: Counter[str],
    ) -> None:
        self.receiving = False
        self.under_way = 0
        self._io = io
        self._queues = queues
        self._has_room = has_room
        self._take = take
        self._nothing = nothing
        self._counters = counters
        self._pause_max_s = EMPTY_PAUSE_MAX_S
        self._empty_rounds = 0
        # The first of several queues comes four times as often as the next: late, never starved.
        last = len(queues) - 1
        self._turns = WeightedTurns([QUEUE_WEIGHT ** (last - n) for n in range(last + 1)])
        # One alone asks a queue that may be empty.
        self._full = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """The queues have said so, and nothing is being asked."""
        return self.receiving and not self.under_way and self.emptied

    @property
    def emptied(self) -> bool:
        """The queues have said that they are empty since :meth:`ask_again`."""
        return self._empty_rounds >= EMPTY_ROUNDS

    def ask_again(self) -> None:
        """What the queues have said so far is out of date."""
        self._empty_rounds = 0

    def start(self, spawn: Callable[[Coroutine[Any, Any, None]], object], last: bool) -> None:
        """Begin to ask.

        Args:
            spawn: runs a task for as long as the process lives.
            last: somebody waits for the queues to be empty.
        """
        self.receiving = True
        self._pause_max_s = LAST_PAUSE_MAX_S if last else EMPTY_PAUSE_MAX_S
        spawn(self._ask_for_ever())
        for _ in range(RECEIVERS - 1):
            spawn(self._help_for_ever())

    async def stop(self) -> None:
        """Ask no more, and wait for what was asked."""
        self.receiving = False
        while self.under_way:
            await asyncio.sleep(ROOM_PAUSE_S)

    async def _ask_for_ever(self) -> None:
        pause_s = EMPTY_PAUSE_MIN_S
        while True:
            if not self._may_ask():
                self._full.clear()
                await asyncio.sleep(ROOM_PAUSE_S)
                continue
            if await self._ask():
                pause_s = EMPTY_PAUSE_MIN_S
                continue
            self._nothing()
            await asyncio.sleep(pause_s)
            pause_s = min(self._pause_max_s, pause_s * 2)

    async def _help_for_ever(self) -> None:
        while True:
            await self._full.wait()
            if not self._may_ask():
                self._full.clear()
            else:
                await self._ask()

    def _may_ask(self) -> bool:
        return self.receiving and self._has_room()

    async def _ask(self) -> int:
        """One round; returns how many messages came."""
        self.under_way += 1
        try:
            count = await self._round()
        except DependencyError as error:
            log.bind(action="receive_failed").warning("cannot receive: {}", error)
            self._full.clear()
            return 0
        finally:
            self.under_way -= 1
        self._empty_rounds = 0 if count else self._empty_rounds + 1
        if count >= RECEIVE_MESSAGES:
            self._full.set()
        else:
            self._full.clear()
        return count

    async def _round(self) -> int:
        """Ask the queues until one has something: by weight first one, then in falling priority."""
        queues = self._queues
        first = self._turns.next(range(len(queues)))
        self._turns.charge(first, range(len(queues)))
        for queue in (queues[first], *queues[:first], *queues[first + 1 :]):
            messages, asked_s = await self._io.receive(queue)
            if messages:
                self._counters[counted.RECEIVED] += len(messages)
                self._take(queue, messages, asked_s)
                log.bind(action="received", queue=queue, messages=len(messages)).debug(
                    "received {} messages", len(messages)
                )
                return len(messages)
        return 0

"""Finished messages on their way out of the queue, many at a time.

A load commits thousands of messages at once. So deletes wait in line for a few tasks; one that has
to wait for something itself leaves the line, and holds up no other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.messages import LeaseRef
from stages.fetch.concurrency import Concurrency
from stages.fetch.journal import Gone, LeaseJournal
from stages.fetch.leases import Lease
from stages.fetch.returns import RETRY_FIRST_S, Returns

# Deletes under way at once; with the receives, no more than the queue's connections. Answers are
# looked for each 20 ms, so that these are some 1,500 a second, and a queue takes 2,000 operations.
MOST_DELETERS = 32
FEWEST_DELETERS = 4
# A delete that takes longer waits behind others: an emulator with thousands of messages would no
# longer answer receives and renewals.
SLOW_S = 0.5

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Finished:
    """The line.

    Args:
        returns: deletes.
        journal: where it is written down.
        spawn: runs a task for as long as the process lives.
        deleted: called after some are gone.

    Attributes:
        under_way: messages that are not gone yet.
    """

    def __init__(
        self, returns: Returns, journal: LeaseJournal, spawn: Spawn, deleted: Callable[[], None]
    ) -> None:
        self.under_way = 0
        self._returns = returns
        self._journal = journal
        self._spawn = spawn
        self._deleted = deleted
        self._line: deque[tuple[LeaseRef, Lease | None]] = deque()
        self._deleters = 0
        self._at_once = Concurrency(FEWEST_DELETERS, MOST_DELETERS, SLOW_S)
        self._gone: list[Gone] = []

    def add(self, ref: LeaseRef, lease: Lease | None) -> None:
        """Delete this message, whose every row is committed.

        Args:
            ref: the message.
            lease: its lease, or None when an earlier ``fetch`` held it.
        """
        self.under_way += 1
        if lease is not None and self._returns.traces is not None:
            lease.committed_ns = time.time_ns()
        self._line.append((ref, lease))
        self._more_deleters()

    def _more_deleters(self) -> None:
        if self._line and self._deleters < self._at_once.now:
            self._deleters += 1
            self._spawn(self._delete())

    async def _delete(self) -> None:
        while self._line and self._deleters <= self._at_once.now:
            ref, lease = self._line.popleft()
            began_s = time.monotonic()
            done = await self._returns.delete_at_once(ref, lease)
            self._at_once.ended(time.monotonic() - began_s, well=done)
            self._more_deleters()
            if done:
                self._is_gone(ref)
            else:
                self._spawn(self._delete_later(ref, lease))
        self._deleters -= 1

    async def _delete_later(self, ref: LeaseRef, lease: Lease | None) -> None:
        if lease is None or not lease.renewing:
            await asyncio.sleep(RETRY_FIRST_S)
        await self._returns.delete(ref, lease)
        self._is_gone(ref)

    def _is_gone(self, ref: LeaseRef) -> None:
        # Written down together with what else is gone by now, and no later: should this process
        # die, the next one would ask for the message's requests again.
        if not self._gone:
            asyncio.get_running_loop().call_soon(self._write_down)
        self._gone.append(Gone(ref.lease_id))

    def _write_down(self) -> None:
        gone, self._gone = self._gone, []
        self._journal.append(*gone)
        self.under_way -= len(gone)
        self._deleted()

"""Hands the leased requests out to the execute processes, as many as MAX_IN_FLIGHT allows.

What a process that died had not finished is handed out again as soon as the one in its place has
said what the dead one was busy with: from then on the requests that may have killed it go alone.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from pipeline.links import DataLink, LinkClosed
from pipeline.logs import log
from pipeline.messages import InCall, LeaseRef, PlannedRequest, Returned, Work, WorkerUp
from stages.fetch import counted
from stages.fetch.backlog import Backlog, Lot
from stages.fetch.leases import Lease, LeaseBook
from stages.fetch.routing import Router
from stages.fetch.suspects import Suspects

# A death is put down to a message for so long after some request was finished. Where none is, the
# workers themselves are broken, and the messages must not pay for it.
EXCUSED_S = 300.0

# Messages in one frame at most. One whose paths repeat long parameters has some 2 MB when it is
# planned, and a frame has its limit.
FRAME_MESSAGES = 32
# How often a full spool is looked at again.
SPACE_PAUSE_S = 0.1

# Lease id to the indices of its requests.
Held = dict[int, list[int]]


class HandOut:
    """Requests on their way to the workers.

    Args:
        workers: names of the execute processes.
        max_in_flight: MAX_IN_FLIGHT, requests that they may hold together.
        suspects: messages that may kill their worker.
        book: the leases.
        links: links to the workers that stand, by name.
        has_space: whether the spool has room for more rows.
        spawn: runs a task for as long as the process lives.
        counters: requests handed out again.
    """

    def __init__(
        self,
        workers: list[str],
        max_in_flight: int,
        suspects: Suspects,
        book: LeaseBook,
        links: dict[str, DataLink],
        has_space: Callable[[], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        counters: Counter[str],
    ) -> None:
        self._max_in_flight = max_in_flight
        self._book = book
        self._links = links
        self._has_space = has_space
        self._spawn = spawn
        self._counters = counters
        self._router = Router(workers)
        self._suspects = suspects
        # What workers hold of an earlier ``fetch``; no reason to give them less of ours.
        self._foreign: dict[str, int] = {}
        self._backlog = Backlog()
        # Of workers that died, until the next one has said what they were busy with.
        self._left_by: dict[str, Held] = {}
        # When a worker has last finished a request.
        self._worked_s = -math.inf
        # Work by the link that it waits for. Of the link, because what was meant for a worker that
        # died is not for the one in its place.
        self._outgoing: dict[DataLink, list[Work]] = {}
        self._stopped = False
        self._wanted = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """More messages may be received."""
        return not self._backlog and self.outstanding < self._max_in_flight

    @property
    def outstanding(self) -> int:
        """Requests that the workers hold."""
        return self._router.outstanding + sum(self._foreign.values())

    @property
    def backlog(self) -> int:
        """Requests that wait to be handed out."""
        return self._backlog.requests

    def add(self, lease: Lease, indices: list[int]) -> None:
        """Hand these requests out when their turn comes."""
        self._backlog.add(Lot(lease.ref.lease_id, indices, lease.priority))
        self._wanted.set()

    def returned(self, worker: str, message: Returned) -> Lease | None:
        """A worker gives requests back whose scope is throttled for longer.

        Returns:
            Their lease, if it is held and they are not under way elsewhere.
        """
        if message.attempt > self._book.first_id:
            self._router.handed(worker, -len(message.indices))
        else:
            self._free_foreign(worker, len(message.indices))
        self._wanted.set()
        lease = self._book.get(message.lease_id)
        if lease is None or not self._book.takes_back(lease, message.attempt, message.indices):
            return None
        return lease

    def park(self, lease: Lease, indices: list[int], until_s: float) -> None:
        """Hand these requests out after this time, monotonic seconds."""
        self._backlog.park(Lot(lease.ref.lease_id, indices, lease.priority), until_s)
        self._wanted.set()

    def again(self, held: Held, why: str) -> None:
        """What a process took with it when it died has to be done again."""
        for lease_id, indices in held.items():
            if (lease := self._book.get(lease_id)) is not None:
                self._book.reopen(lease, indices)
                self.add(lease, indices)
        if held:
            requests = sum(len(indices) for indices in held.values())
            self._counters[counted.REDONE] += requests
            log.bind(action="redo", requests=requests).info("{} requests again: {}", requests, why)

    def stop(self) -> None:
        """Hand out no more."""
        self._stopped = True

    async def run(self) -> None:
        """Hand out for ever."""
        while True:
            self._wanted.clear()
            now_s = time.monotonic()
            wake_s = self._backlog.wake(now_s)
            while self._backlog and not self._stopped and self._has_space():
                room = self._max_in_flight - self.outstanding
                if room <= 0 or (lot := self._backlog.take(room)) is None:
                    break
                if (lease := self._book.get(lot.lease_id)) is not None:
                    self._hand_out(lease, lot.indices)
            limit_s = None if wake_s is None else wake_s - now_s
            if not self._has_space():
                limit_s = SPACE_PAUSE_S  # room in the spool is made without a word to here
            if limit_s is None:
                await self._wanted.wait()
                continue
            # Not wait_for(): in Python 3.11 it swallows a cancellation that comes with the news.
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._wanted.wait()

    def executed(self, worker: str, own: int, foreign: int, now_s: float) -> None:
        """A worker has finished requests.

        Args:
            worker: which.
            own: how many that this ``fetch`` handed out.
            foreign: how many that an earlier one did.
            now_s: monotonic seconds.
        """
        self._router.handed(worker, -own)
        if foreign:
            self._free_foreign(worker, foreign)
        self._worked_s = now_s
        if self._backlog:
            self._wanted.set()

    def worker_gone(self, worker: str) -> None:
        """Another process is in a worker's place. Called before anything is handed to it."""
        self._router.reset(worker)
        self._foreign[worker] = 0
        left = self._left_by.setdefault(worker, {})
        for lease_id, indices in self._book.held_by(worker).items():
            if (lease := self._book.get(lease_id)) is not None:
                # Taken off the worker's name, because from now on that means the new one.
                self._book.reopen(lease, indices)
                left.setdefault(lease_id, []).extend(indices)

    def worker_up(self, worker: str, up: WorkerUp, now_s: float) -> tuple[InCall | None, bool]:
        """The process in a worker's place has said how things stand.

        Returns:
            The request to blame for the death of the one before it, if that is sure, and whether
            the death is excused: it was busy with requests, and there is work that does not kill.
        """
        self._foreign[worker] = len(up.held)
        for lease_id, attempt, index in up.held:
            self._book.resumed(lease_id, attempt, index, worker)
        blamed = self._suspects.died_in(up.died_in)
        return blamed, bool(up.died_in) and now_s - self._worked_s < EXCUSED_S

    def take_up(self, worker: str) -> None:
        """What a worker that died had not finished, and is still leased, is done again."""
        self.again(self._left_by.pop(worker, {}), f"{worker} was restarted")

    def _hand_out(self, lease: Lease, indices: list[int]) -> None:
        worker_of = {}
        subscription_id, worker = None, ""
        for index in indices:
            planned = lease.requests[index].planned
            if planned.subscription_id != subscription_id:
                subscription_id = planned.subscription_id
                worker = self._router.route(subscription_id)
            worker_of[index] = worker
        for dispatch in self._book.dispatch(lease, worker_of):
            self._router.handed(dispatch.worker, len(dispatch.requests))
            # A worker that is just being restarted gets it through worker_gone().
            if (link := self._links.get(dispatch.worker)) is not None:
                self._post(link, self._work(dispatch.lease, dispatch.requests, lease.priority))

    def _post(self, link: DataLink, work: list[Work]) -> None:
        if (waiting := self._outgoing.get(link)) is not None:
            waiting += work
            return
        self._outgoing[link] = work
        # A task, so that a worker that does not read holds up no other.
        self._spawn(self._write(link))

    async def _write(self, link: DataLink) -> None:
        waiting = self._outgoing[link]
        try:
            while waiting:
                some = waiting[:FRAME_MESSAGES]
                del waiting[:FRAME_MESSAGES]
                await link.send(*some)
        except LinkClosed:
            pass  # what a dead process did not read is made good by worker_gone()
        finally:
            del self._outgoing[link]

    def _free_foreign(self, worker: str, requests: int) -> None:
        self._foreign[worker] = max(0, self._foreign.get(worker, 0) - requests)

    def _work(self, lease: LeaseRef, requests: list[PlannedRequest], priority: int) -> list[Work]:
        if not self._suspects.any_alone(lease):
            return [Work(lease, requests, False, priority)]
        parted: dict[bool, list[PlannedRequest]] = {}
        for request in requests:
            parted.setdefault(self._suspects.alone(lease, request.index), []).append(request)
        return [Work(lease, some, alone, priority) for alone, some in parted.items()]

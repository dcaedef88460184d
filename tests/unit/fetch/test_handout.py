"""Handing out: bounded, again after a death, and what may have killed its worker goes alone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from pipeline.links import DataLink
from pipeline.messages import InCall, LeaseRef, PlannedRequest, Returned, Work, WorkerUp
from stages.fetch import suspects as suspicion
from stages.fetch.counted import REDONE
from stages.fetch.handout import EXCUSED_S, HandOut
from stages.fetch.leases import Lease, LeaseBook
from stages.fetch.suspects import Suspects
from tests.unit.links_limit import run

WORKERS = ["execute-0", "execute-1"]
MAX_DEQUEUE_COUNT = 5


class Sent:
    """Where a worker's link would be: keeps what was written."""

    def __init__(self) -> None:
        self.work: list[Work] = []

    async def send(self, *messages: Work) -> None:
        self.work.extend(messages)

    def handed(self, alone: bool | None = None) -> list[tuple[int, int]]:
        """Lease id and index of what came, in order."""
        return [
            (work.lease.lease_id, request.index)
            for work in self.work
            if alone in (None, work.alone)
            for request in work.requests
        ]


class Handing:
    """A hand-out with its book and links, and its tasks."""

    def __init__(self, max_in_flight: int = 100) -> None:
        self.book = LeaseBook(300.0, 0)
        self.sent = {name: Sent() for name in WORKERS}
        self.links = cast(dict[str, DataLink], dict(self.sent))
        self.counters: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.suspects = Suspects(MAX_DEQUEUE_COUNT)
        self.space = True
        self.out = HandOut(
            WORKERS,
            max_in_flight,
            self.suspects,
            self.book,
            self.links,
            lambda: self.space,
            self._spawn,
            self.counters,
        )
        self._spawn(self.out.run())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    def lease(self, number: int, requests: int = 1, deliveries: int = 1) -> Lease:
        """A message whose requests all go to one worker."""
        planned = [
            PlannedRequest(i, "compute", "GET", "2024-07-01", "/x", {}, None, "s", "")
            for i in range(requests)
        ]
        ref = LeaseRef(
            self.book.new_id(), 0, "q", f"id-{number}", "pop", "m", None, 0, deliveries, requests
        )
        lease = self.book.add(ref, "text", planned, 0.0)
        self.out.add(lease, list(range(requests)))
        return lease

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def worker(self) -> str:
        """The worker that the requests went to."""
        return next(name for name, sent in self.sent.items() if sent.work)

    def restart(self, worker: str) -> Sent:
        """Another process takes the worker's place."""
        self.sent[worker] = Sent()
        self.links[worker] = cast(DataLink, self.sent[worker])
        self.out.worker_gone(worker)
        return self.sent[worker]


def worked_on(handing: Handing) -> Work:
    """The last work that was handed out."""
    return handing.sent[handing.worker()].work[-1]


def returned(work: Work, *indices: int, wait_s: float = 30.0) -> Returned:
    """What a worker says of requests whose scope is throttled."""
    return Returned(work.lease.lease_id, work.lease.attempt, list(indices), wait_s)


def in_call(number: int, index: int = 0, alone: bool = False) -> InCall:
    return InCall("q", f"id-{number}", index, alone)


def test_no_more_is_handed_out_than_may_be_in_flight() -> None:
    async def test() -> None:
        handing = Handing(max_in_flight=3)
        handing.lease(1, requests=5)
        await handing.settle()
        worker = handing.worker()
        assert len(handing.sent[worker].handed()) == 3 == handing.out.outstanding
        assert not handing.out.has_room
        handing.out.executed(worker, 1, 0, 0.0)
        await handing.settle()
        assert len(handing.sent[worker].handed()) == 4
        assert handing.out.backlog == 1

    run(test)


def test_what_was_received_already_waits_for_a_full_spool_too() -> None:
    async def test() -> None:
        handing = Handing()
        handing.space = False
        handing.lease(1)
        await handing.settle()
        assert handing.out.outstanding == 0
        handing.space = True  # load has made room, and says nothing to anyone here
        while not handing.out.outstanding:
            await asyncio.sleep(0)

    run(test)


def test_what_a_dead_worker_held_waits_for_the_word_of_the_next_and_comes_once() -> None:
    async def test() -> None:
        handing = Handing()
        lease = handing.lease(1, requests=2)
        await handing.settle()
        worker = handing.worker()
        fresh = handing.restart(worker)
        handing.lease(2)
        await handing.settle()
        assert [index for _, index in fresh.handed()] == [0], "only the new message so far"
        # That one dies too, before it has said a word; then one speaks.
        fresh = handing.restart(worker)
        await handing.settle()
        handing.out.worker_up(worker, WorkerUp([], []), 0.0)
        handing.out.take_up(worker)
        await handing.settle()
        assert Counter(fresh.handed()) == Counter(
            [(lease.ref.lease_id, 0), (lease.ref.lease_id, 1), (lease.ref.lease_id + 1, 0)]
        )
        assert handing.counters[REDONE] == 3

    run(test)


def test_what_the_worker_was_busy_with_goes_alone_and_the_rest_does_not() -> None:
    async def test() -> None:
        handing = Handing()
        leases = [handing.lease(number, requests=2) for number in range(3)]
        await handing.settle()
        worker = handing.worker()
        fresh = handing.restart(worker)
        killer, _ = handing.out.worker_up(
            worker, WorkerUp([], [in_call(0, 1), in_call(2, 0)]), now_s=0.0
        )
        assert killer is None
        handing.out.take_up(worker)
        await handing.settle()
        suspects = [(leases[0].ref.lease_id, 1), (leases[2].ref.lease_id, 0)]
        assert sorted(fresh.handed(alone=True)) == suspects
        assert len(fresh.handed(alone=False)) == 4

    run(test)


def test_one_that_was_alone_is_the_killer_and_is_not_handed_out_once_its_lease_is_gone() -> None:
    async def test() -> None:
        handing = Handing()
        lease = handing.lease(1)
        await handing.settle()
        worker = handing.worker()
        fresh = handing.restart(worker)
        killer, _ = handing.out.worker_up(worker, WorkerUp([], [in_call(1, alone=True)]), 0.0)
        assert killer == in_call(1, alone=True)
        handing.book.drop(lease.ref.lease_id)
        handing.out.take_up(worker)
        await handing.settle()
        assert fresh.handed() == []
        # On its next delivery it is still known.
        handing.lease(1)
        await handing.settle()
        assert len(fresh.handed(alone=True)) == 1

    run(test)


def test_a_death_is_excused_only_while_some_work_gets_done() -> None:
    async def test() -> None:
        handing = Handing()
        up = WorkerUp([], [in_call(1)])
        assert handing.out.worker_up("execute-0", up, 0.0)[1] is False
        handing.out.executed("execute-1", 1, 0, 10.0)
        assert handing.out.worker_up("execute-0", up, 11.0)[1] is True
        assert handing.out.worker_up("execute-0", WorkerUp([], []), 11.0)[1] is False
        assert handing.out.worker_up("execute-0", up, 10.0 + EXCUSED_S)[1] is False

    run(test)


def test_what_workers_still_hold_of_an_earlier_fetch_counts_as_in_flight() -> None:
    async def test() -> None:
        handing = Handing(max_in_flight=5)
        handing.out.worker_gone("execute-0")
        handing.out.worker_up("execute-0", WorkerUp([(1, 1, index) for index in range(5)], []), 0.0)
        assert not handing.out.has_room
        handing.out.executed("execute-0", 0, 1, 0.0)
        assert handing.out.has_room
        handing.out.executed("execute-0", 0, 1, 0.0)
        handing.out.worker_gone("execute-0")
        assert handing.out.outstanding == 0

    run(test)


def ref(deliveries: int) -> LeaseRef:
    return LeaseRef(1, 0, "q", "id-1", "pop", "m", None, 0, deliveries, 1)


def test_a_message_goes_alone_on_its_last_delivery_whoever_knows_why() -> None:
    suspects = Suspects(MAX_DEQUEUE_COUNT)
    assert not suspects.alone(ref(MAX_DEQUEUE_COUNT - 1), 0)
    assert suspects.alone(ref(MAX_DEQUEUE_COUNT), 0)
    # With one delivery allowed, each is the last: then nothing would ever go beside another.
    assert not Suspects(1).alone(ref(1), 0)


def test_only_deaths_alone_are_a_message_s_to_blame() -> None:
    suspects = Suspects(MAX_DEQUEUE_COUNT)
    both = [in_call(1), in_call(2)]
    assert suspects.died_in(both) is None
    assert suspects.died_in([in_call(1)]) is None, "it may have been another's last moment"
    assert suspects.blamed(in_call(1)) == 0
    for times in (1, 2):
        assert suspects.died_in([in_call(1, alone=True)]) == in_call(1, alone=True)
        assert suspects.blamed(in_call(1)) == times
    assert suspects.blamed(in_call(2)) == 0


def test_the_suspicion_that_is_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspicion, "MAX_SUSPECTS", 2)
    suspects = Suspects(MAX_DEQUEUE_COUNT)
    for number in (1, 2, 1, 3):
        suspects.died_in([in_call(number)])
    assert suspects.alone(ref(1), 0)
    assert len(suspects._suspects) == 2


# ── throttled scopes ─────────────────────────────────────────────────────────────────────────────


def test_what_is_returned_takes_nobodys_place_and_comes_again_in_time() -> None:
    async def test() -> None:
        handing = Handing(max_in_flight=2)
        lease = handing.lease(1, requests=2)
        await handing.settle()
        assert not handing.out.has_room
        work = worked_on(handing)
        assert handing.out.returned(handing.worker(), returned(work, 0, 1)) is lease
        # Longer than this test stands still on a busy machine.
        handing.out.park(lease, [0, 1], time.monotonic() + 1.0)
        assert handing.out.has_room
        assert (handing.out.outstanding, handing.out.backlog) == (0, 2)
        other = handing.lease(2)
        await handing.settle()
        assert worked_on(handing).lease.lease_id == other.ref.lease_id
        handing.out.executed(handing.worker(), 1, 0, 0.0)
        async with asyncio.timeout(10.0):
            while handing.out.backlog:
                await asyncio.sleep(0.01)
        await handing.settle()  # it is written by a task of its own
        assert worked_on(handing).lease.lease_id == lease.ref.lease_id
        assert worked_on(handing).lease.attempt > work.lease.attempt

    run(test)


def test_a_return_that_comes_too_late_changes_nothing() -> None:
    async def test() -> None:
        handing = Handing()
        lease = handing.lease(1)
        await handing.settle()
        work = worked_on(handing)
        handing.book.reopen(lease, [0])  # its worker was taken for dead
        assert handing.out.returned(handing.worker(), returned(work, 0)) is None
        handing.book.drop(lease.ref.lease_id)
        assert handing.out.returned(handing.worker(), returned(work, 0)) is None
        assert handing.out.outstanding == 0

    run(test)


def test_work_says_how_urgent_it_is() -> None:
    async def test() -> None:
        handing = Handing()
        lease = handing.lease(1)
        await handing.settle()
        lease.priority = 0
        handing.out.again({lease.ref.lease_id: [0]}, "a test")
        await handing.settle()
        assert [work.priority for work in handing.sent[handing.worker()].work] == [1, 0]

    run(test)

"""The fetch process's queue operations when the way to the queue breaks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.errors import Unreachable
from pipeline.messages import LeaseRef, PlannedRequest
from stages.fetch import queue as queue_module
from stages.fetch.counted import DELETED
from stages.fetch.finished import Finished
from stages.fetch.journal import LeaseJournal
from stages.fetch.leases import LeaseBook
from stages.fetch.queue import LeaseLost
from stages.fetch.queue_io import QueueIo
from stages.fetch.returns import Returns
from tests.acceptance.chaos.between import proxies_between
from tests.acceptance.chaos.proxy import FaultProxy, Kind
from tests.acceptance.stores import all_messages, queue

LEASE_S = 6
LIMIT_S = 60


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is tried again without a pause."""
    monkeypatch.setattr(queue_module, "RETRY_WAIT_S", 0)
    monkeypatch.setattr(queue_module, "RETRY_JITTER_S", 0)


def run(
    test: Callable[[QueueIo, FaultProxy, str], Awaitable[None]], settings: dict[str, str]
) -> None:
    """Run a test with the queue's operations behind a proxy."""
    with proxies_between(settings) as between:
        environ = {**between.settings, "VISIBILITY_TIMEOUT": str(LEASE_S)}
        config = load(environ=environ, needs=("queue",))

        async def opened() -> None:
            io = QueueIo(config)
            try:
                await test(io, between.queue, config.azure_queue_name[0])
            finally:
                io.close()

        asyncio.run(asyncio.wait_for(opened(), LIMIT_S))


def send(settings: dict[str, str], *texts: str) -> None:
    with queue(settings) as client:
        for text in texts:
            client.send_message(text)


def test_a_renewal_outlives_a_connection_on_which_nothing_comes_back(
    settings: dict[str, str],
) -> None:
    send(settings, "m")

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        [message], _ = await io.receive(name)
        receipt, _ = await io.renew(name, message.id, message.pop_receipt)
        began_s = time.monotonic()
        assert proxy.forget() > 0
        receipt, _ = await io.renew(name, message.id, receipt)
        assert time.monotonic() - began_s < LEASE_S / 2
        assert proxy.counts["forgotten"] > 0
        await io.delete(name, message.id, receipt)

    run(test, settings)
    with queue(settings) as client:
        assert all_messages(client) == []


@pytest.mark.parametrize("kind", ["answer_lost", "reset_in_answer"])
def test_a_delete_whose_answer_is_lost_is_done(kind: Kind, settings: dict[str, str]) -> None:
    send(settings, "m")

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        [message], _ = await io.receive(name)
        proxy.fault(kind, first=1, method="DELETE")
        await io.delete(name, message.id, message.pop_receipt)
        assert proxy.counts == {kind: 1}

    run(test, settings)
    with queue(settings) as client:
        assert all_messages(client) == []


def test_a_finished_message_that_cannot_be_deleted_now_is_deleted_later(
    settings: dict[str, str],
) -> None:
    send(settings, "m")

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        counters: Counter[str] = Counter()
        book = LeaseBook(60, 1)
        journal = LeaseJournal(Path(), list)  # not opened, so it writes nothing
        returns = Returns(io, book, journal, counters, 60)
        loop, tasks = asyncio.get_running_loop(), []
        finished = Finished(
            returns, journal, lambda work: tasks.append(loop.create_task(work)), lambda: None
        )
        [message], _ = await io.receive(name)
        ref = LeaseRef(book.new_id(), 0, name, message.id, message.pop_receipt, "m", None, 0, 1, 1)
        planned = PlannedRequest(0, "compute", "GET", "2024-07-01", "/x", {}, None, "", "")
        lease = book.add(ref, message.text, [planned], time.monotonic())
        proxy.fault("status_5xx", first=1 + queue_module.RETRIES, method="DELETE")
        finished.add(ref, lease)
        while finished.under_way:
            await asyncio.sleep(0.01)
        assert proxy.counts == {"status_5xx": 1 + queue_module.RETRIES}
        assert counters == {DELETED: 1}
        await asyncio.gather(*tasks)

    run(test, settings)
    with queue(settings) as client:
        assert all_messages(client) == []


def test_a_renewal_whose_answer_is_lost_costs_the_lease(settings: dict[str, str]) -> None:
    """Nobody knows the new pop receipt; the message comes again when the lease ends."""
    send(settings, "m")

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        [message], _ = await io.receive(name)
        proxy.fault("answer_lost", first=1, method="PUT")
        with pytest.raises(LeaseLost, match="PopReceiptMismatch"):
            await io.renew(name, message.id, message.pop_receipt)

    run(test, settings)


def test_messages_whose_answer_is_lost_come_again(settings: dict[str, str]) -> None:
    send(settings, *(str(n) for n in range(40)))

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        proxy.fault("answer_lost", first=1, method="GET")
        first, _ = await io.receive(name)
        assert len(first) == 8  # it was asked again: 32 are leased by nobody
        again = {m.id: m.dequeue_count for m in first}
        deadline_s = time.monotonic() + LEASE_S + LIMIT_S / 2
        while len(again) < 40:
            assert time.monotonic() < deadline_s
            again |= {m.id: m.dequeue_count for m in (await io.receive(name))[0]}
            await asyncio.sleep(0.05)
        assert sorted(again.values())[-32:] == [2] * 32

    run(test, settings)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reset", "broke"),
        ("reset_in_answer", "broke"),
        ("answer_lost", "broke"),
        ("half_open", "did not answer in time"),
        ("status_5xx", "busy or has trouble"),
    ],
)
def test_trouble_that_lasts_is_told_as_trouble_on_the_way(
    kind: Kind, said: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "READ_TIMEOUT_S", 0.3)

    async def test(io: QueueIo, proxy: FaultProxy, name: str) -> None:
        proxy.fault(kind)
        with pytest.raises(Unreachable, match=said):
            await io.receive(name)
        assert proxy.counts == {kind: 1 + queue_module.RETRIES}

    run(test, settings)

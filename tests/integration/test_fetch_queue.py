"""The fetch process's queue operations against a real queue."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from pipeline.config import Config, load
from pipeline.errors import NotThere, Unauthorised, Unreachable
from pipeline.messages import LeaseRef, PlannedRequest
from stages.fetch.counted import DELETED, RELEASED
from stages.fetch.depth import Depths
from stages.fetch.finished import Finished
from stages.fetch.journal import LeaseJournal, held
from stages.fetch.leases import Lease, LeaseBook
from stages.fetch.queue import LeaseLost
from stages.fetch.queue_io import QueueIo
from stages.fetch.queue_rest import Received
from stages.fetch.returns import Returns
from tests.processes import until

LEASE_S = 2
LIMIT_S = 30


@pytest.fixture
def config(settings: dict[str, str]) -> Config:
    environ = {**settings, "VISIBILITY_TIMEOUT": str(LEASE_S)}
    return load(environ=environ, needs=("queue",))


def client(config: Config, suffix: str = "") -> QueueClient:
    assert config.azure_queue_connection_string
    return QueueClient.from_connection_string(
        config.azure_queue_connection_string, config.azure_queue_name[0] + suffix
    )


def texts(config: Config, suffix: str = "") -> list[str]:
    with client(config, suffix) as queue:
        return [str(message.content) for message in queue.peek_messages(32)]


def send(config: Config, *messages: str) -> None:
    with client(config) as queue:
        for message in messages:
            queue.send_message(message)


def run(test: Callable[[QueueIo, str], Awaitable[None]], config: Config) -> None:
    """Run a test with the queue's operations and the queue's name, within a limit."""

    async def opened() -> None:
        io = QueueIo(config)
        try:
            await test(io, config.azure_queue_name[0])
        finally:
            io.close()

    asyncio.run(asyncio.wait_for(opened(), LIMIT_S))


async def received_one(io: QueueIo, name: str) -> Received:
    [message], _ = await io.receive(name)
    return message


def test_receives_up_to_32_as_stored_and_leases_them(config: Config) -> None:
    stored = ["plain", "bm90IGJhc2U2NA==", "<&>\"' é 🌍", "", *(str(n) for n in range(40))]
    send(config, *stored)

    async def test(io: QueueIo, name: str) -> None:
        before_s = time.monotonic()
        first, asked_s = await io.receive(name)
        second, _ = await io.receive(name)
        assert before_s <= asked_s <= time.monotonic()
        assert (len(first), len(second)) == (32, len(stored) - 32)
        assert sorted(m.text for m in first + second) == sorted(stored)
        assert {m.dequeue_count for m in first} == {1}
        age_s = (datetime.now(UTC) - first[0].inserted_at).total_seconds()
        assert -5 < age_s < 60
        assert (await io.receive(name))[0] == []  # all are leased

    run(test, config)


def test_a_renewed_lease_lasts_and_its_old_receipt_is_void(config: Config) -> None:
    send(config, "m")

    async def test(io: QueueIo, name: str) -> None:
        message = await received_one(io, name)
        receipt, asked_s = await io.renew(name, message.id, message.pop_receipt)
        assert receipt != message.pop_receipt
        assert asked_s <= time.monotonic()
        for call in (io.renew, io.delete):
            with pytest.raises(LeaseLost, match="PopReceiptMismatch"):
                await call(name, message.id, message.pop_receipt)
        assert await io.receive(name) == ([], pytest.approx(time.monotonic(), abs=5))
        await io.delete(name, message.id, receipt)
        await io.delete(name, message.id, receipt)  # as after an answer that was lost
        with pytest.raises(LeaseLost, match="MessageNotFound"):
            await io.renew(name, message.id, receipt)

    run(test, config)
    assert texts(config) == []


def test_a_lease_that_ran_out_is_lost_to_the_next_receiver(config: Config) -> None:
    send(config, "m")

    async def test(io: QueueIo, name: str) -> None:
        first = await received_one(io, name)
        deadline_s = time.monotonic() + 10
        while not (found := (await io.receive(name))[0]):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
        assert found[0].dequeue_count == 2
        with pytest.raises(LeaseLost):
            await io.renew(name, first.id, first.pop_receipt)
        with pytest.raises(LeaseLost):
            await io.release(name, first.id, first.pop_receipt, 0)

    run(test, config)


def test_a_released_message_is_there_at_once_and_whole(config: Config) -> None:
    send(config, "the text")

    async def test(io: QueueIo, name: str) -> None:
        message = await received_one(io, name)
        await io.release(name, message.id, message.pop_receipt, 0)
        again = await received_one(io, name)
        assert (again.id, again.text, again.dequeue_count) == (message.id, "the text", 2)
        await io.release(name, again.id, again.pop_receipt, 60)
        assert (await io.receive(name))[0] == []

    run(test, config)


def test_poison_stands_in_its_own_queue_once_however_often_it_is_put_there(config: Config) -> None:
    put = ['{"reason": "not JSON"}', "x" * 65_536]

    async def test(io: QueueIo, name: str) -> None:
        await io.check()
        await io.check()
        for number, text in enumerate(put):
            place = await io.reserve_poison(name)
            assert texts(config, "-poison") == put[:number]
            assert await io.poison(name, place, text) is False
            assert await io.poison(name, place, text) is True

    run(test, config)
    with client(config, "-poison") as queue:
        stored = list(queue.receive_messages())
    assert [m.content for m in stored] == put
    assert all(m.expires_on is None or m.expires_on.year > 2100 for m in stored)


def test_check_makes_the_poison_queue(config: Config) -> None:
    with client(config, "-poison") as queue:
        queue.delete_queue()

    async def test(io: QueueIo, name: str) -> None:
        await io.check()

    run(test, config)
    assert texts(config, "-poison") == []


def test_a_queue_that_is_not_there_is_told(config: Config) -> None:
    async def test(io: QueueIo, name: str) -> None:
        with pytest.raises(NotThere, match="no-such-queue"):
            await io.check()
        with pytest.raises(NotThere):
            await io.receive(name)
        with pytest.raises(NotThere):
            await io.delete(name, "id", "receipt")

    run(test, replace(config, azure_queue_name=("no-such-queue",)))


def test_a_wrong_key_and_a_closed_port_are_told_apart(config: Config) -> None:
    parts = dict(
        part.split("=", 1)
        for part in (config.azure_queue_connection_string or "").split(";")
        if part
    )

    def changed(**changes: str) -> Config:
        text = ";".join(f"{name}={value}" for name, value in {**parts, **changes}.items())
        return replace(config, azure_queue_connection_string=text)

    key = parts["AccountKey"]

    async def wrong_key(io: QueueIo, name: str) -> None:
        with pytest.raises(Unauthorised) as refused:
            await io.check()
        assert key[8:] not in str(refused.value)

    async def closed_port(io: QueueIo, name: str) -> None:
        with pytest.raises(Unreachable, match="refused the connection"):
            await io.check()

    run(wrong_key, changed(AccountKey=key[4:8] + key[4:]))
    run(closed_port, changed(QueueEndpoint="http://127.0.0.1:1/sandbox"))


def leased(book: LeaseBook, message: Received, queue: str) -> Lease:
    """A lease of this message whose renewal is due."""
    ref = LeaseRef(
        book.new_id(), 0, queue, message.id, message.pop_receipt, message.id, None, 0, 1, 1
    )
    planned = PlannedRequest(0, "compute", "GET", "2024-07-01", "/x", {}, None, "", "")
    return book.add(ref, message.text, [planned], time.monotonic() - LEASE_S / 2)


@pytest.mark.parametrize("end", ["delete", "release"])
def test_a_renewal_under_way_does_not_cost_the_lease(config: Config, end: str) -> None:
    """The queue may take the renewal first, which makes the pop receipt void that we still have."""
    send(config, *(str(n) for n in range(20)))

    async def test(io: QueueIo, name: str) -> None:
        counters: Counter[str] = Counter()
        book = LeaseBook(LEASE_S, 1)
        # A journal that was not opened writes nothing.
        journal = LeaseJournal(Path(), list)
        returns = Returns(io, book, journal, counters, LEASE_S)
        messages, _ = await io.receive(name)
        leases = [leased(book, message, name) for message in messages]
        renewing = asyncio.create_task(returns.renew_for_ever())
        while not all(lease.renewing for lease in leases):
            await asyncio.sleep(0)
        if end == "delete":
            for lease in leases:
                book.drop(lease.ref.lease_id)
            await asyncio.gather(*(returns.delete(lease.ref, lease) for lease in leases))
            assert counters == {DELETED: 20}
        else:
            await asyncio.gather(*(returns.release(lease) for lease in leases))
            assert counters == {RELEASED: 20}
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)

    run(test, config)
    assert len(texts(config)) == (0 if end == "delete" else 20)


def test_finished_messages_are_deleted_many_at_a_time(config: Config, tmp_path: Path) -> None:
    send(config, *(str(n) for n in range(60)))

    async def test(io: QueueIo, name: str) -> None:
        counters: Counter[str] = Counter()
        book = LeaseBook(LEASE_S * 10, 1)
        journal = LeaseJournal(tmp_path, lambda: map(held, book))
        returns = Returns(io, book, journal, counters, LEASE_S * 10)
        loop, tasks, told = asyncio.get_running_loop(), [], []
        finished = Finished(
            returns,
            journal,
            lambda work: tasks.append(loop.create_task(work)),
            lambda: told.append(finished.under_way),
        )
        pages = [await io.receive(name) for _ in range(2)]
        leases = [leased(book, message, name) for page, _ in pages for message in page]
        journal.open()
        # One is renewed just then, which makes its receipt void: it waits, and the others do not.
        renewed = leases[0]
        renewed.renewing = True
        for lease in leases:
            book.drop(lease.ref.lease_id)
            finished.add(lease.ref, lease)
        assert finished.under_way == 60
        while finished.under_way > 1:
            await asyncio.sleep(0.01)
        assert [entry.ref.lease_id for entry in journal.left()] == [renewed.ref.lease_id]
        receipt, _ = await io.renew(name, renewed.ref.queue_message_id, renewed.pop_receipt)
        renewed.pop_receipt, renewed.renewing = receipt, False
        await asyncio.gather(*tasks)
        while finished.under_way:
            await asyncio.sleep(0)
        assert journal.left() == []
        assert len(tasks) < 60
        assert told[-1] == 0
        assert counters == {DELETED: 60}
        journal.close()

    run(test, config)
    assert texts(config) == []


def test_many_at_once(config: Config) -> None:
    send(config, *(str(n) for n in range(60)))

    async def test(io: QueueIo, name: str) -> None:
        pages = await asyncio.gather(*(io.receive(name) for _ in range(6)))
        messages = [message for page, _ in pages for message in page]
        assert len({m.id for m in messages}) == len(messages) == 60
        renewed = await asyncio.gather(*(io.renew(name, m.id, m.pop_receipt) for m in messages))
        await asyncio.gather(
            *(
                io.delete(name, m.id, receipt)
                for m, (receipt, _) in zip(messages, renewed, strict=True)
            )
        )

    run(test, config)
    until(lambda: texts(config) == [], 5)


def test_the_depth_of_the_queues_is_asked_and_known_only_while_they_answer(config: Config) -> None:
    async def test(io: QueueIo, name: str) -> None:
        depths = Depths(io, [name])
        assert depths.gauges() == {}
        send(config, "a", "b", "c")
        assert len((await io.receive(name))[0]) == 3
        asking = asyncio.create_task(depths.ask_for_ever())
        while not depths.gauges():
            await asyncio.sleep(0.01)
        found = depths.gauges()
        assert found["queue_messages"] == 3, "leased ones too"
        assert found["queue_oldest_age_seconds"] == 0, "none is visible"
        assert found["poison_messages"] == 0
        assert io.reached.age_s(time.monotonic()) is not None
        asking.cancel()
        with client(config) as queue:
            queue.delete_queue()
        asking = asyncio.create_task(depths.ask_for_ever())
        while depths.gauges():
            await asyncio.sleep(0.01)
        assert io.reached.age_s(time.monotonic()) is None
        asking.cancel()

    async def prepared(io: QueueIo, name: str) -> None:
        await io.check()
        await test(io, name)

    run(prepared, config)

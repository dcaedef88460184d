"""Data links between real processes: order, bounds, and what a death leaves behind."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import pytest

from pipeline import links
from pipeline.links import DataLink, LinkClosed, frame
from pipeline.messages import AnyLink, LeaseRef, RequestKey, Resource, Rows, Sealed, Stop
from tests.processes import open_descriptors
from tests.unit.links_limit import LIMIT_S, run

spawn = multiprocessing.get_context("spawn")
MIB = 1 << 20


def numbered(number: int) -> Sealed:
    return Sealed(str(number), number, [])


def large(body_bytes: int) -> Rows:
    ref = LeaseRef(1, 1, "q", "id", "pop", "m", None, 0, 1, 1)
    body = os.urandom(body_bytes)
    row = Resource("key", None, None, None, None, None, None, body, None, 0)
    return Rows(ref, RequestKey(0, "compute", "GET", "2024-07-01", ""), [row], None)


# ── what the other process does ──────────────────────────────────────────────────────────────────


async def write_numbers(link: DataLink) -> None:
    """10,000 messages in frames of different sizes."""
    number = 0
    while number < 10_000:
        count = min(1 + number % 7, 10_000 - number)
        await link.send(*(numbered(n) for n in range(number, number + count)))
        number += count


async def write_and_kill_itself(link: DataLink) -> None:
    for number in range(500):
        await link.send(numbered(number))
    os.kill(os.getpid(), signal.SIGKILL)


async def write_half_a_frame(link: DataLink) -> None:
    await link.send(numbered(1))
    await link._loop.sock_sendall(link._sock, frame([numbered(2)])[:-1])
    os.kill(os.getpid(), signal.SIGKILL)


async def write_for_ever(link: DataLink) -> None:
    message = large(MIB)
    while True:
        await link.send(message)


async def echo(link: DataLink) -> None:
    while (messages := await link.receive()) is not None:
        await link.send(*messages)


def peer_main(connection: Connection, work: Callable[[DataLink], Awaitable[None]]) -> None:
    async def main() -> None:
        link = DataLink.open(os.dup(connection.fileno()))
        connection.close()
        await work(link)
        link.close()

    asyncio.run(main())


@contextmanager
def peer(work: Callable[[DataLink], Awaitable[None]]) -> Iterator[tuple[int, BaseProcess]]:
    """A spawned process at the other end; gives the descriptor of this one."""
    ours, theirs = socket.socketpair()
    connection = Connection(theirs.detach())
    process = spawn.Process(target=peer_main, args=(connection, work))
    process.start()
    connection.close()
    try:
        yield ours.detach(), process
    finally:
        process.kill()
        process.join()
        process.close()


async def all_of(link: DataLink) -> list[AnyLink]:
    received: list[AnyLink] = []
    while (messages := await link.receive()) is not None:
        received += messages
    link.close()
    return received


# ── data links ───────────────────────────────────────────────────────────────────────────────────


def test_messages_come_in_order_and_then_the_end() -> None:
    async def test() -> None:
        with peer(write_numbers) as (descriptor, _):
            received = await all_of(DataLink.open(descriptor))
        assert received == [numbered(n) for n in range(10_000)]

    run(test)


def test_large_frames_arrive_whole() -> None:
    async def test() -> None:
        message = large(40 * MIB)
        with peer(echo) as (descriptor, _):
            link = DataLink.open(descriptor)
            sending = asyncio.create_task(link.send(message, numbered(1)))
            assert await link.receive() == [message, numbered(1)]
            await sending
            link.close()

    run(test)


def test_what_has_come_is_given_out_together_and_half_a_frame_when_it_is_whole() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        writer, reader = DataLink.open(ours.detach()), DataLink.open(theirs.detach())
        for number in range(3):
            await writer.send(numbered(number))
        last = frame([numbered(3), numbered(4)])
        writer._sock.send(last[:-1])
        assert await reader.receive() == [numbered(0), numbered(1), numbered(2)]
        reading = asyncio.create_task(reader.receive())
        await asyncio.sleep(0)
        assert not reading.done()
        writer._sock.send(last[-1:])
        assert await reading == [numbered(3), numbered(4)]
        writer.close()
        assert await reader.receive() is None
        reader.close()

    run(test)


def test_a_long_frame_leaves_no_long_buffer() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        writer, reader = DataLink.open(ours.detach()), DataLink.open(theirs.detach())
        message = large(8 * MIB)
        sending = asyncio.create_task(writer.send_frames([frame([message]), frame([numbered(1)])]))
        assert await reader.receive() == [message]
        lagged = [reader.lags]
        assert len(reader._buffer) > 8 * MIB
        await sending
        assert await reader.receive() == [numbered(1)]
        await writer.send(numbered(2))
        assert await reader.receive() == [numbered(2)]
        lagged.append(reader.lags)
        assert lagged == [True, False]
        assert len(reader._buffer) == links.READ_BYTES
        writer.close()
        reader.close()

    run(test)


def test_what_came_before_a_bad_frame_is_given_out() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        writer, reader = DataLink.open(ours.detach()), DataLink.open(theirs.detach())
        await writer.send_frames([frame([numbered(1)]), b"\x01\0\0\0\xc1"])
        assert await reader.receive() == [numbered(1)]
        with pytest.raises(msgspec.DecodeError):
            await reader.receive()
        writer.close()
        reader.close()

    run(test)


def test_a_frame_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000"):
        frame([large(1000)])


def test_writers_of_one_process_do_not_mix_their_frames() -> None:
    async def test() -> None:
        with peer(echo) as (descriptor, _):
            link = DataLink.open(descriptor)
            groups = [[frame([numbered(g * 10 + n)]) for n in range(10)] for g in range(50)]
            sending = asyncio.gather(*(link.send_frames(group) for group in groups))
            received: list[AnyLink] = []
            while len(received) < 500:
                received += await link.receive() or []
            await sending
            link.close()
        for start in range(0, 500, 10):
            first = received[start]
            assert isinstance(first, Sealed)
            wanted = [numbered(first.size_bytes + n) for n in range(10)]
            assert received[start : start + 10] == wanted

    run(test)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_slow_reader_makes_the_writer_wait() -> None:
    async def test() -> None:
        with peer(write_for_ever) as (descriptor, process):
            link = DataLink.open(descriptor)
            assert process.pid is not None
            await link.receive()
            before = resident_bytes(process.pid)
            # Writing at memory speed it would hold hundreds of megabytes by then.
            for _ in range(20):
                await asyncio.sleep(0.02)
                assert resident_bytes(process.pid) - before < 8 * MIB
            assert await link.receive() is not None
            link.close()

    run(test)


def test_what_was_sent_before_a_sigkill_is_read() -> None:
    async def test() -> None:
        with peer(write_and_kill_itself) as (descriptor, process):
            link = DataLink.open(descriptor)
            await asyncio.to_thread(process.join, LIMIT_S)
            assert process.exitcode == -signal.SIGKILL
            # Writing to the dead fails, and does not spoil what is still to be read.
            with pytest.raises(LinkClosed):
                await link.send_frames([frame([numbered(0)])] * 100)
            assert await all_of(link) == [numbered(n) for n in range(500)]

    run(test)


def test_half_a_frame_is_not_delivered() -> None:
    async def test() -> None:
        with peer(write_half_a_frame) as (descriptor, _):
            assert await all_of(DataLink.open(descriptor)) == [numbered(1)]

    run(test)


def test_a_waiting_writer_and_a_waiting_reader_see_the_others_death() -> None:
    async def test() -> None:
        with peer(stalled) as (descriptor, process):
            link = DataLink.open(descriptor)
            assert await link.receive() == [Stop()]
            writing = asyncio.create_task(link.send(large(4 * MIB)))
            reading = asyncio.create_task(link.receive())
            await asyncio.sleep(0.05)
            assert not writing.done()
            process.kill()
            with pytest.raises(LinkClosed):
                await writing
            assert await reading is None
            link.close()

    run(test)


async def stalled(link: DataLink) -> None:
    await link.send(Stop())
    await asyncio.sleep(LIMIT_S)


def test_closing_wakes_who_waits_and_frees_the_descriptor() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            before = open_descriptors()
            link = DataLink.open(ours.detach())
            reading = asyncio.create_task(link.receive())
            writing = asyncio.create_task(link.send(large(4 * MIB)))
            await asyncio.sleep(0.05)
            link.close()
            link.close()
            assert await reading is None
            with pytest.raises(LinkClosed):
                await writing
            assert open_descriptors() == before - 1
            assert await link.receive() is None
            with pytest.raises(LinkClosed):
                await link.send(Stop())

    run(test)


def test_a_write_that_is_cut_off_ends_the_link_for_its_reader() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        writer, reader = DataLink.open(ours.detach()), DataLink.open(theirs.detach())
        await writer.send(numbered(1))
        writing = asyncio.create_task(writer.send(large(4 * MIB)))
        await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        with pytest.raises(LinkClosed):
            await writer.send(numbered(2))
        assert await all_of(reader) == [numbered(1)]
        writer.close()

    run(test)

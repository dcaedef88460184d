"""Control links: descriptors come with their frame, each end learns of the other's, none leaks."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

import pytest

from pipeline import links
from pipeline.links import ControlLink, frame
from pipeline.messages import AnyLink, Attach, SpoolFound, Stop
from tests.processes import open_descriptors
from tests.unit.links_limit import run


class End:
    """One end of a control link, and what came to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.received: list[tuple[AnyLink, list[int]]] = []
        self.closed = 0
        self.link = ControlLink(sock, lambda m, fds: self.received.append((m, fds)), self._closed)

    def _closed(self) -> None:
        self.closed += 1

    async def until(self, count: int) -> None:
        while len(self.received) < count and not self.closed:
            await asyncio.sleep(0.001)


def pair(**options: Any) -> tuple[End, End, socket.socket, socket.socket]:
    a, b = socket.socketpair()
    return End(a), End(b), a, b


def test_descriptors_come_with_their_frame_under_load_and_partial_writes() -> None:
    async def test() -> None:
        a, b = socket.socketpair()
        # So small that a frame is written in pieces.
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        ours, theirs = End(a), End(b)
        before = open_descriptors()
        padding = SpoolFound({f"batch-{n}": n for n in range(2_000)})
        for number in range(100):
            read, write = os.pipe()
            os.write(write, struct.pack("I", number))
            ours.link.send(Attach(f"peer-{number}", number), [read])
            if number % 10 == 0:
                ours.link.send(padding)
            os.close(read)
            os.close(write)
        await theirs.until(110)
        attached = [(m, fds) for m, fds in theirs.received if isinstance(m, Attach)]
        assert [m.generation for m, _ in attached] == list(range(100))
        for message, fds in attached:
            [descriptor] = fds
            assert struct.unpack("I", os.read(descriptor, 4)) == (message.generation,)
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        assert [fds for m, fds in theirs.received if not isinstance(m, Attach)] == [[]] * 10
        assert open_descriptors() == before
        ours.link.close()
        theirs.link.close()

    run(test)


def test_the_other_end_is_told_of_a_close_once_and_one_s_own_is_not() -> None:
    async def test() -> None:
        ours, theirs, *_ = pair()
        ours.link.send(Stop())
        ours.link.close()
        while not theirs.closed:
            await asyncio.sleep(0.001)
        theirs.link.send(Stop())
        assert (ours.closed, theirs.closed) == (0, 1)
        assert [m for m, _ in theirs.received] == [Stop()]
        theirs.link.close()
        assert theirs.closed == 1

    run(test)


def test_closing_frees_descriptors_that_were_not_delivered() -> None:
    async def test() -> None:
        before = open_descriptors()
        ours, theirs, a, _ = pair()
        theirs.link.close()
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with open(os.devnull) as file:
            for number in range(50):
                ours.link.send(Attach("peer", number), [file.fileno()])
            ours.link.close()
        assert open_descriptors() == before

    run(test)


def test_descriptors_of_a_frame_that_never_came_whole_are_freed() -> None:
    async def test() -> None:
        before = open_descriptors()
        a, b = socket.socketpair()
        theirs = End(b)
        with open(os.devnull) as file:
            socket.send_fds(a, [frame([Attach("peer", 1)])[:-1]], [file.fileno()])
        a.close()
        while not theirs.closed:
            await asyncio.sleep(0.001)
        assert theirs.received == []
        assert open_descriptors() == before

    run(test)


def test_a_peer_that_never_reads_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "CONTROL_BUFFER_FRAMES", 10)

    async def test() -> None:
        a, b = socket.socketpair()
        with b:
            ours = End(a)
            padding = SpoolFound({f"batch-{n}": n for n in range(20_000)})
            for _ in range(30):
                ours.link.send(padding)
            assert ours.closed == 1

    run(test)

"""How a stage reads its links: in order, and not at every word where none is urgent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import ClassVar

from pipeline.links import DataLink
from pipeline.messages import AnyLink, Drained, Sealed
from pipeline.stage import Stage
from tests.unit.config_read import read
from tests.unit.links_limit import run

PAUSE_S = 0.2


class Listening(Stage):
    """Notes what it is told, and what of it came together."""

    read_pauses_s: ClassVar[Mapping[str, float]] = {"execute": PAUSE_S}

    def __init__(self) -> None:
        super().__init__("listening", read({}))
        self.heard: list[list[AnyLink]] = []
        self.drained_after: list[int] = []

    async def on_messages(self, peer: str, messages: list[AnyLink]) -> None:
        if messages:
            self.heard.append(messages)

    async def _peer_drained(self, peer: str) -> None:
        self.drained_after.append(sum(map(len, self.heard)))
        await super()._peer_drained(peer)


def numbered(number: int) -> Sealed:
    return Sealed(str(number), number, [])


async def heard_from(peer: str, words: int, between_s: float) -> Listening:
    """A stage that has heard so many words of this peer, one after the other, to the end."""
    stage = Listening()
    ours, theirs = map(DataLink, socket.socketpair())
    reading = asyncio.create_task(stage._read(peer, theirs))
    for number in range(words):
        await ours.send(numbered(number))
        await asyncio.sleep(between_s)
    ours.close()
    await reading
    assert [word for words in stage.heard for word in words] == list(map(numbered, range(words)))
    return stage


def test_words_that_are_not_urgent_are_read_together() -> None:
    async def test() -> None:
        stage = await heard_from("execute-1", 20, 0.001)
        # The first at once, and the others when the pause after it is over.
        assert len(stage.heard[0]) == 1
        assert len(stage.heard) < 10

    run(test)


def test_other_words_are_read_as_they_come() -> None:
    async def test() -> None:
        assert len((await heard_from("fetch", 20, 0.001)).heard) > 10

    run(test)


def test_a_pause_does_not_hold_up_a_writer_that_is_ahead() -> None:
    async def test() -> None:
        stage = Listening()
        ours, theirs = map(DataLink, socket.socketpair())
        reading = asyncio.create_task(stage._read("execute-0", theirs))
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number in range(100):
            await ours.send(Sealed("x" * 500_000, number, []))
        ours.close()
        await reading
        assert sum(map(len, stage.heard)) == 100
        # 50 MB through a buffer of at most 4 MiB: with a pause at each it would be 12 of them.
        assert loop.time() - began_s < 12 * PAUSE_S

    run(test)


def test_a_peer_is_drained_when_all_before_that_word_is_heard() -> None:
    async def test() -> None:
        stage = Listening()
        ours, theirs = map(DataLink, socket.socketpair())
        await ours.send(numbered(0), numbered(1), Drained(), numbered(2), Drained())
        ours.close()
        await stage._read("execute-0", theirs)
        assert [word for words in stage.heard for word in words] == list(map(numbered, range(3)))
        assert stage.drained_after == [2, 3]

    run(test)

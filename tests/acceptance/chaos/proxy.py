"""A proxy that stands before one service and breaks what passes, as it is told.

It knows HTTP/1.1 well enough to tell one request from the next, and changes nothing that it passes
on. All its sockets live in one thread; the test's thread switches faults on and off.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tests.acceptance.chaos.troubles import Service, trouble
from tests.acceptance.chaos.wire import (
    MAX_HEAD_BYTES,
    BrokenHttp,
    Message,
    read_answer,
    read_request,
)

HOST = "127.0.0.1"
BACKLOG = 512
# For one order from the test's thread, and for the end.
ORDER_LIMIT_S = 10.0
# To connect to the service.
CONNECT_LIMIT_S = 10.0

Kind = Literal[
    "latency",
    "reset",
    "reset_in_answer",
    "half_open",
    "blackhole",
    "status_5xx",
    "answer_lost",
]
KINDS: tuple[Kind, ...] = (
    "latency",
    "reset",
    "reset_in_answer",
    "half_open",
    "blackhole",
    "status_5xx",
    "answer_lost",
)
# A request on a connection that was forgotten while it was idle is counted as this.
FORGOTTEN = "forgotten"

T = TypeVar("T")


@dataclass(eq=False)
class _Rule:
    """A fault that is switched on."""

    kind: Kind
    chance: float
    left: int | None
    method: str
    path: re.Pattern[str]
    says: re.Pattern[str]
    latency_s: float
    healed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def total(self) -> bool:
        """It spares nothing."""
        limits = (self.left, self.method, self.path.pattern, self.says.pattern)
        return self.chance >= 1 and not any(limits)


@dataclass(eq=False)
class _Link:
    """A client's connection, and the one to the service that belongs to it."""

    reader: StreamReader
    writer: StreamWriter
    server: tuple[StreamReader, StreamWriter] | None = None
    forgotten: bool = False


class FaultProxy:
    """A proxy before one service; a context manager.

    Args:
        host: of the service.
        port: of the service.
        service: whose errors it answers with; ``plain`` is text.
        seed: of its chances.

    Attributes:
        port: its own, on :data:`HOST`; it stays the same for as long as the proxy lives.
        counts: faults that befell a request, by kind.
        requests: requests read, by method and path, those that were not passed on too.
        passed: answers that reached the client whole.
    """

    def __init__(self, host: str, port: int, service: Service = "plain", seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.passed = 0
        self._upstream = (host, port)
        self._service = service
        self._chance = random.Random(seed)
        self._rules: list[_Rule] = []
        # Blackholes that befall no more requests, and still hold some.
        self._spent: list[_Rule] = []
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        # Bound and never listening, it keeps the port ours while the service is away.
        self._guard = _bound(0)
        self.port: int = self._guard.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}")

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    # ── what a test says ─────────────────────────────────────────────────────────────────────

    def fault(
        self,
        kind: Kind,
        *,
        chance: float = 1.0,
        first: int | None = None,
        method: str = "",
        path: str = "",
        says: str = "",
        latency_s: float = 0.2,
    ) -> None:
        """Switch a fault on, besides those that are on; the first that hits a request has it.

        ``latency`` waits. ``reset`` resets the connection before the request gets through,
        ``reset_in_answer`` in the middle of the answer, ``answer_lost`` once the service has
        answered and before a byte of it. ``half_open`` swallows the request and is silent on this
        connection for good. ``blackhole`` holds everything up, in both directions, until it is
        healed; then it goes on, as packets do that are sent again, whether or not the client is
        still there. ``status_5xx`` answers in the service's place.

        Args:
            kind: of the fault.
            chance: that it befalls a request.
            first: how many requests it befalls; all if not given.
            method: of the requests that it may befall; all if empty.
            path: regular expression, searched in path and query of those requests.
            says: regular expression, searched in their bodies.
            latency_s: for ``latency``.
        """
        rule = _Rule(kind, chance, first, method, re.compile(path), re.compile(says), latency_s)
        self._order(self._add(rule))

    def heal(self) -> None:
        """Switch all faults off."""
        self._order(self._heal())

    def forget(self) -> int:
        """Forget the connections there are, as a NAT does: on them is silence from now on.

        Returns:
            How many there were.
        """
        return self._order(self._forget())

    def refuse(self) -> None:
        """The service is away: its connections are reset, and new ones refused."""
        self._order(self._refuse())

    def serve(self) -> None:
        """The service is back, on the same port."""
        self._order(self._serve())

    def __enter__(self) -> Self:
        self._thread.start()
        self.serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._order(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ORDER_LIMIT_S)
        self._loop.close()
        self._guard.close()

    def _order(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ORDER_LIMIT_S)

    # ── in its thread ────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _add(self, rule: _Rule) -> None:
        self._rules.append(rule)

    async def _heal(self) -> None:
        for rule in (*self._rules, *self._spent):
            rule.healed.set()
        self._rules, self._spent = [], []

    async def _forget(self) -> int:
        for link in self._links:
            link.forgotten = True
        return len(self._links)

    async def _serve(self) -> None:
        if self._server is None:
            listener = _bound(self.port)
            self._server = await asyncio.start_server(
                self._accepted, sock=listener, limit=MAX_HEAD_BYTES, backlog=BACKLOG
            )

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._links):
            _reset(link.writer)
        await self._end_links()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._end_links()

    async def _end_links(self) -> None:
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        link = _Link(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await self._converse(link)
        except (OSError, IncompleteReadError, BrokenHttp):
            _reset(writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # what is not written is not waited for
        finally:
            del self._links[link]
            await _closed(writer)
            await _leave(link)

    async def _converse(self, link: _Link) -> None:
        while (request := await read_request(link.reader)) is not None:
            self.requests[f"{request.method} {request.target.partition('?')[0]}"] += 1
            if link.forgotten:
                self.counts[FORGOTTEN] += 1
                return await _silence(link)
            rule = self._rule_for(request)
            kind = rule.kind if rule is not None else None
            if rule is not None:
                self.counts[rule.kind] += 1
            if kind == "reset":
                return _reset(link.writer)
            if kind == "half_open":
                return await _silence(link)
            if kind == "status_5xx":
                await _send(link.writer, trouble(self._service, request.method, self._chance))
                continue
            if rule is not None and kind == "latency":
                await asyncio.sleep(rule.latency_s)
            if rule is not None and kind == "blackhole":
                await rule.healed.wait()
            answer = await self._ask(link, request)
            if kind == "answer_lost":
                return _reset(link.writer)
            if kind == "reset_in_answer":
                await _send(link.writer, answer.raw[: max(1, len(answer.raw) // 2)])
                return _reset(link.writer)
            await self._out_of_blackhole()
            await _send(link.writer, answer.raw)
            self.passed += 1
            if request.last or answer.last:
                return None
        return None

    async def _ask(self, link: _Link, request: Message) -> Message:
        """Have the service's answer, on the connection there is or on a new one."""
        if link.server is not None and link.server[0].at_eof():
            await _leave(link)  # the service lets go of idle connections
        if link.server is None:
            link.server = await asyncio.wait_for(
                asyncio.open_connection(*self._upstream, limit=MAX_HEAD_BYTES), CONNECT_LIMIT_S
            )
        reader, writer = link.server
        await _send(writer, request.raw)
        return await read_answer(reader, request.method)

    def _rule_for(self, request: Message) -> _Rule | None:
        for rule in self._rules:
            if rule.method not in ("", request.method) or not rule.path.search(request.target):
                continue
            if rule.says.pattern and not rule.says.search(request.text):
                continue
            if self._chance.random() >= rule.chance:
                continue
            if rule.left is not None:
                rule.left -= 1
                if not rule.left:
                    self._rules.remove(rule)
                    self._spent.append(rule)
            return rule
        return None

    async def _out_of_blackhole(self) -> None:
        """Hold an answer back that comes in the middle of a blackhole."""
        while hole := [r for r in self._rules if r.kind == "blackhole" and r.total]:
            await hole[0].healed.wait()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, port))
    return sock


async def _send(writer: StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _silence(link: _Link) -> None:
    """Say nothing until the client gives up."""
    with contextlib.suppress(OSError):
        while await link.reader.read(65_536):
            pass


def _reset(writer: StreamWriter) -> None:
    """Close so that the other side sees a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _closed(writer: StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _leave(link: _Link) -> None:
    if link.server is not None:
        server, link.server = link.server, None
        await _closed(server[1])

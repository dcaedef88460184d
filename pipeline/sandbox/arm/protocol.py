"""HTTP/1.1 on a connection: parsing, keep-alive, pipelining, limits and delivery.

Answers leave in the order of their requests. The common case, an answer that is ready at once on a
connection with nothing waiting, is one write. Everything else (latency, stalls, broken answers)
goes through the connection's queue, so that later requests cannot overtake.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from pipeline.logs import log
from pipeline.sandbox.arm.arm_errors import arm_error
from pipeline.sandbox.arm.wire import NO_BODY, UNCOUNTED, Answer, Delivery, Head, Request

if TYPE_CHECKING:
    from pipeline.sandbox.arm.simulator import Simulator

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 4 * 1024 * 1024
# Recordings of a whole tenant come in one request.
CONTROL_BODY_BYTES_MAX = 64 * 1024 * 1024
CONTROL_PREFIX = b"/_simulator/"
# Requests of one connection that are read but not answered; past it the socket is not read.
PIPELINE_MAX = 64
# A made-up body leaves in pieces of this size, each only when the client has room for it.
FILLER_BYTES = 64 * 1024
# SO_LINGER with no time at all: the kernel sends RST in place of FIN.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ArmProtocol(asyncio.Protocol):
    """One connection.

    Args:
        simulator: what counts and bounds.
        handle: what answers; it does not block.
        connections: the set of all open ones, which bounds and sweeps them.
    """

    def __init__(
        self,
        simulator: Simulator,
        handle: Callable[[Request], Answer],
        connections: set[ArmProtocol],
    ) -> None:
        self._simulator = simulator
        self._handle = handle
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._head = Head()
        self._waiting: deque[tuple[Request, Answer]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._closing = False
        self._reading = True
        # Requests that were read and are neither answered nor given up.
        self._owed = 0
        self.last_active_s = time.monotonic()
        self._start_message()

    # -- connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._simulator.stats.connected(len(self._connections))
        if len(self._connections) > self._simulator.settings.max_connections:
            self._refuse(503, "ServerBusy", "Too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        self._can_write.set()
        if self._sender is not None:
            self._sender.cancel()
        self._simulator.stats.abandoned(self._owed)
        self._owed = 0

    def pause_writing(self) -> None:
        self._can_write.clear()
        self._pause_reading()

    def resume_writing(self) -> None:
        self._can_write.set()
        self._resume_reading()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered."""
        return not self._waiting and self._sender is None

    def close(self) -> None:
        """Close after what is written already."""
        self._closing = True
        if self._sender is not None:
            self._sender.cancel()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, with a reset."""
        self._closing = True
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()

    # -- parsing

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.last_active_s = self._loop.time()
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "BadRequest", "Upgrade is not supported.")
        except httptools.HttpParserError as error:
            self._refuse(400, "BadRequest", f"Not HTTP/1.1: {error}.")
        else:
            if not self._head_done and self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(431, "RequestHeaderFieldsTooLarge", "The head is past 64 KiB.")

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_done = False

    def on_message_begin(self) -> None:
        self._start_message()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._head_done = True
        head_bytes = len(self._url) + sum(map(len, self._headers))
        if head_bytes + sum(map(len, self._headers.values())) > HEAD_BYTES_MAX:
            self._refuse(431, "RequestHeaderFieldsTooLarge", "The head is past 64 KiB.")
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._closing:
            return
        self._body_bytes += len(body)
        control = self._url.startswith(CONTROL_PREFIX)
        limit = CONTROL_BODY_BYTES_MAX if control else BODY_BYTES_MAX
        if self._body_bytes > limit:
            self._body.clear()
            self._refuse(413, "RequestContentTooLarge", f"The body is past {limit} bytes.")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self._closing:
            return
        parser = self._parser
        request = Request(
            parser.get_method().decode("ascii"),
            self._url.decode("latin-1"),
            self._headers,
            b"".join(self._body) if self._body else b"",
            parser.should_keep_alive(),
        )
        if not self._url.startswith(CONTROL_PREFIX):
            self._simulator.stats.began()
            self._owed += 1
        try:
            answer = self._handle(request)
        except Exception as error:  # noqa: BLE001 - the parser would call it the client's fault
            log.bind(action="simulator_failed", target=request.target).exception("simulator failed")
            answer = arm_error(500, "InternalServerError", f"{type(error).__name__}: {error}")
        if answer.delivery is None and self._sender is None and self._can_write.is_set():
            self._write(request, answer)
        else:
            self._enqueue(request, answer)

    # -- answering

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer what cannot be served, and close."""
        if self._closing:
            return
        answer = arm_error(status, code, message)
        self._simulator.stats.began()
        self._owed += 1
        self._counted("refused", status)
        self._transport.write(self._head.encode(answer, "GET", time.time(), close=True))
        self._transport.write(answer.body)
        self.close()

    def _counted(self, kind: str, status: int) -> None:
        if kind != UNCOUNTED:
            self._owed -= 1
            self._simulator.stats.answered(kind, status)

    def _write(self, request: Request, answer: Answer) -> None:
        close = answer.close or not request.keep_alive
        head = self._head.encode(answer, request.method, time.time(), close=close)
        has_body = answer.status not in NO_BODY and request.method != "HEAD"
        self._transport.write(head + answer.body if has_body else head)
        self._counted(answer.kind, answer.status)
        if close:
            self.close()

    def _enqueue(self, request: Request, answer: Answer) -> None:
        self._waiting.append((request, answer))
        if len(self._waiting) >= PIPELINE_MAX:
            self._pause_reading()
        if self._sender is None:
            self._sender = self._loop.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        try:
            while self._waiting and not self._closing:
                request, answer = self._waiting.popleft()
                await self._can_write.wait()
                await self._deliver(request, answer)
                self._resume_reading()
        finally:
            self._waiting.clear()
            self._sender = None
            self.last_active_s = self._loop.time()

    async def _deliver(self, request: Request, answer: Answer) -> None:
        how = answer.delivery
        if how is None:
            self._write(request, answer)
            return
        if how.delay_s:
            await asyncio.sleep(how.delay_s)
        if self._closing:
            return
        if how.reset_at is not None and how.reset_at < 0:
            self._counted(answer.kind, 0)
            self.abort()
            return
        whole = how.reset_at is None and how.stall_at is None
        if request.method == "HEAD" or (whole and not (how.length_error or how.filler_bytes)):
            self._write(request, answer)
            return
        await self._deliver_broken(request, answer, how)

    async def _deliver_broken(self, request: Request, answer: Answer, how: Delivery) -> None:
        close = answer.close or not request.keep_alive or how.length_error != 0
        self._counted(answer.kind, answer.status)
        self._transport.write(self._head.encode(answer, request.method, time.time(), close=close))
        if how.filler_bytes:
            await self._send_filler(how.filler_bytes)
        elif how.reset_at is not None:
            self._transport.write(answer.body[: how.reset_at])
            # What abort() finds unsent is thrown away: let the kernel have it first.
            await asyncio.sleep(0.01)
            self.abort()
            return
        elif how.stall_at is not None:
            self._transport.write(answer.body[: how.stall_at])
            await asyncio.sleep(how.stall_s)
            self._transport.write(answer.body[how.stall_at :])
        else:
            self._transport.write(answer.body)
        if close:
            self._closing = True
            self._transport.close()

    async def _send_filler(self, count: int) -> None:
        """A JSON body of ``count`` bytes: a list with one very long text."""
        start, end = b'{"value":[{"id":"', b'"}]}'
        self._transport.write(start[:count])
        left = count - len(start) - len(end)
        piece = b"x" * FILLER_BYTES
        while left > 0 and not self._closing:
            self._transport.write(piece[: min(left, FILLER_BYTES)])
            left -= FILLER_BYTES
            # A set event does not yield: without this a fast reader would starve the others.
            await asyncio.sleep(0)
            await self._can_write.wait()
        if not self._closing and count > len(start):
            self._transport.write(end[: count - len(start)])

    def _pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        room = len(self._waiting) < PIPELINE_MAX and self._can_write.is_set()
        if not self._reading and room and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

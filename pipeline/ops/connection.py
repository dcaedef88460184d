"""A connection to the status pages: short requests, no patience.

Nothing here waits for a client without a limit, and no client holds the loop: a page is made at
once, and what a client does not read is dropped with its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import h11

from pipeline.logs import log
from pipeline.ops.pages import Page, Pages, text

# Of a request's line and headers.
MAX_HEADER_BYTES = 8 * 1024
READ_BYTES = 4 * 1024
# Between two requests; a scraper comes every 15 to 60 seconds.
IDLE_S = 75.0
# From a request's first byte to its last, and to take an answer.
READ_S = 5.0
WRITE_S = 10.0
# It is closed after so many answers.
MAX_REQUESTS = 1_000


class Connection:
    """One connection.

    Attributes:
        idle_since_s: monotonic seconds; None while a request is under way.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pages: Pages
    ) -> None:
        self.idle_since_s: float | None = time.monotonic()
        self._reader = reader
        self._writer = writer
        self._pages = pages
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        # Every answer is with the kernel before the next request is read.
        writer.transport.set_write_buffer_limits(0)

    def abort(self) -> None:
        """Cut it off."""
        self._writer.transport.abort()

    async def refuse(self) -> None:
        """There is no room for it."""
        with contextlib.suppress(OSError, TimeoutError):
            await self._send(text(503, "too many connections"), "GET", close=True)
        self.abort()

    async def serve(self) -> None:
        """Answer its requests, until it or a limit ends it."""
        try:
            for _ in range(MAX_REQUESTS):
                if not await self._serve_one():
                    break
                # However many requests have come at once, others have their turn.
                await asyncio.sleep(0)
        except (OSError, TimeoutError):
            pass  # it is gone, or too slow
        finally:
            self.abort()

    async def _serve_one(self) -> bool:
        """Answer one request; returns whether another may follow."""
        try:
            request = await self._request()
        except h11.RemoteProtocolError as error:
            await self._send(text(error.error_status_hint, "not a request"), "GET", close=True)
            return False
        if request is None:
            return False
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        headers = dict(request.headers)
        # A body is of no use to any page, so it is not read.
        whole = self._http.next_event()
        close = not isinstance(whole, h11.EndOfMessage)
        page = self._pages.answer(method, target, headers.get(b"authorization"), time.monotonic())
        log.bind(action="ops_request", method=method, status=page.status).debug(
            "{}", target.partition("?")[0]
        )
        await self._send(page, method, close=close)
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _request(self) -> h11.Request | None:
        """The next request; None if none will come.

        Raises:
            RemoteProtocolError: it is none.
            TimeoutError: it took too long.
        """
        self.idle_since_s = time.monotonic()
        loop = asyncio.get_running_loop()
        begun = bool(self._http.trailing_data[0])
        async with asyncio.timeout(READ_S if begun else IDLE_S) as limit:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(READ_BYTES)
                if data and not begun:
                    begun = True
                    limit.reschedule(loop.time() + READ_S)
                self._http.receive_data(data)
        self.idle_since_s = None
        return event if isinstance(event, h11.Request) else None

    async def _send(self, page: Page, method: str, *, close: bool) -> None:
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *page.headers,
        ]
        if close:
            headers.append(("Connection", "close"))
        http = self._http
        data = http.send(h11.Response(status_code=page.status, headers=headers)) or b""
        if method != "HEAD":
            data += http.send(h11.Data(data=page.body)) or b""
        data += http.send(h11.EndOfMessage()) or b""
        self._writer.write(data)
        async with asyncio.timeout(WRITE_S):
            await self._writer.drain()

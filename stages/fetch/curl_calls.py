"""HTTP calls to one server that are awaited: many under way, and no thread."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
from collections.abc import Sequence
from typing import NamedTuple

import pycurl

from pipeline.https import USER_AGENT, prepare
from pipeline.transfers import Transfers

# Answers are looked for so often, while many calls are under way: those that come one after the
# other cost a third less than those that wake the process each (``docs/performance.md``).
PAUSE_S = 0.02

# Slower than this is silence, to libcurl.
_SILENT_BYTES_PER_S = 1

_NO_HOST = frozenset({pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY})
_NOT_TRUSTED = frozenset({pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE})


class Limits(NamedTuple):
    """How long a call may take, in seconds.

    Attributes:
        connect_s: to connect.
        silence_s: without a byte; counted in whole seconds.
        total_s: all of it.
    """

    connect_s: float
    silence_s: float
    total_s: float


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP.
        head: status line and headers, as received.
        body: as received.
    """

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """Value of a header, or ``""``.

        Args:
            name: in lower case.
        """
        for line in self.head.split(b"\r\n"):
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.strip().decode("latin-1")
        return ""


class _Handle:
    """One of libcurl's easy handles: one call at a time."""

    __slots__ = ("body", "curl", "done", "head")

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.head: list[bytes] = []
        self.body: list[bytes] = []
        self.done: asyncio.Future[None] | None = None
        self.curl = curl = pycurl.Curl()
        prepare(curl, scheme, host, port)
        curl.setopt(pycurl.USERAGENT, USER_AGENT)
        curl.setopt(pycurl.LOW_SPEED_LIMIT, _SILENT_BYTES_PER_S)
        curl.setopt(pycurl.HEADERFUNCTION, self.head.append)
        curl.setopt(pycurl.WRITEFUNCTION, self.body.append)

    def ask(
        self, method: str, url: str, headers: Sequence[str], limits: Limits, fresh: bool
    ) -> None:
        self.head.clear()
        self.body.clear()
        curl = self.curl
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.FRESH_CONNECT, fresh)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, math.ceil(limits.connect_s * 1000))
        curl.setopt(pycurl.LOW_SPEED_TIME, math.ceil(limits.silence_s))
        curl.setopt(pycurl.TIMEOUT_MS, math.ceil(limits.total_s * 1000))

    def answer(self) -> Answer:
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return Answer(status, b"".join(self.head), b"".join(self.body))

    def ended(self, code: int, problem: str) -> None:
        done = self.done
        if done is None or done.done():
            return
        if code:
            done.set_exception(_fault(self.curl, code, problem))
        else:
            done.set_result(None)

    def is_overdue(self, now_s: float) -> bool:
        """libcurl itself looks at the time."""
        return False

    def given_up(self) -> None:
        raise AssertionError("it is never overdue")


class CurlCalls:
    """Calls to one server over kept connections; for one event loop.

    Args:
        scheme: ``https``, or ``http`` to loopback.
        host: of the server.
        port: of the server.
        connections: kept at most, and so calls under way at once; others wait for their turn.
    """

    def __init__(self, scheme: str, host: str, port: int, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = (scheme, host, port)
        self._free: list[_Handle] = []
        self._busy: set[_Handle] = set()
        self._turns = asyncio.Semaphore(connections)
        self._transfers = Transfers(connections, PAUSE_S)
        self._closed = False

    async def call(
        self,
        method: str,
        url: str,
        headers: Sequence[str],
        limits: Limits,
        *,
        fresh: bool = False,
    ) -> Answer:
        """Ask once. Only a kept connection that was closed before a byte came is asked again.

        Args:
            method: one that goes without a body.
            url: of this server.
            headers: ``Name: value``.
            limits: how long it may take.
            fresh: over a new connection: the kept ones may be dead.

        Raises:
            OSError: no whole answer came; its type says why.
        """
        async with self._turns:
            if self._closed:
                raise ConnectionError("the connections are closed")
            handle = self._free.pop() if self._free else _Handle(*self._server)
            handle.ask(method, url, headers, limits, fresh)
            handle.done = self._loop.create_future()
            self._busy.add(handle)
            self._transfers.add(handle)
            try:
                await handle.done
                return handle.answer()
            finally:
                if not self._closed:
                    self._transfers.take_out(handle)  # if whoever asked was cancelled
                    self._busy.discard(handle)
                    self._free.append(handle)

    def close(self) -> None:
        """Cut off what is under way, which is cancelled, and close the connections."""
        if self._closed:
            return
        self._closed = True
        self._transfers.close()
        for handle in self._busy:
            if handle.done is not None:
                handle.done.cancel()
        for handle in (*self._busy, *self._free):
            handle.curl.close()
        self._busy.clear()
        self._free.clear()


def _fault(curl: pycurl.Curl, code: int, text: str) -> OSError:
    """What libcurl says as the error that Python's own sockets would have raised."""
    if code in _NO_HOST:
        return socket.gaierror(socket.EAI_NONAME, text)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return TimeoutError(text)
    if code in _NOT_TRUSTED:
        return ssl.SSLCertVerificationError(text)
    if code == pycurl.E_SSL_CONNECT_ERROR:
        return ssl.SSLError(text)
    if number := curl.getinfo(pycurl.OS_ERRNO):
        return OSError(number, os.strerror(number))
    return ConnectionError(text)

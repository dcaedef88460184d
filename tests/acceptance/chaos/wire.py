"""HTTP/1.1 messages as they stand on the wire: read whole, passed on byte for byte."""

from __future__ import annotations

import gzip
import re
from asyncio import IncompleteReadError, StreamReader
from dataclasses import dataclass

# Of a head; a list's next link may be of any length.
MAX_HEAD_BYTES = 1024 * 1024
# Of a body, which is held whole.
MAX_BODY_BYTES = 256 * 1024 * 1024

_END_OF_HEAD = b"\r\n\r\n"


class BrokenHttp(Exception):
    """What was read is no HTTP/1.1 message, or larger than the limits."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer, whole.

    Attributes:
        start: its first line.
        head: all lines and the empty one, as read.
        body: as read; chunked bodies with their frames.
        last: the connection ends after it.
    """

    start: str
    head: bytes
    body: bytes
    last: bool

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.partition(" ")[0]

    @property
    def target(self) -> str:
        """Path and query of a request."""
        return self.start.split(" ")[1]

    @property
    def text(self) -> str:
        """The body as text, unpacked."""
        packed = re.search(rb"\r\ncontent-encoding: *gzip", self.head, re.IGNORECASE)
        body = gzip.decompress(self.body) if packed else self.body
        return body.decode("utf-8", "replace")

    @property
    def raw(self) -> bytes:
        """All of it, as read."""
        return self.head + self.body


async def read_request(reader: StreamReader) -> Message | None:
    """The next request; None when the client closed instead.

    Raises:
        BrokenHttp: it is none.
        IncompleteReadError, ConnectionError: the client went away in its middle.
    """
    try:
        head = await _head(reader)
    except IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    start, headers = _lines(head)
    if len(start.split(" ")) != 3:
        raise BrokenHttp(start)
    body = b""
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await _chunks(reader)
    elif length := _length(headers):
        body = await reader.readexactly(length)
    return Message(start, head, body, headers.get("connection", "").lower() == "close")


async def read_answer(reader: StreamReader, method: str) -> Message:
    """The answer to a request of this method, with what came before it (``100 Continue``).

    Raises: as :func:`read_request`; also when the server closed without an answer.
    """
    before = b""
    while True:
        head = await _head(reader)
        start, headers = _lines(head)
        status = _status(start)
        if not 100 <= status < 200:
            break
        before += head
    body = b""
    last = headers.get("connection", "").lower() == "close"
    if method == "HEAD" or status in (204, 304):
        pass
    elif "chunked" in headers.get("transfer-encoding", ""):
        body = await _chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(_length(headers))
    else:
        body, last = await reader.read(-1), True
    return Message(start, before + head, body, last)


async def _head(reader: StreamReader) -> bytes:
    try:
        return await reader.readuntil(_END_OF_HEAD)
    except ValueError as error:  # LimitOverrunError is one too
        raise BrokenHttp(f"a head of more than {MAX_HEAD_BYTES} bytes") from error


def _lines(head: bytes) -> tuple[str, dict[str, str]]:
    start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return start, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _status(start: str) -> int:
    parts = start.split(" ")
    if len(parts) < 2 or not parts[1].isdigit():
        raise BrokenHttp(start)
    return int(parts[1])


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not text.isdigit() or int(text) > MAX_BODY_BYTES:
        raise BrokenHttp(f"Content-Length: {text}")
    return int(text)


async def _chunks(reader: StreamReader) -> bytes:
    """A chunked body with its frames and trailers."""
    parts: list[bytes] = []
    size = 0
    while True:
        line = await reader.readuntil(b"\r\n")
        parts.append(line)
        length = int(line.partition(b";")[0], 16)
        if not length:
            break
        size += length
        if size > MAX_BODY_BYTES:
            raise BrokenHttp(f"a body of more than {MAX_BODY_BYTES} bytes")
        parts.append(await reader.readexactly(length + 2))
    while parts[-1] != b"\r\n":  # trailers, up to the empty line
        parts.append(await reader.readuntil(b"\r\n"))
    return b"".join(parts)

"""Requests, answers and how an answer becomes bytes."""

from __future__ import annotations

import gzip
from email.utils import formatdate
from http import HTTPStatus

import msgspec

JSON_TYPE = "application/json; charset=utf-8"

# Shorter bodies grow when compressed.
GZIP_BYTES_MIN = 200

# Kind of answers that the statistics leave out.
UNCOUNTED = "control"

_REASONS = {status.value: status.phrase for status in HTTPStatus}
# Answers that have no body, whatever was computed for them (RFC 9110, 6.4.1).
NO_BODY = frozenset({204, 304})


class Request(msgspec.Struct, gc=False):
    """One request as it came.

    Attributes:
        method: upper case.
        target: path and query, exactly as sent.
        headers: names in lower case; of a repeated one the last.
        body: whole.
        keep_alive: whether the connection may serve another one after it.
    """

    method: str
    target: str
    headers: dict[bytes, bytes]
    body: bytes = b""
    keep_alive: bool = True

    def header(self, name: bytes) -> str:
        """A header's text, or an empty one."""
        return self.headers.get(name, b"").decode("latin-1")


class Delivery(msgspec.Struct, frozen=True):
    """How an answer is put on the wire when it is not simply written.

    Attributes:
        delay_s: wait before the first byte.
        reset_at: send this many bytes of the body, then reset the connection; -1 resets before
            the answer.
        stall_at: send this many bytes of the body, then wait ``stall_s`` before the rest.
        stall_s: length of that wait, seconds.
        length_error: added to the true Content-Length; the connection closes after the body.
        filler_bytes: a body of this many bytes is made up while it is sent.
    """

    delay_s: float = 0.0
    reset_at: int | None = None
    stall_at: int | None = None
    stall_s: float = 0.0
    length_error: int = 0
    filler_bytes: int = 0


class Answer(msgspec.Struct, gc=False):
    """One answer.

    Attributes:
        status: HTTP status.
        body: as sent, after any compression.
        headers: besides Date, Content-Length and Connection, which the protocol adds.
        kind: what was asked for, a few words for the statistics.
        delivery: ``None`` is written at once and whole.
        close: close the connection after it.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    delivery: Delivery | None = None
    close: bool = False

    def with_headers(self, *headers: tuple[str, str]) -> Answer:
        """The same answer with more headers."""
        return msgspec.structs.replace(self, headers=(*self.headers, *headers))

    def header(self, name: str) -> str:
        """A header's value, or an empty text; names match in any case."""
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), "")


def json_answer(status: int, value: object, kind: str = "") -> Answer:
    """An answer whose body is this value as JSON."""
    return Answer(
        status, msgspec.json.encode(value), headers=(("Content-Type", JSON_TYPE),), kind=kind
    )


def takes_gzip(request: Request) -> bool:
    """Whether the client says that it takes compressed bodies."""
    return "gzip" in request.header(b"accept-encoding")


def compressed(answer: Answer) -> Answer:
    """The answer with its body compressed, unless that is too short."""
    if len(answer.body) < GZIP_BYTES_MIN:
        return answer
    body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return msgspec.structs.replace(answer, body=body).with_headers(
        ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")
    )


class Head:
    """Writes the head of an answer; the Date line is made once a second."""

    def __init__(self) -> None:
        self._date_s = -1
        self._date_line = ""

    def encode(self, answer: Answer, method: str, now_s: float, *, close: bool) -> bytes:
        """Status line and headers up to the empty line.

        Args:
            answer: what is sent.
            method: of the request; the answer to HEAD tells no length of a body it has not.
            now_s: seconds since the epoch.
            close: whether the connection closes after it.
        """
        second = int(now_s)
        if second != self._date_s:
            self._date_s = second
            self._date_line = f"Date: {formatdate(second, usegmt=True)}\r\n"
        status = answer.status
        parts = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n", self._date_line]
        parts.extend(f"{name}: {value}\r\n" for name, value in answer.headers)
        if status not in NO_BODY and method != "HEAD":
            parts.append(f"Content-Length: {_length(answer)}\r\n")
        if close:
            parts.append("Connection: close\r\n")
        parts.append("\r\n")
        return "".join(parts).encode("latin-1", "replace")


def _length(answer: Answer) -> int:
    delivery = answer.delivery
    if delivery is None:
        return len(answer.body)
    return max(0, (delivery.filler_bytes or len(answer.body)) + delivery.length_error)

"""One HTTP exchange with ARM: sent, read whole within limits, nothing followed, nothing retried.

The retry loop is not here on purpose: it belongs to the request, which may have to wait for longer
than anything here should last.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import pycurl

from pipeline.https import USER_AGENT, prepare
from pipeline.transfers import Transfers
from stages.execute.origin import Origin

# What goes out as it is; the rest of a link, e.g. a blank, is percent-encoded.
_CLEAN = re.compile(r"[!#-;=?-\[\]_a-z~]*")
_SAFE = "!#$%&'()*+,/:;=?@[]~"

# Headers of answers that anybody reads: ARM sends twenty others with each.
_READ = (
    "azure-asyncoperation",
    "etag",
    "location",
    "request-id",
    "retry-after",
    "x-ms-arg-",
    "x-ms-ratelimit-",
    "x-ms-request-id",
    "x-ms-resource-graph-",
    "x-ms-retry-after",
    "x-ms-user-quota-",
)
# Their names as servers spell them, known once seen.
MAX_NAMES_READ = 1_000
_NAMES_READ: dict[bytes, str] = {}

# Codes of libcurl, by the name that the ledger has for them. https://curl.se/libcurl/c/libcurl-errors.html
_NAMES = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "NewConnectionError",
    pycurl.E_COULDNT_RESOLVE_HOST: "NewConnectionError",
    pycurl.E_COULDNT_CONNECT: "NewConnectionError",
    pycurl.E_OPERATION_TIMEDOUT: "ConnectTimeoutError",
    pycurl.E_SSL_CONNECT_ERROR: "SSLError",
    pycurl.E_PEER_FAILED_VERIFICATION: "SSLError",
    pycurl.E_SSL_CACERT_BADFILE: "SSLError",
    pycurl.E_PARTIAL_FILE: "ProtocolError",
    pycurl.E_GOT_NOTHING: "ProtocolError",
    pycurl.E_SEND_ERROR: "ProtocolError",
    pycurl.E_RECV_ERROR: "ProtocolError",
    pycurl.E_BAD_CONTENT_ENCODING: "DecodeError",
}


class ExchangeFailed(Exception):
    """No whole answer came.

    Args:
        code: short and stable, e.g. ``ReadTimeoutError``.
        problem: what happened.
        retryable: another try may get one.
        sent: ARM may have had the request, and acted on it.
        sends: how often it was sent.
    """

    def __init__(
        self,
        code: str,
        problem: str,
        *,
        retryable: bool = True,
        sent: bool = True,
        sends: int = 1,
    ) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem
        self.retryable = retryable
        self.sent = sent
        self.sends = sends


@dataclass(slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status code.
        headers: by their names in lower case; those that are read.
        body: decompressed.
        sends: how often the request was sent: libcurl sends it again, without a word, when a kept
            connection turns out to be closed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sends: int = 1


# Told what came of an exchange.
Told = Callable[[Answer | ExchangeFailed], None]


class ArmClient:
    """Exchanges with one origin, over connections that are kept.

    Args:
        origin: the configured ARM endpoint.
        transfers: of this process.
        connect_timeout_s: to open a connection.
        read_timeout_s: without a byte from the server.
        answer_timeout_s: for all of an exchange, however steadily the answer drips.
        max_body_bytes: of an answer, decompressed.

    Raises:
        OSError: the authorities that are trusted cannot be read.
    """

    def __init__(
        self,
        origin: Origin,
        transfers: Transfers,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        answer_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self.read_timeout_s = read_timeout_s
        self.answer_timeout_s = answer_timeout_s
        self.max_body_bytes = max_body_bytes
        self._origin = origin
        self._base = str(origin)
        self._transfers = transfers
        self._connect_timeout_ms = max(1, round(connect_timeout_s * 1000))
        # Handles that are set up, and free.
        self._free = [_Exchange(self._handle(), self)]

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: str,
        told: Told,
        *,
        repeatable: bool = True,
    ) -> None:
        """Ask once.

        Args:
            method: HTTP method.
            target: path and query on the origin, starting with ``/``.
            headers: of the message; they never name one of ours.
            body: JSON text, or None.
            token: bearer token; it goes to the configured origin only.
            told: called in a later turn of the loop with what came of it.
            repeatable: it may be sent again on another connection if a kept one turns out to be
                closed, as HTTP allows for what is safe to repeat.

        Raises:
            ExchangeFailed: the request cannot be sent as it is.
        """
        if not (token.isascii() and token.isprintable()):
            problem = "the access token holds what no header takes, e.g. a line break"
            raise ExchangeFailed("BadToken", problem, retryable=False, sent=False)
        if not _CLEAN.fullmatch(target):
            target = quote(target, safe=_SAFE)
        exchange = self._free.pop() if self._free else _Exchange(self._handle(), self)
        try:
            exchange.begin(method, self._base + target, headers, body, token, told, repeatable)
            self._transfers.add(exchange)
        except (pycurl.error, ValueError) as error:
            raise ExchangeFailed(
                type(error).__name__, str(error), retryable=False, sent=False
            ) from error

    def done(self, exchange: _Exchange) -> None:
        """A handle is free again."""
        self._free.append(exchange)

    def _handle(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        origin = self._origin
        prepare(curl, origin.scheme, origin.host, origin.port)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, self._connect_timeout_ms)
        curl.setopt(pycurl.ACCEPT_ENCODING, "gzip")
        return curl


class _Exchange:
    """An easy handle that is used for one exchange after the other."""

    def __init__(self, curl: pycurl.Curl, client: ArmClient) -> None:
        self.curl = curl
        self._client = client
        # What the handle is set to.
        self._method = "GET"
        self._token = ""
        self._plain = False
        self._fresh = False
        self._lines_bytes = 0
        # Of the exchange under way.
        self._told: Told | None = None
        self._lines: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._began_s = 0.0
        self._moved_s = 0.0
        self._seen = 0.0
        self._request_bytes = 1
        curl.setopt(pycurl.WRITEFUNCTION, self._take)
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)

    def begin(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: str,
        told: Told,
        repeatable: bool,
    ) -> None:
        """Set the handle up for a request."""
        curl = self.curl
        curl.setopt(pycurl.URL, url)
        if method != self._method or method != "GET":
            self._set_method(method, body)
        plain = not headers and body is None
        if not (plain and self._plain and token == self._token):
            lines = _header_lines(headers, body, token)
            curl.setopt(pycurl.HTTPHEADER, lines)
            self._lines_bytes = sum(map(len, lines))
            self._plain, self._token = plain, token
        if self._fresh == repeatable:
            self._fresh = not repeatable
            curl.setopt(pycurl.FRESH_CONNECT, int(self._fresh))
        # Without what libcurl adds.
        self._request_bytes = len(url) + self._lines_bytes + len(body or b"")
        self._lines.clear()
        self._parts = []
        self._size = 0
        self._seen = 0.0
        self._began_s = self._moved_s = time.monotonic()
        self._told = told

    def ended(self, code: int, problem: str) -> None:
        """See :class:`pipeline.transfers.Transfer`."""
        if code == 0:
            try:
                self._finish(self._answer())
            except ValueError as error:
                self._finish(ExchangeFailed("ProtocolError", str(error)))
            return
        if code == pycurl.E_WRITE_ERROR and self._size > self._client.max_body_bytes:
            problem = f"the answer is larger than {self._client.max_body_bytes} bytes"
            self._finish(ExchangeFailed("ResponseTooLarge", problem, retryable=False))
            return
        if (errno := self.curl.getinfo(pycurl.OS_ERRNO)) and not self._sent():
            problem = f"{problem}: {os.strerror(errno)}"
        name = _NAMES.get(code, f"Curl{code}")
        self._finish(ExchangeFailed(name, problem, sent=self._sent(), sends=self._sends()))

    def is_overdue(self, now_s: float) -> bool:
        """See :class:`pipeline.transfers.Transfer`."""
        curl, client = self.curl, self._client
        if now_s - self._began_s > client.answer_timeout_s:
            return True
        seen = curl.getinfo(pycurl.SIZE_DOWNLOAD_T) + curl.getinfo(pycurl.HEADER_SIZE)
        if seen != self._seen or not self._sent():  # until then the time to connect counts
            self._seen = seen
            self._moved_s = now_s
        return now_s - self._moved_s >= client.read_timeout_s

    def given_up(self) -> None:
        """See :class:`pipeline.transfers.Transfer`."""
        client = self._client
        if time.monotonic() - self._began_s > client.answer_timeout_s:
            problem = f"no whole answer within {client.answer_timeout_s:.0f} s"
            self._finish(ExchangeFailed("AnswerTimeout", problem, sent=self._sent()))
        else:
            problem = f"no byte came for {client.read_timeout_s:g} s"
            self._finish(ExchangeFailed("ReadTimeoutError", problem))

    def _finish(self, outcome: Answer | ExchangeFailed) -> None:
        told, self._told = self._told, None
        self._parts = []
        self._client.done(self)
        assert told is not None
        told(outcome)

    def _take(self, data: bytes) -> int | None:
        """Called by libcurl with a piece of the body."""
        self._size += len(data)
        if self._size > self._client.max_body_bytes:
            return 0  # ends the transfer
        self._parts.append(data)
        return None

    def _answer(self) -> Answer:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return Answer(status, _headers_of(self._lines), body, self._sends())

    def _sends(self) -> int:
        curl = self.curl
        if not curl.getinfo(pycurl.NUM_CONNECTS):
            return 1
        return max(1, int(curl.getinfo(pycurl.REQUEST_SIZE)) // self._request_bytes)

    def _sent(self) -> bool:
        return int(self.curl.getinfo(pycurl.REQUEST_SIZE)) > 0

    def _set_method(self, method: str, body: bytes | None) -> None:
        curl = self.curl
        curl.unsetopt(pycurl.CUSTOMREQUEST)
        if method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body or b"")
        elif method == "HEAD":
            curl.setopt(pycurl.HTTPGET, 1)
            curl.setopt(pycurl.NOBODY, 1)
        else:
            curl.setopt(pycurl.HTTPGET, 1)  # which undoes the others
            if method != "GET":
                curl.setopt(pycurl.CUSTOMREQUEST, method)
        self._method = method


def _header_lines(headers: Mapping[str, str], body: bytes | None, token: str) -> list[bytes]:
    ours = {
        "accept": ("Accept", "application/json"),
        "user-agent": ("User-Agent", USER_AGENT),
        "expect": ("Expect", None),  # libcurl would ask for a 100 before a long body
        "content-type": ("Content-Type", "application/json" if body is not None else None),
    }
    # The message may spell a header in another case; it must not go out twice.
    ours |= {name.lower(): (name, value) for name, value in headers.items()}
    ours["authorization"] = ("Authorization", f"Bearer {token}")
    return [_line(name, value) for name, value in ours.values()]


def _line(name: str, value: str | None) -> bytes:
    if value is None:
        return f"{name}:".encode()  # takes libcurl's own away
    # "Name;" is how libcurl is told of one that is empty.
    return (f"{name}: {value}" if value else f"{name};").encode("latin-1")


def _headers_of(lines: list[bytes]) -> dict[str, str]:
    """The headers of the last answer; what came before it was a 100, or a proxy's."""
    headers: dict[str, str] = {}
    for line in lines:
        if line.startswith(b"HTTP/"):
            headers = {}
            continue
        spelled, colon, value = line.partition(b":")
        name = _NAMES_READ.get(spelled)
        if name is None:
            name = _name_read(spelled)
        if name and colon:
            text = value.strip().decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _name_read(spelled: bytes) -> str:
    """A header's name in lower case; empty if nobody reads that one."""
    name = spelled.decode("latin-1").lower()
    if not name.startswith(_READ):
        name = ""
    if len(_NAMES_READ) < MAX_NAMES_READ:
        _NAMES_READ[spelled] = name
    return name

"""Receive, renew, release and delete over the queue's REST API: what is done for every message.

The Storage SDK spends more processor time on such a call than the rest of the collector on the
message; so it keeps the settings and what is seldom done, and these calls are made here.
https://learn.microsoft.com/rest/api/storageservices/operations-on-messages
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import ssl
import string
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree
from xml.parsers import expat

import msgspec

from pipeline.errors import DependencyError
from stages.fetch import queue
from stages.fetch.curl_calls import Answer, CurlCalls, Limits
from stages.fetch.queue_auth import Authority
from stages.fetch.storage_sdk import QueueClient

# Azure Queue Storage gives at most so many a call.
RECEIVE_MESSAGES = 32
# A receive is a write of up to 32 messages: it may be silent for so much longer than the others.
# One that is given up hides what it has leased until that lease ends.
RECEIVE_PATIENCE = 5
# A page of messages has at most 2 MiB. Longest time for it, and for the other answers, which are
# small: as long as silence may last.
RECEIVE_LIMIT_S = 60.0
# A message is no longer, as stored.
TEXT_BUFFER_BYTES = 65_536
# Answers that say that it may go better next time, besides all of 500 and more but for these.
_BUSY = 408
_NEVER = (501, 505)
# Nothing was done: the service is busy, or does not know what is asked for.
_NOT_DONE = (503, *_NEVER)
# What was asked did not get there.
_NOT_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLError)
# What stands for itself in a URL, RFC 3986; quote() takes long over a pop receipt.
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_ESCAPES = {at: f"%{at:02X}" for at in range(128) if chr(at) not in _UNRESERVED}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message as leased from the queue."""

    id: str
    pop_receipt: str
    text: str
    dequeue_count: int
    inserted_at: datetime


class QueueRest:
    """The calls of one queue. Each is tried again as often as the SDK's are.

    Args:
        client: of the queue; says where it is.
        authority: says who we are.
        calls: connections to the queue's server.
        unheard: called with the queue's name after a receive that may have been done, but whose
            answer was lost.
    """

    def __init__(
        self,
        client: QueueClient,
        authority: Authority,
        calls: CurlCalls,
        unheard: Callable[[str], None],
    ) -> None:
        self._name = str(client.queue_name)
        parts = urlsplit(client.url)
        self._authority = authority
        self._calls = calls
        self._unheard = unheard
        self._path = f"{parts.path}/messages"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc.rpartition("@")[2]
        self._sas = f"&{parts.query}" if parts.query else ""
        self._version = client.api_version
        self._id = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._date_s = 0
        self._date = ""

    async def receive(self, visibility_s: int) -> list[Received]:
        """Lease up to 32 messages.

        Raises:
            DependencyError: the queue did not give any.
        """
        query = (("numofmessages", str(RECEIVE_MESSAGES)), ("visibilitytimeout", str(visibility_s)))
        silence_s = RECEIVE_PATIENCE * queue.READ_TIMEOUT_S
        limits = Limits(queue.CONNECT_TIMEOUT_S, silence_s, RECEIVE_LIMIT_S)
        answer = await self._ask("GET", self._path, query, limits)
        try:
            return messages(answer.body)
        except (expat.ExpatError, KeyError, ValueError) as error:
            self._unheard(self._name)
            problem = f"{self._name}: an answer that is no list of messages ({error})"
            raise DependencyError(queue.WHAT, problem) from error

    async def delete(self, message_id: str, pop_receipt: str) -> None:
        """Delete a message for good.

        Raises:
            LeaseLost: someone else has the message, or it is gone.
            DependencyError: the queue did not answer.
        """
        await self._ask(
            "DELETE", self._of(message_id), (("popreceipt", pop_receipt),), _small_limits()
        )

    async def hide(
        self, message_id: str, pop_receipt: str, after_s: int, silence_s: float | None = None
    ) -> str:
        """Let a leased message be visible after so many seconds.

        Args:
            message_id: which.
            pop_receipt: its current one.
            after_s: 0 is at once.
            silence_s: longest time for one try.

        Returns:
            The new pop receipt.

        Raises:
            LeaseLost: someone else has the message, or it is gone.
            DependencyError: the queue did not answer.
        """
        # Without visibilitytimeout the message would be visible at once.
        query = (("popreceipt", pop_receipt), ("visibilitytimeout", str(after_s)))
        answer = await self._ask("PUT", self._of(message_id), query, _small_limits(silence_s))
        return answer.header("x-ms-popreceipt")

    def _of(self, message_id: str) -> str:
        return f"{self._path}/{_quoted(message_id)}"

    async def _ask(
        self, method: str, path: str, query: Sequence[tuple[str, str]], limits: Limits
    ) -> Answer:
        retries = queue.RETRIES
        challenged = False
        while True:
            await self._authority.ready()
            try:
                # The kept connections may be as dead as the one that failed.
                answer = await self._once(method, path, query, limits, retries < queue.RETRIES)
            except OSError as error:
                if method == "GET" and not isinstance(error, _NOT_SENT):
                    self._unheard(self._name)
                if not retries:
                    raise queue.no_answer(error, self._host, self._name) from error
            else:
                if answer.status < 300:
                    return answer
                if answer.status == 401 and not challenged:
                    challenged = True
                    if await self._authority.challenged(answer.header("www-authenticate")):
                        continue
                again = answer.status == _BUSY or (
                    answer.status >= 500 and answer.status not in _NEVER
                )
                if method == "GET" and answer.status >= 500 and answer.status not in _NOT_DONE:
                    self._unheard(self._name)
                if not again or not retries:
                    raise self._refused(answer)
            retries -= 1
            most_s = queue.RETRY_WAIT_S + queue.RETRY_JITTER_S
            await asyncio.sleep(random.uniform(queue.RETRY_WAIT_S - queue.RETRY_JITTER_S, most_s))

    async def _once(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        limits: Limits,
        fresh: bool,
    ) -> Answer:
        now_s = int(time.time())
        if now_s != self._date_s:
            self._date_s, self._date = now_s, formatdate(now_s, usegmt=True)
        call_id = f"{self._id}-{next(self._numbers)}"
        x_ms = (
            f"x-ms-client-request-id:{call_id}\nx-ms-date:{self._date}\n"
            f"x-ms-version:{self._version}\n"
        )
        headers = x_ms.split("\n")
        headers[-1] = "Accept: application/xml"
        if (value := self._authority.header(method, path, query, x_ms)) is not None:
            headers.append(f"Authorization: {value}")
        if method == "PUT":
            headers.append("Content-Length: 0")
        arguments = "&".join([f"{name}={_quoted(value)}" for name, value in query])
        url = f"{self._origin}{path}?{arguments}{self._sas}"
        return await self._calls.call(method, url, headers, limits, fresh=fresh)

    def _refused(self, answer: Answer) -> Exception:
        code = answer.header("x-ms-error-code") or error_code(answer.body)
        if code in queue.RECEIPT_CODES:
            return queue.LeaseLost(code)
        reason = answer.head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")[2][4:]
        return queue.refusal(answer.status, code, reason, self._name)


def _small_limits(silence_s: float | None = None) -> Limits:
    silence_s = queue.READ_TIMEOUT_S if silence_s is None else silence_s
    # So little comes back that all of it takes no longer than its first byte.
    return Limits(min(queue.CONNECT_TIMEOUT_S, silence_s), silence_s, silence_s)


def _quoted(value: str) -> str:
    """Percent-encoded, to be one part of a URL."""
    return value.translate(_ESCAPES) if value.isascii() else quote(value, safe="")


def messages(body: bytes) -> list[Received]:
    """Read an answer to Get Messages.

    Raises:
        ExpatError, KeyError, ValueError: it is none.
    """
    received: list[Received] = []
    fields: dict[str, str] = {}
    text: list[str] = []

    def start(_name: str, _attributes: dict[str, str]) -> None:
        text.clear()

    def end(name: str) -> None:
        fields[name] = "".join(text)
        text.clear()
        if name == "QueueMessage":
            received.append(_received(fields))
            fields.clear()

    parser = expat.ParserCreate()
    # A text comes in one piece instead of one for each `&quot;` in it.
    parser.buffer_text = True
    parser.buffer_size = TEXT_BUFFER_BYTES
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.Parse(body, True)
    if "QueueMessagesList" not in fields:
        raise ValueError("no QueueMessagesList")
    return received


def _received(fields: dict[str, str]) -> Received:
    return Received(
        id=fields["MessageId"],
        pop_receipt=fields["PopReceipt"],
        text=fields["MessageText"],
        dequeue_count=int(fields["DequeueCount"]),
        inserted_at=_time(fields["InsertionTime"]),
    )


def error_code(body: bytes) -> str:
    """The service's error code in the body of a refusal, or ``""``."""
    try:
        return ElementTree.XML(body).findtext("Code") or ""
    except ElementTree.ParseError:
        return ""


@lru_cache(maxsize=256)
def _time(text: str) -> datetime:
    """A date of HTTP, as ``Sun, 06 Nov 1994 08:49:37 GMT``."""
    _, day, month, year, clock, _ = text.split(" ")
    hour, minute, second = clock.split(":")
    at = _MONTHS.index(month) + 1
    return datetime(int(year), at, int(day), int(hour), int(minute), int(second), tzinfo=UTC)

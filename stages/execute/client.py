"""One HTTP exchange with ARM: sent, read whole within limits, nothing followed, nothing retried.

The retry loop is not here on purpose: urllib3's own would sleep a thread for as long as a
Retry-After says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from pipeline import __version__
from pipeline.https import connection_pool
from stages.execute.origin import Origin

# Read at once from the connection.
READ_BYTES = 256 * 1024

USER_AGENT = f"azure-cloud-collector/{__version__}"


class ExchangeFailed(Exception):
    """No whole answer came.

    Args:
        code: short and stable, e.g. ``ReadTimeout``.
        problem: what happened.
        retryable: another try may get one.
        sent: ARM may have had the request, and acted on it.
    """

    def __init__(
        self, code: str, problem: str, *, retryable: bool = True, sent: bool = True
    ) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem
        self.retryable = retryable
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: HTTP status code.
        headers: case-insensitive.
        body: decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class ArmClient:
    """Connections to one origin, shared by the threads of a process.

    Args:
        origin: the configured ARM endpoint.
        connections: kept open; one a thread.
        connect_timeout_s: to open a connection.
        read_timeout_s: without a byte from the server.
        answer_timeout_s: to read a body, however steadily it drips.
        max_body_bytes: of an answer, decompressed.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        connections: int,
        connect_timeout_s: float,
        read_timeout_s: float,
        answer_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._max_body_bytes = max_body_bytes
        self._pool = connection_pool(
            origin.scheme,
            origin.host,
            origin.port,
            timeout=urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s),
            connections=connections,
        )
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": USER_AGENT,
        }

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, token: str
    ) -> Answer:
        """Ask once.

        Args:
            method: HTTP method.
            target: path and query on the origin, starting with ``/``.
            headers: of the message; they never name one of ours.
            body: JSON text, or None.
            token: bearer token; it goes to the configured origin only.

        Raises:
            ExchangeFailed: no whole answer came.
        """
        if not (token.isascii() and token.isprintable()):
            # http.client would say so too, and quote the token.
            problem = "the access token holds what no header takes, e.g. a line break"
            raise ExchangeFailed("BadToken", problem, retryable=False, sent=False)
        sent: Mapping[str, str] = self._headers
        if headers or body is not None:
            # The message may spell a header in another case; it must not go out twice.
            sent = urllib3.HTTPHeaderDict(sent)
            if body is not None:
                sent["Content-Type"] = "application/json"
            for name, value in headers.items():
                sent[name] = value
        sent = {**sent, "Authorization": f"Bearer {token}"}
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=body,
                headers=sent,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
            try:
                read = self._read(response)
            except BaseException:
                # What is left of the answer must not be taken for the next one's.
                response.close()
                raise
            response.release_conn()
        except (ConnectTimeoutError, NewConnectionError) as error:
            raise ExchangeFailed(type(error).__name__, _plain(error), sent=False) from error
        except HTTPError as error:
            raise ExchangeFailed(type(error).__name__, _plain(error)) from error
        except (OSError, ValueError) as error:
            raise ExchangeFailed(type(error).__name__, str(error)) from error
        return Answer(response.status, response.headers, read)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _read(self, response: BaseHTTPResponse) -> bytes:
        parts = []
        size = 0
        until_s = time.monotonic() + self._answer_timeout_s
        # read1(), because read() would gather a dripping body for as long as it drips.
        while data := response.read1(READ_BYTES, decode_content=True):
            size += len(data)
            if time.monotonic() > until_s:
                raise ExchangeFailed(
                    "AnswerTimeout", f"no whole answer within {self._answer_timeout_s:.0f} s"
                )
            if size > self._max_body_bytes:
                raise ExchangeFailed(
                    "ResponseTooLarge",
                    f"the answer is larger than {self._max_body_bytes} bytes",
                    retryable=False,
                )
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _plain(error: HTTPError) -> str:
    # urllib3 puts the pool's repr before the reason; the reason is what helps.
    return str(error).rpartition("): ")[2] or str(error)

"""Calls of Azure Resource Manager for the commands that check: one try each, nothing followed."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import urllib3

from pipeline.connection_pool import connection_pool
from pipeline.errors import Unreachable
from pipeline.network_errors import network_fault
from pipeline.undecodable import UNDECODABLE

WHAT = "Azure Resource Manager"
# Of an answer so much is read.
ANSWER_MAX_BYTES = 4 << 20
# Of an error code so much is told.
CODE_MAX_CHARS = 80


class ArmReader:
    """Connections to the configured origin of ARM; threads may share it.

    Args:
        endpoint: scheme, host and port.
        connect_timeout_s: to connect.
        read_timeout_s: longest silence of an answer.
        connections: kept open.

    Attributes:
        host: with its port, for people.

    Raises:
        Unreachable: the authorities that are trusted cannot be read.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        connections: int = 1,
    ) -> None:
        parts = urlsplit(endpoint)
        self.host = parts.netloc
        port = parts.port or (443 if parts.scheme == "https" else 80)
        timeout = urllib3.Timeout(connect=connect_timeout_s, read=read_timeout_s)
        try:
            self._pool = connection_pool(
                parts.scheme, parts.hostname or "", port, timeout=timeout, connections=connections
            )
        except OSError as error:
            raise self._unreachable(error) from error

    def get(self, target: str, token: str) -> tuple[int, bytes]:
        """One GET that follows nothing: the token goes to the configured origin only.

        Args:
            target: path and query.
            token: a bearer token for ARM.

        Returns:
            Status and decompressed body, at most :data:`ANSWER_MAX_BYTES` of it.

        Raises:
            Unreachable: no answer came.
        """
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            answer = self._pool.urlopen(
                "GET", target, headers=headers, retries=False, redirect=False, preload_content=False
            )
            try:
                # A connection whose answer was read to its end is in the pool again by now.
                return answer.status, answer.read(ANSWER_MAX_BYTES, decode_content=True)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        unknown = (f"{self.host}: {type(error).__name__}", "")
        problem, hint = network_fault(error, self.host) or unknown
        return Unreachable(WHAT, problem, hint)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def error_code(body: bytes) -> str:
    """The code of ARM's error, e.g. ``AuthorizationFailed``; "" if the answer has none."""
    try:
        return msgspec.json.decode(body, type=_ErrorAnswer).error.code[:CODE_MAX_CHARS]
    except UNDECODABLE:
        return ""


class _ErrorBody(msgspec.Struct):
    code: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody = msgspec.field(default_factory=_ErrorBody)

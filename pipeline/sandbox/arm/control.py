"""A small client of ``/_simulator/`` for tests and demos."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from pipeline.errors import SandboxError

TIMEOUT_S = 30.0


class SimulatorControl:
    """Talks to a running simulator; one connection a call.

    Args:
        endpoint: scheme, host and port, as the simulator printed it.
        context: for a simulator that speaks TLS.
    """

    def __init__(self, endpoint: str, context: ssl.SSLContext | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._parts = urlsplit(self.endpoint)
        self._context = context

    def faults(self, faults: Iterable[Mapping[str, Any]]) -> None:
        """Have these faults and no others, e.g. ``[{"kind": "throttle", "first": 2}]``."""
        self._call("PUT", "faults", list(faults))

    def recordings(self, recordings: Iterable[Mapping[str, Any]], *, add: bool = False) -> int:
        """Serve these answers; how many there are now."""
        found = self._call("POST" if add else "PUT", "recordings", list(recordings))
        return int(found["recordings"])

    def stats(self) -> dict[str, Any]:
        """What was counted since the start or the last reset."""
        return self._call("GET", "stats")

    def reset(self) -> None:
        """As at the start."""
        self._call("POST", "reset")

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings, and have all of them."""
        return self._call("PUT", "settings", changes) if changes else self._call("GET", "settings")

    def expected(self, target: str, method: str = "GET", body: Any = None) -> dict[str, Any]:
        """What rows a request has over all pages: ``status``, ``count`` and ``ids``.

        Also ``digests``, in hex, but of a question to Resource Graph and of a directory's lists:
        BLAKE2b of each row's text, 16 bytes long.
        """
        if method == "GET":
            return self._call("GET", f"expected?target={quote(target, safe='')}")
        return self._call("POST", "expected", {"target": target, "method": method, "body": body})

    def catalogue(self) -> dict[str, Any]:
        """Subscriptions, resource groups, and types with how many each subscription has."""
        return self._call("GET", "catalogue")

    def _call(self, method: str, what: str, body: Any = None) -> dict[str, Any]:
        connection = self._connect()
        try:
            payload = None if body is None else msgspec.json.encode(body)
            connection.request(method, f"/_simulator/{what}", payload)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise SandboxError(
                f"The simulator at {self.endpoint} did not answer: {error}"
            ) from error
        finally:
            connection.close()
        found: dict[str, Any] = msgspec.json.decode(text)
        if response.status != 200:
            raise SandboxError(
                f"The simulator refused {method} {what}: {found['error']['message']}"
            )
        return found

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

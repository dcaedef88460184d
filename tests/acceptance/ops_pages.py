"""The pages of a running collector as a scraper, a probe and an operator ask for them."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests import secrets_seen
from tests.acceptance.command import assert_no_secret

PREFIX = "azure_collector_"
ANSWER_LIMIT_S = 5.0
PATHS = ("/healthz", "/readyz", "/metrics", "/status")


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class OpsPages:
    """Asks a collector with these settings; no answer of it may hold a secret of theirs.

    Args:
        settings: its environment, with OPS_PORT and perhaps OPS_TOKEN.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._port = int(settings["OPS_PORT"])
        token = settings.get("OPS_TOKEN")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, str]:
        """Status and body; 0 while nobody listens."""
        sent = self._headers if headers is None else headers
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_LIMIT_S)
        try:
            connection.request(method, path, headers=dict(sent))
            answer = connection.getresponse()
            body = answer.read().decode()
        except (ConnectionError, http.client.RemoteDisconnected):
            return 0, ""
        finally:
            connection.close()
        secrets_seen.said(body, path)
        assert_no_secret(f"{answer.getheaders()}{body}", self._settings)
        return answer.status, body

    def code(self, path: str) -> int:
        """Status of a page; 0 while nobody listens."""
        return self.ask(path)[0]

    def status(self) -> dict[str, Any]:
        """What ``/status`` says."""
        code, body = self.ask("/status")
        assert code == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Each sample of ``/metrics``, without the prefix of its name."""
        code, body = self.ask("/metrics")
        assert code == 200, body
        return samples(body)

    def metric(self, name: str, **labels: str) -> float:
        """One sample."""
        return self.metrics()[(name, frozenset(labels.items()))]


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of a page, as Prometheus' own client reads it."""
    return {
        (one.name.removeprefix(PREFIX), frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


def grows(name: str) -> bool:
    """Whether a sample of this name may never go down."""
    return name.endswith(("_total", "_count", "_sum", "_bucket"))

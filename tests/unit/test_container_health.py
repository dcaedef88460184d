"""The image's health check: exit code 0 or 1, as ``/healthz`` says."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "docker" / "healthcheck.py"


@pytest.fixture(scope="module")
def health() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers ``/healthz`` so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_a_container_is_as_well_as_its_collector_says(
    health: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    with answering(status) as port:
        monkeypatch.setenv("OPS_PORT", str(port))
        monkeypatch.setenv("OPS_HOST", "0.0.0.0")
        assert health.main() == code


def test_a_collector_that_does_not_answer_is_not_well_and_one_without_a_port_cannot_be_asked(
    health: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200) as port:
        pass
    monkeypatch.setenv("OPS_PORT", str(port))
    assert health.main() == 1
    monkeypatch.setenv("OPS_PORT", "0")
    assert health.main() == 0

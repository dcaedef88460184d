"""The fault proxy of the chaos tests does to a client what each of its faults says."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.acceptance.chaos.proxy import HOST, FaultProxy
from tests.acceptance.chaos.troubles import Service
from tests.processes import open_descriptors, until

# A client's patience: longer than anything takes here that is not silent.
PATIENCE_S = 5.0
# How long silence has to last to be one.
SILENCE_S = 0.3
LARGE = 3 * 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    """Says what it was sent, in the manner that the path asks for."""

    protocol_version = "HTTP/1.1"
    seen: list[str]

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        body = self._body()
        self.seen.append(f"{self.command} {self.path}")
        if self.path == "/nothing":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(body), 100_000):
                part = body[start : start + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\nX-Trailer: end\r\n\r\n")
        elif self.path == "/until-closed":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) or 2))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body or b"ok")

    do_POST = do_PUT = do_HEAD = do_GET

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


@pytest.fixture
def seen() -> list[str]:
    """Requests that the service has seen."""
    return []


@pytest.fixture
def server(seen: list[str]) -> Iterator[ThreadingHTTPServer]:
    handler = type("Seeing", (Handler,), {"seen": seen})
    with ThreadingHTTPServer((HOST, 0), handler) as service:
        service.daemon_threads = True
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: ThreadingHTTPServer) -> Iterator[FaultProxy]:
    with FaultProxy(HOST, server.server_address[1]) as standing:
        yield standing


@contextmanager
def client(proxy: FaultProxy, limit_s: float = PATIENCE_S) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(HOST, proxy.port, timeout=limit_s)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, path: str = "/", method: str = "GET") -> bytes:
    connection.request(method, path)
    return connection.getresponse().read()


# ── without a fault ──────────────────────────────────────────────────────────────────────────────


def test_what_passes_is_not_changed(proxy: FaultProxy, seen: list[str]) -> None:
    large = bytes(range(256)) * (LARGE // 256)
    with client(proxy) as connection:
        assert ask(connection) == b"ok"
        kept = connection.sock
        for path in ("/length", "/chunks"):
            connection.request("POST", path, large)
            assert connection.getresponse().read() == large
            parts = iter([large[:1_000_000], large[1_000_000:]])
            connection.request("POST", path, parts, encode_chunked=True)
            assert connection.getresponse().read() == large
        assert ask(connection, "/nothing", "PUT") == b""
        assert ask(connection, "/", "HEAD") == b""
        assert ask(connection, "/?a=b") == b"ok"
        assert connection.sock is kept
        connection.request("POST", "/until-closed", large)
        assert connection.getresponse().read() == large
    assert len(seen) == proxy.passed == proxy.requests.total() == 9
    assert proxy.requests["GET /"] == 2
    assert not proxy.counts


def test_many_clients_at_once(proxy: FaultProxy) -> None:
    def talk(_: int) -> bool:
        with client(proxy) as connection:
            return all(ask(connection) == b"ok" for _ in range(20))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(talk, range(16)))
    assert proxy.passed == 320


def test_a_service_that_lets_go_of_an_idle_connection_is_asked_on_a_new_one(
    server: ThreadingHTTPServer, proxy: FaultProxy
) -> None:
    with client(proxy) as connection:
        assert ask(connection, "/until-closed") == b""
        assert ask(connection) == b"ok"


# ── the faults ───────────────────────────────────────────────────────────────────────────────────


def test_latency(proxy: FaultProxy) -> None:
    proxy.fault("latency", first=1, latency_s=0.2)
    with client(proxy) as connection:
        began_s = time.monotonic()
        assert ask(connection) == b"ok"
        assert time.monotonic() - began_s >= 0.2
    assert proxy.counts == {"latency": 1}


def test_a_reset_before_the_service_has_the_request(proxy: FaultProxy, seen: list[str]) -> None:
    proxy.fault("reset", first=1)
    with client(proxy) as connection:
        with pytest.raises(ConnectionResetError):
            ask(connection)
        connection.close()
        assert seen == []
        assert ask(connection) == b"ok"
    assert proxy.counts == {"reset": 1}


@pytest.mark.parametrize("path", ["/length", "/chunks", "/nothing"])
def test_a_reset_in_the_middle_of_the_answer(path: str, proxy: FaultProxy, seen: list[str]) -> None:
    proxy.fault("reset_in_answer", first=1)
    with socket.create_connection((HOST, proxy.port), PATIENCE_S) as sock:
        body = b"0123456789" * 100
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(65_536):
                received += data
            pytest.fail("the answer ended, and the connection was not reset")
    assert received.startswith(b"HTTP/1.1 20")
    assert b"X-Trailer" not in received
    assert len(received) < len(body)
    assert seen == [f"POST {path}"]
    assert proxy.counts == {"reset_in_answer": 1}


def test_a_half_open_connection_stays_silent_while_others_are_served(
    proxy: FaultProxy, seen: list[str]
) -> None:
    proxy.fault("half_open", first=1)
    with client(proxy, SILENCE_S) as connection, client(proxy) as other:
        with pytest.raises(TimeoutError):
            ask(connection)
        assert ask(other, "/other") == b"ok"
    assert seen == ["GET /other"]
    assert proxy.counts == {"half_open": 1}


def test_an_idle_connection_that_was_forgotten_is_silent(
    proxy: FaultProxy, seen: list[str]
) -> None:
    with client(proxy, SILENCE_S) as connection, client(proxy) as other:
        assert ask(connection) == b"ok"
        assert proxy.forget() == 1
        with pytest.raises(TimeoutError):
            ask(connection, "/swallowed")
        assert ask(other) == b"ok"
    assert seen == ["GET /", "GET /"]
    assert proxy.counts == {"forgotten": 1}


def test_a_blackhole_holds_everything_until_it_is_healed(
    proxy: FaultProxy, seen: list[str]
) -> None:
    proxy.fault("blackhole")
    with (
        client(proxy, SILENCE_S) as gives_up,
        client(proxy) as waits,
        ThreadPoolExecutor(1) as pool,
    ):
        with pytest.raises(TimeoutError):
            ask(gives_up, "/late")
        waiting = pool.submit(ask, waits, "/waits")
        until(lambda: proxy.counts["blackhole"] == 2, PATIENCE_S)
        assert seen == []
        proxy.heal()
        assert waiting.result(PATIENCE_S) == b"ok"
        # As packets that are sent again: the client of this one has gone.
        until(lambda: len(seen) == 2, PATIENCE_S)
    assert sorted(seen) == ["GET /late", "GET /waits"]


def test_a_blackhole_holds_the_answers_too(proxy: FaultProxy) -> None:
    proxy.fault("latency", first=1, latency_s=0.2)
    with client(proxy) as connection, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, connection)
        until(lambda: proxy.counts["latency"], PATIENCE_S)
        proxy.fault("blackhole")
        with pytest.raises(TimeoutError):
            waiting.result(0.2 + SILENCE_S)
        proxy.heal()
        assert waiting.result(PATIENCE_S) == b"ok"


def plain(said: bytes) -> None:
    assert said in (b"Service Unavailable", b"Internal Server Error")


def arm(said: bytes) -> None:
    error = json.loads(said)["error"]
    assert error["code"] in ("ServiceUnavailable", "InternalServerError")
    assert error["message"]


def azure_storage(said: bytes) -> None:
    assert said.startswith(b"<?xml")
    assert b"<Code>ServerBusy</Code>" in said or b"<Code>InternalError</Code>" in said


@pytest.mark.parametrize(
    ("service", "check"), [("plain", plain), ("arm", arm), ("queue", azure_storage)]
)
def test_an_error_in_the_place_of_the_service(
    service: Service, check: Callable[[bytes], None], server: ThreadingHTTPServer, seen: list[str]
) -> None:
    with FaultProxy(HOST, server.server_address[1], service) as proxy, client(proxy) as connection:
        proxy.fault("status_5xx", first=2)
        connection.request("POST", "/", b"x" * LARGE)
        answer = connection.getresponse()
        assert answer.status in (500, 503)
        check(answer.read())
        code = answer.headers["x-ms-error-code"]
        assert (code in ("ServerBusy", "InternalError")) == (service == "queue")
        assert ask(connection, "/", "HEAD") == b""
        kept = connection.sock
        assert seen == []
        assert ask(connection) == b"ok"
        assert connection.sock is kept
        assert proxy.counts == {"status_5xx": 2}


def test_an_answer_that_is_lost_after_the_work_was_done(proxy: FaultProxy, seen: list[str]) -> None:
    proxy.fault("answer_lost", first=1)
    with client(proxy) as connection:
        with pytest.raises(ConnectionResetError):
            ask(connection, "/", "POST")
        assert seen == ["POST /"]
        connection.close()
        assert ask(connection) == b"ok"
    assert proxy.counts == {"answer_lost": 1}


def test_faults_befall_only_what_they_are_for(proxy: FaultProxy) -> None:
    proxy.fault("status_5xx", method="DELETE")
    proxy.fault("status_5xx", path=r"^/messages\?.*numof")
    with client(proxy) as connection:
        assert ask(connection, "/messages") == b"ok"
        assert ask(connection, "/messages?numofmessages=32") != b"ok"
        proxy.fault("status_5xx", says="^COMMIT$")
        for said, status in (
            (b"COMMITTED", 200),
            (b"COMMIT", 503),
            (gzip.compress(b"COMMIT"), 503),
        ):
            packed = {"Content-Encoding": "gzip"} if said[0] == 0x1F else {}
            connection.request("POST", "/", said, packed)
            answer = connection.getresponse()
            answer.read()
            assert (answer.status >= 500) == (status >= 500)
    assert proxy.counts == {"status_5xx": 3}


def test_chances_are_those_of_the_seed(server: ThreadingHTTPServer) -> None:
    def befallen() -> list[bool]:
        with FaultProxy(HOST, server.server_address[1], seed=7) as proxy:
            proxy.fault("status_5xx", chance=0.5)
            with client(proxy) as connection:
                return [ask(connection) != b"ok" for _ in range(40)]

    first = befallen()
    assert first == befallen()
    assert 8 < sum(first) < 32


# ── away, and the end ────────────────────────────────────────────────────────────────────────────


def test_a_service_that_is_away_refuses_and_comes_back_on_its_port(proxy: FaultProxy) -> None:
    with client(proxy) as connection:
        for _ in range(3):
            assert ask(connection) == b"ok"
            proxy.refuse()
            with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
                ask(connection)
            connection.close()
            with pytest.raises(ConnectionRefusedError):
                ask(connection)
            connection.close()
            proxy.serve()


def test_nothing_is_left_of_it(server: ThreadingHTTPServer) -> None:
    def used() -> int:
        with FaultProxy(HOST, server.server_address[1]) as proxy:
            with client(proxy) as idle, client(proxy, 0.05) as silent, client(proxy, 0.05) as held:
                ask(idle)
                proxy.fault("half_open", path="/silent")
                proxy.fault("blackhole", path="/held")
                for connection, path in ((silent, "/silent"), (held, "/held")):
                    with pytest.raises(TimeoutError):
                        ask(connection, path)
            return proxy.port

    threads = threading.active_count()
    descriptors = open_descriptors()
    port = used()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), PATIENCE_S)
    # The service's own side is still closing.
    until(lambda: threading.active_count() == threads, PATIENCE_S)
    until(lambda: open_descriptors() <= descriptors, PATIENCE_S)

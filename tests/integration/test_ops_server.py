"""The status pages' server: who is answered what, and who is not waited for."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.ops import connection, pages, server
from pipeline.ops.server import listen
from tests import secrets_seen
from tests.acceptance.ops_pages import samples
from tests.integration.ops_server import Client, ops_config, serving_pages

TOKEN = secrets_seen.secret("of-the-status-pages-1")
LIMIT_S = 10.0

Test = Callable[[Config], Awaitable[None]]


def run(test: Test, **settings: str) -> None:
    """Run a test beside the server."""

    async def main() -> None:
        config = ops_config(**settings)
        async with serving_pages(config), asyncio.timeout(LIMIT_S):
            await test(config)

    asyncio.run(main())


def test_pages_of_a_collector_that_has_not_started() -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            for path, code in (("/healthz", 503), ("/readyz", 503)):
                status, body = await client.ask(path)
                assert (status, json.loads(body)["ok"]) == (code, False)
            status, body = await client.ask("/metrics")
            assert status == 200
            read = samples(body.decode())
            assert read["stage_up", frozenset({("process", "load")})] == 0
            assert read["dependency_ready", frozenset({("dependency", "queue")})] == 0
            status, body = await client.ask("/status?pretty")
            found: dict[str, Any] = json.loads(body)
            assert (status, found["state"]) == (200, "starting")
            assert found["queue"]["messages"] is None
            assert {one["state"] for one in found["processes"][1:]} == {"down"}

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/", 404), ("GET", "/metrics/", 404), ("POST", "/status", 405), ("PUT", "/x", 404)],
)
def test_what_is_not_there_is_refused(method: str, path: str, code: int) -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            assert (await client.ask(path, method=method))[0] == code

    run(test)


def test_a_head_has_no_body_and_the_connection_goes_on() -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            assert await client.ask("/metrics", method="HEAD") == (200, b"")
            assert (await client.ask("/metrics"))[0] == 200

    run(test)


def test_with_a_token_only_the_probes_go_without() -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            for wrong in ((), ("Authorization: Bearer x",), (f"Authorization: Basic {TOKEN}",)):
                for path in ("/metrics", "/status"):
                    status, body = await client.ask(path, *wrong)
                    assert status == 401
                    assert TOKEN not in body.decode()
            right = f"authorization: bearer {TOKEN}"
            assert (await client.ask("/metrics", right))[0] == 200
            assert (await client.ask("/healthz"))[0] == 503

    run(test, OPS_TOKEN=TOKEN)


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * connection.MAX_HEADER_BYTES,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["nonsense", "no host", "two hosts", "long header", "tls"],
)
def test_what_is_no_request_is_refused_and_cut_off(data: bytes) -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            client.say(data)
            assert (await client.answer())[0] in (400, 431)
            assert await client.is_cut_off()
        async with Client(config) as client:
            assert (await client.ask("/healthz"))[0] == 503

    run(test)


def test_a_body_is_not_read() -> None:
    async def test(config: Config) -> None:
        async with Client(config) as client:
            assert (await client.ask("/metrics", "Content-Length: 1000000000"))[0] == 200
            assert await client.is_cut_off()

    run(test)


def test_who_drips_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_S", 0.2)

    async def test(config: Config) -> None:
        async with Client(config) as slow, Client(config) as other:
            slow.say(b"GET /metrics HT")
            assert (await other.ask("/metrics"))[0] == 200, "nobody waits for it"
            assert await slow.is_cut_off()

    run(test)


def test_who_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.1)

    async def test(config: Config) -> None:
        async with Client(config) as silent:
            assert await silent.is_cut_off()

    run(test)


def test_who_does_not_read_is_cut_off_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.2)
    monkeypatch.setattr(pages, "MAX_PER_S", 1e6)
    monkeypatch.setattr(pages, "MAX_AT_ONCE", 1e6)
    request = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"

    async def still_there(deaf: socket.socket) -> bool:
        try:
            await asyncio.get_running_loop().sock_sendall(deaf, request)
        except OSError:
            return False
        return True

    async def test(config: Config) -> None:
        loop = asyncio.get_running_loop()
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        with deaf:
            await loop.sock_connect(deaf, (config.ops_host, config.ops_port))
            await loop.sock_sendall(deaf, request * 800)
            async with Client(config) as other:
                assert (await other.ask("/metrics"))[0] == 200
            # Long before all 800 pages it is cut off: a write finds that out.
            while await still_there(deaf):
                await asyncio.sleep(0.02)

    run(test)


def test_idle_connections_make_room_and_busy_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)

    async def test(config: Config) -> None:
        async with Client(config) as first, Client(config) as second:
            assert (await first.ask("/healthz"))[0] == 503
            assert (await second.ask("/healthz"))[0] == 503
            async with Client(config) as third:
                assert (await third.ask("/metrics"))[0] == 200
                assert await first.is_cut_off(), "it was idle for longest"
                assert (await second.ask("/metrics"))[0] == 200

    run(test)


def test_more_requests_than_the_supervisor_has_time_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "MAX_PER_S", 0.001)
    monkeypatch.setattr(pages, "MAX_AT_ONCE", 3.0)

    async def test(config: Config) -> None:
        async with Client(config) as client:
            codes = [(await client.ask("/metrics"))[0] for _ in range(5)]
            assert codes == [200, 200, 200, 503, 503]

    run(test)


def test_a_port_that_is_taken() -> None:
    config = ops_config()
    with socket.socket() as other:
        other.bind((config.ops_host, config.ops_port))
        other.listen()
        with pytest.raises(ConfigError, match=f"OPS_PORT: got {config.ops_port}.*takes a free"):
            listen(config)
        by_default = replace(config, sources={**config.sources, "OPS_PORT": "default"})
        assert listen(by_default) is None
    assert listen(replace(config, ops_port=0)) is None


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    config = replace(ops_config(), ops_host="192.0.2.1")
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 cannot be listened to"):
        listen(config)

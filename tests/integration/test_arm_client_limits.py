"""What the ARM client takes of an answer at most: bytes, unpacked bytes, time."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from stages.execute.client import ExchangeFailed
from tests.integration.arm_calls import (
    MAX_BODY_BYTES,
    TOKEN,
    Arm,
    Canned,
    arm,
    client_of,
    simulator,
)

__all__ = ["arm", "simulator"]


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends a byte each 0.1 s, without end."""
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not ended.wait(0.1):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        thread.join()


def test_a_huge_body_is_cut_off_and_not_asked_again(arm: Arm) -> None:
    whole = arm.get()
    arm.fault("huge_body", body_bytes=2 * 2**30, first=1)
    began_s = time.monotonic()
    found = arm.collect()
    assert (found.outcome.error_code, found.outcome.attempts) == ("ResponseTooLarge", 1)
    assert time.monotonic() - began_s < 5.0
    assert arm.get() == whole


def failure_of_gzip(body: bytes) -> ExchangeFailed:
    """How a call ends whose answer says that its body is gzip."""
    with Canned(body, {"Content-Encoding": "gzip"}) as server:
        client = client_of(server.url)
        with pytest.raises(ExchangeFailed) as failed:
            client.exchange("GET", "/a", {}, None, TOKEN)
        client.close()
    return failed.value


def test_gzip_is_read() -> None:
    body = msgspec.json.encode({"value": ["x" * 100] * 1_000})
    with Canned(gzip.compress(body), {"Content-Encoding": "gzip"}) as server:
        client = client_of(server.url)
        assert client.exchange("GET", "/a", {}, None, TOKEN).body == body
        client.close()
        assert server.seen[0].headers["accept-encoding"] == "gzip"


def test_a_gzip_bomb_is_cut_off_by_what_it_unpacks_to() -> None:
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < MAX_BODY_BYTES
    failed = failure_of_gzip(bomb)
    assert (failed.code, failed.retryable) == ("ResponseTooLarge", False)


@pytest.mark.parametrize(
    "body",
    [b"no gzip at all", gzip.compress(b"x" * 9_000)[:-3] + b"abc"],
    ids=["no gzip", "wrong length"],
)
def test_broken_gzip_fails(body: bytes) -> None:
    failed = failure_of_gzip(body)
    assert (failed.code, failed.retryable) == ("DecodeError", True)


def test_a_body_that_drips_for_ever_ends_with_its_time(dripping: str) -> None:
    client = client_of(dripping, answer_timeout_s=0.7)
    began_s = time.monotonic()
    with pytest.raises(ExchangeFailed) as failed:
        client.exchange("GET", "/a", {}, None, TOKEN)
    client.close()
    assert failed.value.code == "AnswerTimeout"
    assert time.monotonic() - began_s < 3.0

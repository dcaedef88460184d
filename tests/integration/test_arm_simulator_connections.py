"""Connections to the ARM simulator: order, limits, compression, TLS."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from pathlib import Path

import trustme
import urllib3

from pipeline.sandbox.arm.control import SimulatorControl
from tests.integration.simulator_calls import (
    TOKEN,
    WAIT_S,
    Running,
    V,
    arm,
    call,
    read_answer,
    request,
    shared,
    simulator,
    vms,
)

__all__ = ["arm", "shared"]


def test_pipelined_requests_are_answered_in_their_order(arm: Running) -> None:
    base = vms(arm)
    # The first waits, so that the others could overtake it.
    arm.control.faults([{"kind": "latency", "regex": "top=1$", "latency_s": 0.2, "first": 1}])
    sizes = list(range(1, 31)) * 10
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        payload = b"".join(request(arm, f"{base}&$top={size}") for size in sizes)
        sender = threading.Thread(target=raw.sendall, args=(payload,))
        sender.start()
        found = [len(json.loads(read_answer(stream)[1])["value"]) for _ in sizes]
        sender.join(WAIT_S)
    assert found == sizes


def test_a_head_past_its_limit_is_refused(arm: Running) -> None:
    for extra in (f"X-A: {'a' * 70_000}\r\n", "".join(f"X-{i}: {i}\r\n" for i in range(9000))):
        with (
            socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
            raw.makefile("rb") as stream,
            contextlib.suppress(ConnectionError),
        ):
            raw.sendall(request(arm, vms(arm), extra))
            assert read_answer(stream)[0] == 431
            assert stream.read(1) == b""


def test_a_body_past_its_limit_is_refused(arm: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        head = f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {5 * 2**20}\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            raw.sendall(head.encode() + b" " * (5 * 2**20))
        with contextlib.suppress(ConnectionError):
            assert read_answer(stream)[0] == 413


def test_what_is_not_http_is_refused(arm: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw,
        raw.makefile("rb") as stream,
    ):
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert read_answer(stream)[0] == 400


def test_an_idle_connection_is_closed() -> None:
    with (
        simulator("--idle-timeout-s", "0.2") as running,
        socket.create_connection(("127.0.0.1", running.port), WAIT_S) as raw,
    ):
        assert raw.recv(1) == b""


def test_connections_past_the_limit_are_refused() -> None:
    with simulator("--max-connections", "2") as running:
        kept = [socket.create_connection(("127.0.0.1", running.port), WAIT_S) for _ in range(2)]
        try:
            with (
                socket.create_connection(("127.0.0.1", running.port), WAIT_S) as raw,
                raw.makefile("rb") as stream,
            ):
                assert read_answer(stream)[0] == 503
        finally:
            for each in kept:
                each.close()


def test_answers_are_compressed_for_those_who_take_it(arm: Running) -> None:
    target = vms(arm)
    plain = call(arm, target)
    arm.control.settings(gzip=True)
    got = call(arm, target, **{"Accept-Encoding": "gzip, deflate"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(got.body) == plain.body
    assert call(arm, target).body == plain.body


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with simulator("--certfile", str(chain), "--keyfile", str(key)) as running:
        assert running.endpoint.startswith("https://127.0.0.1:")
        endpoint = f"https://localhost:{running.port}"
        ids = SimulatorControl(endpoint, context).catalogue()["subscriptions"]
        with urllib3.PoolManager(ssl_context=context) as pool:
            answer = pool.request(
                "GET",
                f"{endpoint}/subscriptions/{ids[0]}/resources?{V}",
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
        assert answer.json()["nextLink"].startswith(f"{endpoint}/")

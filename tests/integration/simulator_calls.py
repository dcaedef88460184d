"""The ARM simulator as a process, and plain calls to it over sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from pipeline.sandbox.arm.control import SimulatorControl

ROOT = Path(__file__).parents[2]
TOKEN = "a-token"
GRAPH_TOKEN = "a-graph-token"
V = "api-version=2024-07-01"
WAIT_S = 20
START_LIMIT_S = 30


class Running(NamedTuple):
    """A simulator that serves."""

    process: subprocess.Popen[str]
    endpoint: str
    port: int
    control: SimulatorControl
    graph: str


@contextlib.contextmanager
def simulator(*arguments: str, context: ssl.SSLContext | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--vms", "30", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    # One that never says where it is would be waited for without end.
    limit = threading.Timer(START_LIMIT_S, process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        said = _said(process.stdout)
        limit.cancel()
        endpoint = said["ready"]
        port = int(endpoint.rpartition(":")[2])
        control = SimulatorControl(endpoint, context)
        yield Running(process, endpoint, port, control, said["graph"])
    finally:
        process.terminate()
        try:
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()


def _said(lines: IO[str]) -> dict[str, str]:
    """What stands on each line up to the one with ``ready``, by its first word."""
    said: dict[str, str] = {}
    for line in lines:
        word, _, endpoint = line.strip().partition(" ")
        said[word] = endpoint
        if word == "ready":
            break
    return said


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with simulator("--subscriptions", "2", "--buckets", "off") as running:
        yield running


@pytest.fixture
def arm(shared: Running) -> Running:
    shared.control.reset()
    return shared


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def code(self) -> str:
        return str(self.json()["error"]["code"])


def call(
    arm: Running, target: str, method: str = "GET", body: Any = None, token: str | None = TOKEN,
    timeout_s: float = WAIT_S, **headers: str,
) -> Got:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", arm.port, timeout=timeout_s)
    try:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        text = None if body is None else json.dumps(body)
        connection.request(method, target, text, headers)
        response = connection.getresponse()
        return Got(response.status, response.headers, response.read())
    finally:
        connection.close()


def subscription(arm: Running, number: int = 0) -> str:
    return str(arm.control.catalogue()["subscriptions"][number])


def vms(arm: Running) -> str:
    return f"/subscriptions/{subscription(arm)}/providers/Microsoft.Compute/virtualMachines?{V}"


def collect(arm: Running, target: str) -> list[str]:
    ids: list[str] = []
    link = arm.endpoint + target
    for _ in range(1000):
        assert link.startswith(f"{arm.endpoint}/")
        page = call(arm, link.removeprefix(arm.endpoint)).json()
        ids += [row.get("id") for row in page["value"]]
        if not (link := page.get("nextLink", "")):
            return ids
    raise AssertionError("the list has no end")


def request(arm: Running, target: str, extra: str = "") -> bytes:
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{arm.port}\r\n"
    return f"{head}Authorization: Bearer {TOKEN}\r\n{extra}\r\n".encode()


def read_answer(stream: Any) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return status, stream.read(length)

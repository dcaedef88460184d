"""The ARM simulator as a process: how it starts and stops, and how fast it is."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.simulator_calls import (
    ROOT,
    WAIT_S,
    Running,
    V,
    arm,
    request,
    shared,
    simulator,
    subscription,
)

__all__ = ["arm", "shared"]

# What the simulator promises, so that it does not limit what is measured against it.
ANSWERS_PER_CORE_S = 5000


def test_it_stops_on_an_interrupt_with_connections_open() -> None:
    with (
        simulator() as running,
        socket.create_connection(("127.0.0.1", running.port), WAIT_S),
    ):
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(WAIT_S) == 0


def test_a_port_that_is_taken_is_said(arm: Running) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--port", str(arm.port)],
        capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"cannot listen on port {arm.port}" in done.stderr


def test_a_wrong_setting_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--vms", "many"],
        capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "vms" in done.stderr


def processor_s(process_id: int) -> float:
    text = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc for processor time")
def test_it_answers_fast_enough_not_to_limit_what_is_measured(arm: Running) -> None:
    """Processor time, not wall time, so that a busy machine does not fail it."""
    group = arm.control.catalogue()["resource_groups"][0]
    target = (
        f"/subscriptions/{subscription(arm)}/resourceGroups/{group}/providers/"
        f"Microsoft.Compute/virtualMachines/vm-00000?{V}"
    )
    arm.control.settings(buckets=True, bucket_size=1_000_000)
    sent = request(arm, target, "Accept: application/json\r\nUser-Agent: test\r\n")
    answers, connections = 10_000, 8
    began_s = processor_s(arm.process.pid)
    drive(arm.port, sent, answers, connections)
    spent_s = processor_s(arm.process.pid) - began_s
    assert arm.control.stats()["by_status"] == {"200": answers}
    assert answers / spent_s > ANSWERS_PER_CORE_S


def drive(port: int, sent: bytes, answers: int, connections: int) -> None:
    """Send one request on each connection after the other's answer, until all are answered."""
    left, length = answers - connections, 0
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            raw = socket.create_connection(("127.0.0.1", port), WAIT_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(sent)
            selector.register(raw, selectors.EVENT_READ, [b""])
        while selector.get_map():
            for key, _ in selector.select(WAIT_S):
                raw = key.fileobj  # type: ignore[assignment]
                key.data[0] += raw.recv(65536)
                head, _, body = key.data[0].partition(b"\r\n\r\n")
                length = length or int(head.partition(b"Content-Length: ")[2].split()[0])
                if len(body) < length:
                    continue
                key.data[0] = b""
                if left > 0:
                    left -= 1
                    raw.sendall(sent)
                else:
                    selector.unregister(raw)
                    raw.close()

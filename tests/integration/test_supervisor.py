"""The process tree under fire: stages and supervisor killed, drained, kept from starting.

Real stages, real queue, real connector; whatever dies, each row is in the tables once.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.command import Running, assert_no_secret, collector, with_endpoint
from tests.acceptance.stores import queue, request, tables
from tests.processes import is_gone, open_descriptors, until

MESSAGES = 120
REQUESTS_A_MESSAGE = 3
# So that a run lasts long enough to be interrupted: 360 calls by 4 threads.
SLOW = {"NUM_THREADS": "2", "MAX_IN_FLIGHT": "60"}
LATENCY_MS = 40
# Calls after which a run is in its middle.
MIDDLE_CALLS = 120
# In the log line of a stage that stands again.
BACK = '"action":"stage_restarted"'


class Job:
    """Messages in a queue, and the rows they have to become."""

    def __init__(self, settings: dict[str, str], count: int = MESSAGES) -> None:
        self.settings = settings
        self.arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
        self.arm.reset()
        self.arm.settings(latency_ms=LATENCY_MS)
        self.run = secrets.token_hex(4)
        self.rows: Counter[tuple[str, int, str]] = Counter()
        self._send(count)

    def _send(self, count: int) -> None:
        subscriptions = self.arm.catalogue()["subscriptions"]
        kinds = ("Microsoft.Compute/virtualMachines", "Microsoft.Compute/disks")
        ids = {}
        texts = []
        for number in range(count):
            requests = []
            for index in range(REQUESTS_A_MESSAGE):
                subscription = subscriptions[(number + index) % len(subscriptions)]
                path = f"/subscriptions/{subscription}/providers/{kinds[index % 2]}"
                if path not in ids:
                    ids[path] = self.arm.expected(f"{path}?api-version=2024-07-01")["ids"]
                for resource_id in ids[path]:
                    self.rows[(f"{self.run}-{number}", index, resource_id.lower())] += 1
                requests.append(request(path, service="compute"))
            texts.append(
                json.dumps({"message_id": f"{self.run}-{number}", "api_requests": requests})
            )
        with queue(self.settings) as client, ThreadPoolExecutor(8) as pool:
            list(pool.map(client.send_message, texts))
        self.requests = count * REQUESTS_A_MESSAGE

    def calls(self) -> int:
        return int(self.arm.stats()["answers"])

    def await_middle(self, calls: int = MIDDLE_CALLS) -> None:
        until(lambda: self.calls() >= calls, what="the run did not get to its middle")

    def messages_left(self) -> int:
        with queue(self.settings) as client:
            return int(client.get_queue_properties().approximate_message_count or 0)

    def assert_whole(self) -> None:
        """Every expected row once, a complete ledger, an empty queue."""
        with tables(self.settings) as session:
            found = session.run(
                "SELECT MESSAGE_ID, REQUEST_INDEX, LOWER(RESOURCE_ID) FROM RESOURCES"
                f" WHERE MESSAGE_ID LIKE '{self.run}-%'"
            )
            ledger = session.run(
                "SELECT OUTCOME, COUNT(*), COUNT(DISTINCT MESSAGE_ID || '/' || REQUEST_INDEX)"
                f" FROM REQUESTS WHERE MESSAGE_ID LIKE '{self.run}-%' GROUP BY 1"
            )
        assert Counter(found) == self.rows
        assert [tuple(row) for row in ledger] == [("complete", self.requests, self.requests)]
        assert self.messages_left() == 0


@pytest.fixture
def job(settings: dict[str, str]) -> Job:
    return Job({**settings, **SLOW})


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def await_restart(running: Running, name: str, old: int) -> None:
    """The process of this name is another one, and has said that it stands."""
    until(lambda: running.stages().get(name, old) != old, what=running.output[-3000:])


@pytest.mark.parametrize("stage", ["execute 0", "batch", "load"])
def test_a_killed_stage_is_replaced_and_the_run_ends_whole(
    job: Job, tmp_path: Path, stage: str
) -> None:
    with collector(job.settings, tmp_path / "out", "--until-empty") as running:
        pids = running.await_stages()
        job.await_middle()
        kill(pids[stage])
        await_restart(running, stage, pids[stage])
        others = {n: pid for n, pid in running.stages().items() if n != stage}
        assert others == {n: pid for n, pid in pids.items() if n != stage}
        assert running.ended() == 0, running.output[-6000:]
        assert "SIGKILL" in running.output
    job.assert_whole()


def test_what_a_killed_fetch_had_leased_is_loaded_and_the_rest_comes_again(
    job: Job, tmp_path: Path
) -> None:
    job.settings["VISIBILITY_TIMEOUT"] = "10"
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        job.await_middle()
        kill(pids["fetch"])
        await_restart(running, "fetch", pids["fetch"])
        until(lambda: job.messages_left() == 0, 40, "messages stay in the queue")
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
    job.assert_whole()


def test_every_stage_killed_at_once(job: Job, tmp_path: Path) -> None:
    job.settings["VISIBILITY_TIMEOUT"] = "10"
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        job.await_middle()
        for pid in pids.values():
            kill(pid)
        until(lambda: job.messages_left() == 0, 40, "messages stay in the queue")
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
    job.assert_whole()


def test_restarts_leak_no_descriptor(settings: dict[str, str], tmp_path: Path) -> None:
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        counts = {}
        for number in range(6):
            pids = running.stages()
            kill(pids["execute 1"])
            await_restart(running, "execute 1", pids["execute 1"])
            until(lambda wanted=number + 1: running.output.count(BACK) == wanted)
            if number == 1:
                counts = {p: open_descriptors(p) for p in (running.process.pid, pids["batch"])}
                counts[pids["fetch"]] = open_descriptors(pids["fetch"])
        for pid, before in counts.items():
            until(lambda pid=pid, before=before: open_descriptors(pid) <= before, 5, "leaked")
        running.send(signal.SIGTERM)
        assert running.ended() == 0


def test_sigterm_drains_and_the_next_run_collects_the_rest(job: Job, tmp_path: Path) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        job.await_middle()
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
        until(lambda: all(is_gone(pid) for pid in pids.values()), 5)
        assert "died" not in running.output
    assert 0 < job.messages_left() < MESSAGES
    assert not list((tmp_path / "spool").rglob("*.arrow"))
    with collector(job.settings, tmp_path / "again", "--until-empty") as running:
        assert running.ended() == 0, running.output[-6000:]
    job.assert_whole()
    # Asked again are only the finished requests of messages that were not finished.
    assert job.calls() - job.requests <= int(SLOW["MAX_IN_FLIGHT"])


def test_a_second_signal_stops_at_once(job: Job, tmp_path: Path) -> None:
    # A stalled answer keeps the drain waiting.
    job.arm.settings(latency_ms=20_000)
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        until(lambda: job.arm.stats()["under_way"] >= 4)
        running.send(signal.SIGTERM)
        until(lambda: '"action":"draining"' in running.output)
        began_s = time.monotonic()
        running.send(signal.SIGTERM)
        assert running.ended(10) == 1
        assert time.monotonic() - began_s < 4
        until(lambda: all(is_gone(pid) for pid in pids.values()), 5)


def test_stages_do_not_outlive_a_killed_supervisor(job: Job, tmp_path: Path) -> None:
    job.settings["VISIBILITY_TIMEOUT"] = "5"
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        job.await_middle()
        kill(running.process.pid)
        until(lambda: all(is_gone(pid) for pid in pids.values()), 6, "stages live on")
    with collector(job.settings, tmp_path / "again") as running:
        until(lambda: job.messages_left() == 0, 40, "messages stay in the queue")
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
    job.assert_whole()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("what", ["missing", "unreachable"])
def test_what_cannot_be_reached_is_told_all_at_once(
    settings: dict[str, str], tmp_path: Path, what: str
) -> None:
    ports = {name: str(closed_port()) for name in ("arm", "snowflake", "queue")}
    broken = {
        "AZURE_ARM_ENDPOINT": f"http://127.0.0.1:{ports['arm']}",
        "SNOWFLAKE_PORT": ports["snowflake"],
    }
    if what == "missing":
        sign = broken["AZURE_QUEUE_NAME"] = "no-such-queue"
    else:
        sign = ports["queue"]
        broken["AZURE_QUEUE_CONNECTION_STRING"] = with_endpoint(
            settings["AZURE_QUEUE_CONNECTION_STRING"], f"http://127.0.0.1:{sign}"
        )
    began_s = time.monotonic()
    with collector({**settings, **broken}, tmp_path / "out") as running:
        assert running.ended(40) == 3, running.output
    assert time.monotonic() - began_s < 30
    for text in (sign, ports["arm"], ports["snowflake"], "check"):
        assert text in running.output
    assert_no_secret(running.output, settings)


def test_output_holds_only_json_lines_with_an_action_and_no_secret(
    shared_sandbox: Sandbox, settings: dict[str, str], tmp_path: Path
) -> None:
    job = Job(settings, count=3)
    with collector({**settings, "LOG_LEVEL": "DEBUG"}, tmp_path / "out", "--until-empty") as run:
        assert run.ended() == 0, run.output
    job.assert_whole()
    lines = [json.loads(line) for line in run.output.splitlines()]
    assert all(line["action"] and line["stage"] for line in lines)
    assert {line["stage"] for line in lines} >= {"supervisor", "batch", "load"}
    assert_no_secret(run.output, settings)

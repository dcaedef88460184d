"""The process tree under fire: stages and supervisor killed, kept from starting.

Real stages, real queue, real connector; whatever dies, each row is in the tables once.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import Running, assert_no_secret, collector, with_endpoint
from tests.processes import is_gone, open_descriptors, until

MESSAGES = 120
REQUESTS_A_MESSAGE = 3
# So that a run lasts long enough to be interrupted: some 400 calls by 4 threads. Whoever waits for
# a lease to run out waits for longer than a test.
SLOW = {"NUM_THREADS": "2", "MAX_IN_FLIGHT": "60", "VISIBILITY_TIMEOUT": "300"}
LATENCY_MS = 40
# Calls after which a run is in its middle.
MIDDLE_CALLS = 120
# Of a stage, one after the other; after the second one its peers have what they need.
RESTARTS = 6
# Descriptors of a process that can open no more: its standard streams.
NO_MORE = 3
# In the log line of a stage that stands again.
BACK = '"action":"stage_restarted"'


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    job = Job({**settings, **SLOW})
    job.arm.reset()
    job.arm.settings(latency_ms=LATENCY_MS)
    job.send(MESSAGES, requests=REQUESTS_A_MESSAGE)
    yield job
    job.arm.reset()


def await_middle(job: Job) -> None:
    """Wait until some of the calls are made."""
    until(lambda: job.calls() >= MIDDLE_CALLS, what="the run did not get to its middle")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def await_restart(running: Running, name: str, old: int) -> None:
    """The process of this name is another one, and has said that it stands."""
    until(lambda: running.stages().get(name, old) != old, what=running.output[-3000:])


def await_end(running: Running, job: Job) -> None:
    """All messages have left the queue, and the collector ends in order."""
    job.await_empty(40)
    running.send(signal.SIGTERM)
    assert running.ended() == 0, running.output[-6000:]


def test_killed_stages_are_replaced_while_the_others_stay(job: Job, tmp_path: Path) -> None:
    with collector(job.settings, tmp_path / "out", "--until-empty") as running:
        pids = running.await_stages()
        await_middle(job)
        for stage in ("execute 0", "batch", "load"):
            kill(pids[stage])
            await_restart(running, stage, pids[stage])
            others = {n: pid for n, pid in running.stages().items() if n != stage}
            assert others == {n: pid for n, pid in pids.items() if n != stage}
            pids = running.stages()
        assert running.ended() == 0, running.output[-6000:]
        assert running.output.count('"cause":"killed by SIGKILL"') == 3
    job.assert_whole()


@pytest.mark.soak
def test_every_stage_killed_at_once(job: Job, tmp_path: Path) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        await_middle(job)
        for pid in pids.values():
            kill(pid)
        await_end(running, job)
    job.assert_whole()


def await_backs(running: Running, times: int) -> None:
    """So many stages have come back so far."""
    until(lambda: running.output.count(BACK) == times)


def await_descriptors(name: str, pid: int, most: int) -> None:
    """A process has no more descriptors open than so many."""
    until(lambda: open_descriptors(pid) <= most, 5, f"{name} leaked: more than {most} are open")


@pytest.mark.soak
def test_restarts_leak_no_descriptor(settings: dict[str, str], tmp_path: Path) -> None:
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        running.await_standby()
        counts: dict[str, int] = {}
        for number in range(RESTARTS):
            pids = running.stages()
            kill(pids["execute 1"])
            await_restart(running, "execute 1", pids["execute 1"])
            await_backs(running, number + 1)
            if number == 1:
                lasting = {"supervisor": running.process.pid, "fetch": pids["fetch"]}
                lasting["batch"] = pids["batch"]
                counts = {name: open_descriptors(pid) for name, pid in lasting.items()}
        for name, before in counts.items():
            # Connections to the queue are opened as they are needed; a leak is one a restart.
            await_descriptors(name, lasting[name], before + RESTARTS - 3)
        running.send(signal.SIGTERM)
        assert running.ended() == 0


@pytest.mark.soak
def test_a_supervisor_without_descriptors_tries_again(job: Job, tmp_path: Path) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        pids, supervisor = running.await_stages(), running.process.pid
        await_middle(job)
        usual = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        # What is open stays so.
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (NO_MORE, usual[1]))
        kill(pids["execute 0"])
        until(lambda: running.output.count('"action":"restart_failed"') > 1)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, usual)
        await_restart(running, "execute 0", pids["execute 0"])
        await_end(running, job)
    job.assert_whole()


def test_stages_do_not_outlive_a_killed_supervisor(job: Job, tmp_path: Path) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        await_middle(job)
        # One that stands still sees nothing by itself.
        os.kill(pids["load"], signal.SIGSTOP)
        kill(running.process.pid)
        until(lambda: all(is_gone(pid) for pid in pids.values()), 6, "stages live on")
    with collector(job.settings, tmp_path / "again") as running:
        await_end(running, job)
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
    job = Job(settings)
    job.send(3)
    with collector({**settings, "LOG_LEVEL": "DEBUG"}, tmp_path / "out", "--until-empty") as run:
        assert run.ended() == 0, run.output
    job.assert_whole()
    lines = [json.loads(line) for line in run.output.splitlines()]
    assert all(line["action"] and line["stage"] for line in lines)
    assert {line["stage"] for line in lines} >= {"supervisor", "batch", "load"}
    assert_no_secret(run.output, settings)

"""A killed ``fetch``, or collector, costs no delivery and no lease: the next one goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.chaos.job import Job
from tests.acceptance.command import Running, collector
from tests.acceptance.stores import queue, tables
from tests.processes import until

# Longer than a test may take: a message that has to wait for the end of its lease is not done.
LEASE_S = "600"
MESSAGES = 160


@pytest.fixture
def job(settings: dict[str, str]) -> Job:
    settings |= {"VISIBILITY_TIMEOUT": LEASE_S, "NUM_THREADS": "2", "BATCH_SIZE": "1000"}
    made = Job({**settings, "BATCH_TIMEOUT": "2"})
    made.arm.reset()
    made.arm.settings(latency_ms=80)
    made.send(MESSAGES)
    return made


def deliveries(job: Job) -> int:
    """Most deliveries of a message."""
    with tables(job.settings) as session:
        return int(
            session.value(
                f"SELECT MAX(DEQUEUE_COUNT) FROM REQUESTS WHERE MESSAGE_ID LIKE '{job.run}-%'"
            )
        )


def await_middle(job: Job) -> None:
    """Wait until all is leased and some of it was asked."""
    job.await_calls(30)
    with queue(job.settings) as client:
        until(lambda: not client.peek_messages(1), what="not all is leased")


def drained(running: Running) -> None:
    running.send(signal.SIGTERM)
    assert running.ended() == 0, running.output[-4000:]


def test_a_fetch_that_is_killed_time_and_again_costs_no_delivery_and_few_calls(
    job: Job, tmp_path: Path
) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        pids = running.await_stages()
        for _ in range(3):
            await_middle(job)
            pids = running.stages()
            os.kill(pids["fetch"], signal.SIGKILL)
            until(lambda old=pids["fetch"]: running.stages().get("fetch", old) != old)
        job.await_empty(60)
        drained(running)
    assert '"action":"leases_resumed"' in running.output
    assert deliveries(job) == 1
    # What workers, the open batch and the spool had was not asked again.
    assert job.calls() <= job.requests * 1.5, (job.calls(), job.requests)
    job.assert_whole()


@pytest.mark.soak
def test_a_collector_that_is_killed_goes_on_with_its_leases_when_it_is_started_again(
    job: Job, tmp_path: Path
) -> None:
    with collector(job.settings, tmp_path / "out") as running:
        running.await_stages()
        await_middle(job)
        running.send(signal.SIGKILL)
        running.ended()
    assert job.left() > 0
    with collector(job.settings, tmp_path / "again") as running:
        running.await_stages()
        job.await_empty(60)
        drained(running)
    assert deliveries(job) == 1
    job.assert_whole()
    assert not list((tmp_path / "spool").rglob("leases.*"))


@pytest.mark.soak
def test_leases_that_ran_out_meanwhile_are_let_go(job: Job, tmp_path: Path) -> None:
    job.settings["VISIBILITY_TIMEOUT"] = "4"
    with collector(job.settings, tmp_path / "out") as running:
        running.await_stages()
        await_middle(job)
        running.send(signal.SIGKILL)
        running.ended()
    with queue(job.settings) as client:
        until(lambda: len(client.peek_messages(32)) == 32, what="leases do not end")
    with collector(job.settings, tmp_path / "again") as running:
        running.await_stages()
        job.await_empty(60)
        drained(running)
    assert "going on with 0 of " in running.output
    job.assert_whole()

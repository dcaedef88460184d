"""Subscriptions that Azure throttles: nothing of them is lost, and they hold up no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector, command
from tests.acceptance.stores import queue
from tests.processes import until

TYPES = ("virtualMachines", "disks", "snapshots", "images")
# Longer than a run takes, and short enough to be waited for.
LONG_S = 12
# Long enough for what has not begun to be taken off the worker.
SHORT_S = 4


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    job = Job(settings)
    job.arm.reset()
    yield job
    # Other tests have this simulator after this one.
    job.arm.reset()


def send(job: Job, subscription: str, messages: int) -> None:
    """Messages of four requests each."""
    base = f"/subscriptions/{subscription}/providers/Microsoft.Compute"
    for _ in range(messages):
        job.send_paths([f"{base}/{name}" for name in TYPES])


def throttle(job: Job, subscription: str, retry_after_s: int, **which: object) -> None:
    """Answer calls of a subscription 429."""
    fault = {"kind": "throttle", "prefix": f"/subscriptions/{subscription}"}
    job.arm.faults([{**fault, "retry_after_s": retry_after_s, **which}])


def refused(job: Job) -> int:
    """Calls that were answered 429."""
    return int(job.arm.stats()["by_status"].get("429", 0))


def visible(job: Job) -> int:
    """Messages that can be received now, 32 at most."""
    with queue(job.settings) as client:
        return len(client.peek_messages(max_messages=32))


def test_for_a_long_wait_a_message_goes_back_and_the_others_are_collected(
    job: Job, settings: dict[str, str]
) -> None:
    throttled, free = job.arm.catalogue()["subscriptions"][:2]
    send(job, throttled, 6)
    send(job, free, 10)
    throttle(job, throttled, LONG_S)
    settings["MAX_WAIT"] = "4"
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    assert refused(job) > 0
    assert (job.loaded(), job.left(), visible(job)) == (4 * 10, 6, 0)
    job.arm.faults([])
    until(lambda: visible(job) == 6, LONG_S + 10.0)
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    job.assert_whole()
    assert job.deliveries() == {1: 10, 2: 6}


def test_a_short_wait_is_waited_for_and_holds_up_no_other(
    job: Job, settings: dict[str, str], tmp_path: Path
) -> None:
    throttled, free = job.arm.catalogue()["subscriptions"][:2]
    # More than the workers may hold, and all of it before the other's.
    send(job, throttled, 12)
    send(job, free, 10)
    throttle(job, throttled, SHORT_S, first=3)
    settings |= {"MAX_IN_FLIGHT": "40", "NUM_PROCESSES": "1", "NUM_THREADS": "2"}
    with collector(settings, tmp_path / "out") as running:
        until(lambda: job.loaded() >= 4 * 10, 60.0, running.output)
        job.await_empty()
    assert refused(job) == 3
    job.assert_whole()
    assert job.deliveries() == {1: 22}


@pytest.mark.soak
@pytest.mark.soak
def test_what_is_refused_every_time_ends_as_throttled(job: Job, settings: dict[str, str]) -> None:
    throttled = job.arm.catalogue()["subscriptions"][0]
    send(job, throttled, 1)
    throttle(job, throttled, 1)
    ended = command(["--until-empty"], {**settings, "MAX_RETRIES": "1"})
    assert ended.code == 0, ended.said
    assert job.outcomes() == {"throttled": 4}
    assert job.left() == 0

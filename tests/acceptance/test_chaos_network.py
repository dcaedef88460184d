"""Whatever the network does between the collector and its services, nothing is lost or doubled."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.chaos.between import Between, proxies_between
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.proxy import FORGOTTEN, KINDS, FaultProxy
from tests.acceptance.command import Running, collector
from tests.processes import until

# What a user sets for a network like this: a fault is no reason to give a request or a message up,
# and an answer that does not come is not waited for.
PATIENT = {
    "MAX_RETRIES": "100",
    "INITIAL_RETRY_DELAY": "0.05",
    "MAX_BACKOFF": "1",
    "ARM_READ_TIMEOUT": "1.5",
    "MAX_DEQUEUE_COUNT": "1000",
    "VISIBILITY_TIMEOUT": "6",
    "NUM_THREADS": "8",
}
# Messages that are kept in the queue while faults befall requests, and how many are sent at a time.
LOAD, SENT_AT_ONCE, BAD_EACH = 100, 20, 5
# Of the requests, how many a fault befalls.
CHANCE = {"queue": 0.3, "arm": 0.3, "snowflake": 0.4}
# How often each fault has to befall one. There are few requests to Snowflake, a dozen a load.
WANTED = {"queue": 3, "arm": 3, "snowflake": 1}
# What a blackhole holds up once clients have given up and come again.
HELD = {"queue": 8, "arm": 16, "snowflake": 2}
PHASE_LIMIT_S = 90.0
# With all faults on all services at once: chance of each, and how many requests they befall.
SMALL_CHANCE = {"queue": 0.012, "arm": 0.012, "snowflake": 0.02}
WANTED_AT_RANDOM = {"queue": 20, "arm": 20, "snowflake": 6}


@contextmanager
def through_proxies(settings: dict[str, str], tmp_path: Path) -> Iterator[tuple[Between, Job]]:
    """A collector under load behind proxies; at the end it drains, and everything is compared."""
    settings = {**settings, **PATIENT}
    job = Job(settings)
    with proxies_between(settings) as between:
        module = "tests.acceptance.chaos.impatient"
        with collector(between.settings, tmp_path / "out", module=module) as running:
            running.await_stages()
            yield between, job
            job.await_empty()
            running.send(signal.SIGTERM)
            assert running.ended() == 0
        print(between.figures(), f"{job.sent} messages, {job.rows} rows", sep="\n")
        assert_undisturbed(running)
        job.assert_whole()


def assert_undisturbed(running: Running) -> None:
    """No stage died of it, and nothing was taken for more than a passing trouble."""
    lines = [json.loads(line) for line in running.output.splitlines()]
    assert [line for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []
    assert not {line["action"] for line in lines} & {"stage_died", "stage_failed"}


def keep_busy(job: Job) -> None:
    if job.left() < LOAD:
        job.send(SENT_AT_ONCE)
        job.send_bad(SENT_AT_ONCE // BAD_EACH)


def await_faults(job: Job, proxy: FaultProxy, kind: str, times: int) -> None:
    """Have load flow until this fault has befallen so many requests more."""
    wanted = proxy.counts[kind] + times

    def befallen() -> bool:
        keep_busy(job)
        return proxy.counts[kind] >= wanted

    until(befallen, PHASE_LIMIT_S, f"{kind}: {proxy.counts}")


def await_forgotten(job: Job, proxy: FaultProxy) -> None:
    """Have connections forgotten until one is used after that; some may not be used again."""
    passed = 0

    def befallen() -> bool:
        nonlocal passed
        keep_busy(job)
        if proxy.passed > passed:
            passed = proxy.passed
            proxy.forget()
        return proxy.counts[FORGOTTEN] > 0

    until(befallen, PHASE_LIMIT_S)


def test_each_fault_on_each_service_in_turn(settings: dict[str, str], tmp_path: Path) -> None:
    with through_proxies(settings, tmp_path) as (between, job):
        for service, proxy in between.proxies.items():
            for kind in KINDS:
                hole = kind == "blackhole"
                proxy.fault(kind, chance=1 if hole else CHANCE[service])
                await_faults(job, proxy, kind, (HELD if hole else WANTED)[service])
                proxy.heal()
            await_forgotten(job, proxy)


@pytest.mark.soak
def test_all_faults_on_all_services_at_random(settings: dict[str, str], tmp_path: Path) -> None:
    with through_proxies(settings, tmp_path) as (between, job):
        for service, proxy in between.proxies.items():
            for kind in KINDS:
                proxy.fault(kind, chance=SMALL_CHANCE[service])

        def befallen() -> bool:
            keep_busy(job)
            return all(
                proxy.counts.total() >= WANTED_AT_RANDOM[service]
                for service, proxy in between.proxies.items()
            )

        until(befallen, PHASE_LIMIT_S)
        for proxy in between.proxies.values():
            proxy.heal()

"""Processes that stand still, and ends under load: what hangs is replaced, what drains is whole."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest

from tests.acceptance.chaos.between import proxies_between
from tests.acceptance.chaos.events import Event, EventLog
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.strikes import STAGES, SUPERVISOR, Target
from tests.acceptance.command import Running, collector
from tests.acceptance.stores import queue
from tests.processes import is_gone, until

HEARTBEAT_LIMIT_S = 3
# A stop that is none of the supervisor's business.
SHORT_S = 1.5
# More than a stage may take, and not so much more that any supervisor would notice its own stop.
PAUSE_S = HEARTBEAT_LIMIT_S + 1.0
DRAIN_TIMEOUT_S = 15
# The end of the processes, after the drain.
END_S = 4.0
SECOND_SIGNAL_S = 2.0
# So that there is always something to do: about 200 calls a second by 8 threads.
LATENCY_MS = 40
STALLED_MS = 60_000
MESSAGES = 5_000
MIDDLE_CALLS = 150
# Enough that a drain leaves some in the queue; and who dies in it.
DRAINED_MESSAGES = 300
DYING = ("fetch", "batch", "load")
# On a busy machine too: what is held stays held, and nobody is taken for one that hangs.
UNHURRIED = {"VISIBILITY_TIMEOUT": "300", "HEARTBEAT_LIMIT": "30", "DRAIN_TIMEOUT": "60"}
# Batches in the spool when nothing is loaded any more.
BATCHES_WAITING = 8
SETTINGS = {
    "NUM_THREADS": "4",
    "MAX_IN_FLIGHT": "200",
    "HEARTBEAT_LIMIT": str(HEARTBEAT_LIMIT_S),
    "VISIBILITY_TIMEOUT": "6",
    "DRAIN_TIMEOUT": str(DRAIN_TIMEOUT_S),
    "LOG_LEVEL": "DEBUG",
}


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    job = Job({**settings, **SETTINGS})
    job.arm.reset()
    job.arm.settings(latency_ms=LATENCY_MS)
    yield job
    job.arm.reset()


@contextmanager
def collecting(job: Job, file: Path, **settings: str) -> Iterator[tuple[Running, Target]]:
    """A collector in the middle of its work."""
    arm_port = urlsplit(job.settings["AZURE_ARM_ENDPOINT"]).port or 0
    with collector({**job.settings, **settings}, file) as running:
        running.await_stages()
        job.await_calls(MIDDLE_CALLS)
        yield running, Target(EventLog(file), lambda: running.process.pid, arm_port)


def end(running: Running) -> None:
    running.send(signal.SIGTERM)
    assert running.ended() == 0, running.output[-4000:]


def collect_the_rest(job: Job, file: Path) -> None:
    """Another collector collects what is left, when its leases have run out."""
    job.arm.settings(latency_ms=0)
    with collector(job.settings, file) as running:
        running.await_stages()
        job.await_empty()
        end(running)
    job.assert_whole()


@pytest.mark.alone
def test_a_stage_that_stands_still_is_replaced_and_a_short_stop_is_left_alone(
    job: Job, tmp_path: Path
) -> None:
    with job.feeding(MESSAGES), collecting(job, tmp_path / "out") as (_, target):
        pids = target.processes()
        # All stages, for less than the limit.
        target.strike(STAGES, signal.SIGSTOP)
        time.sleep(SHORT_S)
        target.strike(STAGES, signal.SIGCONT)
        job.await_calls(MIDDLE_CALLS)
        # The supervisor, or all at once as a container is paused, for longer than the limit: that
        # is no fault of the stages'.
        for names in ([SUPERVISOR], [SUPERVISOR, *STAGES]):
            target.strike(names, signal.SIGSTOP)
            time.sleep(PAUSE_S)
            target.strike(names, signal.SIGCONT)
            job.await_calls(MIDDLE_CALLS)
        # Each stage in turn, for good; the one before it is just being replaced.
        strikes = []
        for name in STAGES:
            strikes.append(target.strike([name], signal.SIGSTOP))
            hung_s = await_hung(target, name, strikes[-1].at_s)
            assert hung_s > HEARTBEAT_LIMIT_S - 1
        for strike in strikes:
            target.await_working(strike, 45)
        now = target.processes()
        assert [name for name in STAGES if now[name] == pids[name] or not is_gone(pids[name])] == []
        assert now[SUPERVISOR] == pids[SUPERVISOR]
    once = Counter(STAGES)
    assert Counter(e.line["process"] for e in target.log.of("stage_hung")) == once
    assert Counter(e.line["process"] for e in target.log.of("stage_died")) == once
    collect_the_rest(job, tmp_path / "again")


def await_hung(target: Target, name: str, since_s: float) -> float:
    """Seconds until a stage was found to hang."""
    found: Event = until(
        lambda: target.log.first("stage_hung", since_s, process=name),
        HEARTBEAT_LIMIT_S + 5,
        f"{name} was not found to hang",
    )
    return found.at_s - since_s


@pytest.mark.alone
def test_sigterm_under_full_load_leaves_nothing_in_flight(job: Job, tmp_path: Path) -> None:
    with job.feeding(MESSAGES), collecting(job, tmp_path / "out") as (running, target):
        pids = target.processes()
        began_s = time.monotonic()
        end(running)
        assert time.monotonic() - began_s < DRAIN_TIMEOUT_S + END_S
        calls, made = job.calls(), job.arm.stats()
    assert made["under_way"] == 0
    assert [name for name, pid in pids.items() if not is_gone(pid)] == []
    assert "died" not in running.output
    assert [
        path for path in (tmp_path / "spool").rglob("*") if path.suffix in (".arrow", ".part")
    ] == []
    assert job.left() > 0
    assert visible(job) == job.left(), "leases are still held"
    assert job.calls() == calls
    collect_the_rest(job, tmp_path / "again")


def test_stages_that_die_in_a_drain_are_replaced_and_it_leaves_nothing_in_flight(
    job: Job, tmp_path: Path
) -> None:
    job.send(DRAINED_MESSAGES)
    with collecting(job, tmp_path / "out", **UNHURRIED) as (running, target):
        running.send(signal.SIGTERM)
        until(lambda: target.log.first("draining"))
        for name in DYING:
            target.strike([name])
        assert running.ended() == 0, running.output[-4000:]
    died = {event.line["process"] for event in target.log.of("stage_died")}
    assert died == set(DYING)
    assert {event.line["process"] for event in target.log.of("stage_restarted")} == died
    assert list((tmp_path / "spool").rglob("*.arrow")) == []
    assert job.left() > 0
    assert visible(job) == job.left(), "leases are still held"
    collect_the_rest(job, tmp_path / "again")


def visible(job: Job) -> int:
    """Messages that a collector would get now; it could have them again in a moment."""
    seen = set()
    with queue(job.settings) as client:
        while page := list(
            client.receive_messages(messages_per_page=32, max_messages=32, visibility_timeout=5)
        ):
            seen |= {message.id for message in page}
    return len(seen)


def assert_ends_at_once(running: Running, pids: dict[str, int], code: int) -> None:
    """With another SIGTERM it ends, with this code, and leaves none of these processes."""
    began_s = time.monotonic()
    running.send(signal.SIGTERM)
    assert running.ended() == code
    assert time.monotonic() - began_s < SECOND_SIGNAL_S
    until(lambda: all(map(is_gone, pids.values())), 1, "processes are left")


@pytest.mark.alone
def test_a_second_sigterm_ends_a_start_at_once(job: Job, tmp_path: Path) -> None:
    with proxies_between(job.settings) as between:
        between.snowflake.fault("blackhole")
        with collector({**job.settings, **between.settings}, tmp_path / "out") as running:
            until(lambda: between.snowflake.counts["blackhole"], what="nobody logs in")
            pids = running.stages()
            running.send(signal.SIGTERM)
            until(lambda: '"action":"stopping"' in running.output)
            assert_ends_at_once(running, pids, 0)
        between.snowflake.heal()


@pytest.mark.alone
@pytest.mark.parametrize("what", ["ARM", "Snowflake"])
def test_a_second_sigterm_ends_a_drain_that_hangs(
    job: Job, tmp_path: Path, what: Literal["ARM", "Snowflake"]
) -> None:
    with (
        job.feeding(MESSAGES),
        proxies_between(job.settings) as between,
        collecting(job, tmp_path / "out", **between.settings) as (running, target),
    ):
        pids = target.processes()
        if what == "ARM":
            job.arm.settings(latency_ms=STALLED_MS)
            until(lambda: job.arm.stats()["under_way"] >= 8)
        else:
            between.snowflake.fault("blackhole")
            spool = tmp_path / "spool"
            until(lambda: len(list(spool.rglob("*.arrow"))) >= BATCHES_WAITING, what="it loads on")
        running.send(signal.SIGTERM)
        until(lambda: target.log.first("draining"))
        assert_ends_at_once(running, pids, 1)
        between.snowflake.heal()
    collect_the_rest(job, tmp_path / "again")

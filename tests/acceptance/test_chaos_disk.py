"""The spool's disk fills up under the real command: it pauses, says so, loses nothing, goes on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline import settings_note
from stages.fetch.disk_room import needed_bytes
from stages.load import under_way
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import Running, collector
from tests.acceptance.stores import queue
from tests.processes import until
from tests.small_disk import SmallDisk, small_disk

MIB = 1024 * 1024
SMALL_BYTES = 16 * MIB
NEEDED_BYTES = needed_bytes(SMALL_BYTES, 64 * MIB)
MESSAGES = 60
LATE_MESSAGES = 10
# So that the disk can be filled in the middle of a run.
SLOW = {"NUM_THREADS": "2", "MAX_IN_FLIGHT": "40"}
LATENCY_MS = 30
# For so long a receiver that is not paused would have asked the queue dozens of times.
STAYS_S = 1.0
LIMIT_S = 60.0

# A list that leaves memory (8 MiB) for the disk, and the room that is too little for it.
ROWS, ROW_BYTES = 300, 32_000
LARGE_DISK_BYTES = 64 * MIB
ROOM_BYTES = 10 * MIB


@contextmanager
def disk_of(settings: dict[str, str], folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A small disk, with the collector's spool on it."""
    folder.mkdir()
    with small_disk(folder, size_bytes) as disk:
        settings["SPOOL_DIR"] = str(disk.path / "spool")
        yield disk


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    job = Job(settings)
    job.arm.reset()
    yield job
    job.arm.reset()


def lines(running: Running, action: str) -> list[dict[str, Any]]:
    found = [line for line in running.output.splitlines() if f'"action":"{action}"' in line]
    return [json.loads(line) for line in found]


def head_of_queue(job: Job) -> list[tuple[str, int]]:
    """The first messages that nobody holds: id, and how often each was delivered."""
    with queue(job.settings) as client:
        return [(m.id, m.dequeue_count) for m in client.peek_messages(max_messages=32)]


def assert_nothing_is_delivered(job: Job) -> None:
    """Messages stay in the queue as they are, undelivered."""
    before = head_of_queue(job)
    assert before
    assert {count for _, count in before} == {0}
    until_s = time.monotonic() + STAYS_S
    while time.monotonic() < until_s:
        assert head_of_queue(job) == before


def assert_nothing_died(running: Running, stages: dict[str, int]) -> None:
    assert running.stages() == stages
    assert lines(running, "stage_died") == []


def test_a_full_disk_stops_receiving_and_recovers_by_itself(
    settings: dict[str, str], job: Job, tmp_path: Path
) -> None:
    settings |= SLOW
    job.arm.settings(latency_ms=LATENCY_MS)
    job.send(MESSAGES)
    with disk_of(settings, tmp_path / "disk", SMALL_BYTES) as disk:
        disk.fill(leave_bytes=MIB)
        with collector(settings, tmp_path / "out") as running:
            stages = running.await_stages()
            # Full from the start: no message is as much as touched.
            until(lambda: len(lines(running, "disk_full")) == 1, what=running.output)
            assert_nothing_is_delivered(job)
            disk.clear()
            until(lambda: len(lines(running, "disk_room")) == 1, what=running.output)
            # Full in the middle of it.
            job.await_calls(MESSAGES // 4)
            disk.fill()
            until(lambda: len(lines(running, "disk_full")) == 2, what=running.output)
            until(lambda: lines(running, "spool_refused"), what=running.output)
            job.send(LATE_MESSAGES)
            assert_nothing_is_delivered(job)
            assert_nothing_died(running, stages)
            said = lines(running, "disk_full")[0]
            assert said["level"].upper() == "ERROR"
            assert 0 < said["free_bytes"] <= MIB
            for word in (disk.path / "spool" / "0", said["free_bytes"], NEEDED_BYTES):
                assert str(word) in said["message"]
            disk.clear()
            job.await_empty(LIMIT_S)
            assert_nothing_died(running, stages)
            running.send(signal.SIGTERM)
            assert running.ended() == 0
        for action in ("disk_full", "disk_room"):
            assert len(lines(running, action)) == 2, running.output
        for action in ("spool_refused", "spool_written"):
            assert len(lines(running, action)) == 1, running.output
        left = [path.name for path in (disk.path / "spool" / "0").iterdir()]
        assert set(left) <= {".lock", settings_note.NAME, under_way.NAME}
    job.assert_whole()


@pytest.mark.soak
def test_a_list_that_finds_no_room_is_asked_for_again_once_there_is(
    settings: dict[str, str], job: Job, tmp_path: Path
) -> None:
    path = f"/subscriptions/{job.run}/providers/Microsoft.Compute/disks"
    rows = [{"id": f"{path}/{number}", "p": "x" * ROW_BYTES} for number in range(ROWS)]
    job.arm.recordings([{"path": path, "body": json.dumps({"value": rows})}])
    job.send_paths([path])
    with disk_of(settings, tmp_path / "disk", LARGE_DISK_BYTES) as disk:
        disk.fill(leave_bytes=ROOM_BYTES)
        with collector(settings, tmp_path / "out") as running:
            stages = running.await_stages()
            until(lambda: lines(running, "requests_held_back"), what=running.output)
            # Others are collected meanwhile: they need no room but a batch's.
            job.send(5)
            until(lambda: job.loaded() == job.requests - 1, LIMIT_S, running.output)
            disk.clear()
            job.await_empty(LIMIT_S)
            assert_nothing_died(running, stages)
            running.send(signal.SIGTERM)
            assert running.ended() == 0
    assert job.rows > ROWS
    job.assert_whole()

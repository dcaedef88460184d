"""Receiving stops before the disk is full, says so, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.disk import Room
from pipeline.logs import log
from stages.fetch import disk_room as module
from stages.fetch.disk_room import DiskRoom, needed_bytes

MIB = 1024 * 1024
BATCH_BYTES = 64 * MIB
FOLDER = Path("/spool/0")


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    sink = log.add(
        lambda line: lines.append({**line.record["extra"], "text": line.record["message"]})
    )
    yield lines
    log.remove(sink)


def room(free_bytes: float, total_bytes: int = 100_000 * MIB, **more: Any) -> Room:
    return Room(**{"free_files": None, "read_only": False, **more}, free_bytes=int(free_bytes),
                total_bytes=total_bytes)  # fmt: skip


def test_it_takes_two_batches_and_on_a_small_disk_a_tenth_of_it() -> None:
    assert needed_bytes(100_000 * MIB, BATCH_BYTES) == 2 * BATCH_BYTES
    assert needed_bytes(10 * MIB, BATCH_BYTES) == MIB


def test_before_the_first_look_nothing_is_received(said: list[dict[str, Any]]) -> None:
    disk = DiskRoom(FOLDER, BATCH_BYTES)
    assert not disk.has_room
    disk.seen(room(2 * BATCH_BYTES), 0.0)
    assert disk.has_room
    assert said == []


def test_the_error_names_folder_room_and_need_and_is_not_said_each_second(
    said: list[dict[str, Any]],
) -> None:
    disk = DiskRoom(FOLDER, BATCH_BYTES)
    for second in range(130):
        disk.seen(room(2 * BATCH_BYTES - 1), float(second))
        assert not disk.has_room
    assert [line["action"] for line in said] == ["disk_full"] * 3
    assert said[0]["free_bytes"] == disk.free_bytes == 2 * BATCH_BYTES - 1
    for word in (str(FOLDER), str(2 * BATCH_BYTES - 1), str(2 * BATCH_BYTES)):
        assert word in said[0]["text"]


def test_it_goes_on_once_there_is_clearly_more_and_says_so_once(
    said: list[dict[str, Any]],
) -> None:
    disk = DiskRoom(FOLDER, BATCH_BYTES)
    seen = []
    for second, share in enumerate((1.1, 0.9, 1.1, 1.24, 0.9, 1.25, 1.1, 1.0, 0.9)):
        disk.seen(room(share * 2 * BATCH_BYTES), float(second))
        seen.append(disk.has_room)
    assert seen == [True, False, False, False, False, True, True, True, False]
    assert [line["action"] for line in said] == ["disk_full", "disk_room", "disk_full"]


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (room(99_000 * MIB, read_only=True), "it is read-only"),
        (room(99_000 * MIB, free_files=3), "no more than 3 files"),
        (OSError("Stale file handle"), "it cannot be looked at: Stale file handle"),
    ],
)
def test_room_that_cannot_be_used_is_none(
    said: list[dict[str, Any]], look: Room | OSError, words: str
) -> None:
    disk = DiskRoom(FOLDER, BATCH_BYTES)
    disk.seen(look, 0.0)
    assert not disk.has_room
    assert words in said[0]["text"]
    disk.seen(room(99_000 * MIB, free_files=1_000), 1.0)
    assert disk.has_room


def test_a_disk_of_no_size_is_not_full(said: list[dict[str, Any]]) -> None:
    disk = DiskRoom(FOLDER, BATCH_BYTES)
    disk.seen(room(0, total_bytes=0), 0.0)  # some network's disks do not tell
    assert disk.has_room


async def _watched(disk: DiskRoom, until: Any) -> None:
    watch = asyncio.create_task(disk.watch())
    try:
        async with asyncio.timeout(10):
            while not until():
                await asyncio.sleep(0.01)
    finally:
        watch.cancel()


def test_the_disk_is_looked_at_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    folder = tmp_path / "0"
    disk = DiskRoom(folder, 1)
    asyncio.run(_watched(disk, lambda: said))
    assert "No such file" in said[0]["text"]
    folder.mkdir()
    asyncio.run(_watched(disk, lambda: disk.has_room))
    assert disk.free_bytes > 0

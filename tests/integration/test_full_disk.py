"""Writers of the spool's disk on a real one that fills up, turns read-only or goes away."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.disk import room_of
from pipeline.errors import StageFailed
from pipeline.links import DataLink
from pipeline.logs import log
from pipeline.messages import Begin, Drain, Receipt, Rows
from pipeline.spill import Spill
from pipeline.spool import Spool
from pipeline.stage import Stage
from stages.batch import assembly, patience
from stages.batch.stage import Batch
from stages.load.stage import RESOURCES_LOADED, Load
from tests.processes import open_descriptors
from tests.small_disk import SmallDisk, small_disk
from tests.unit.batch.rows_made import frame
from tests.unit.test_spool import sealed

MIB = 1024 * 1024
LIMIT_S = 20.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 4 * MIB) as disk:
        yield disk


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    sink = log.add(
        lambda line: lines.append({**line.record["extra"], "text": line.record["message"]})
    )
    yield lines
    log.remove(sink)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_S", 0.05)


def spool_on(disk: SmallDisk) -> Spool:
    spool = Spool(disk.path / "0")
    spool.folder.mkdir()
    return spool


# ── one writer ───────────────────────────────────────────────────────────────────────────────────


def test_a_batch_that_does_not_fit_leaves_nothing_and_fits_later(disk: SmallDisk) -> None:
    spool = spool_on(disk)
    disk.fill(leave_bytes=200_000)
    free_bytes = disk.free_bytes
    with pytest.raises(OSError, match="No space left") as refused:
        sealed(spool, rows=20_000)
    assert refused.value.errno == errno.ENOSPC
    assert (list(spool.folder.iterdir()), disk.free_bytes) == ([], free_bytes)
    disk.clear()
    sealed(spool, rows=20_000)
    with spool.open("b-1") as batch:
        assert batch.resources.num_rows == 20_000


def test_a_piece_that_does_not_fit_gives_its_half_back(disk: SmallDisk) -> None:
    before = open_descriptors()
    with closing(Spill(disk.path, 0)) as spill:
        spill.append(b"a" * MIB)
        disk.fill(leave_bytes=100_000)
        free_bytes = disk.free_bytes
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                spill.append(b"b" * MIB)
        assert disk.free_bytes == free_bytes
        disk.clear()
        spill.append(b"b" * MIB)
        assert [spill[0], spill[1]] == [b"a" * MIB, b"b" * MIB]
    assert open_descriptors() == before


def test_what_is_kept_back_is_measured_on_the_disk(disk: SmallDisk) -> None:
    with closing(Spill(disk.path, 0, reserve_bytes=MIB)) as spill:
        disk.fill(leave_bytes=2 * MIB)
        spill.append(b"a" * (MIB // 2))
        with pytest.raises(OSError, match="kept back"):
            spill.append(b"b" * MIB)
        assert len(spill) == 1


def test_a_disk_tells_what_it_has(disk: SmallDisk) -> None:
    assert room_of(disk.path).total_bytes == 4 * MIB
    disk.fill()
    assert room_of(disk.path).free_bytes == 0
    disk.remount("ro")
    assert room_of(disk.path).read_only


# ── the batch stage ──────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def batching(spool: Spool, **settings: str) -> AsyncIterator[Batch]:
    """A batch stage without peers: what it would tell them is dropped."""
    environ = {"SPOOL_DIR": str(spool.folder), "BATCH_TIMEOUT": "600", **settings}
    stage = Batch("batch", load(environ=environ, needs=()))
    await stage.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            yield stage
    finally:
        await ended(stage)


async def ended(stage: Stage) -> None:
    tasks = list(stage._tasks)
    for task in tasks:
        task.remove_done_callback(stage._task_ended)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def come_true(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def rows(numbers: range, *, total: int | None = None, size: int = 1_000) -> Rows:
    return frame(numbers, total=total, body=b'{"a":"%s"}' % os.urandom(size // 2).hex().encode())


def keys_in(spool: Spool) -> list[str]:
    found: list[str] = []
    for batch_id in spool.list():
        with spool.open(batch_id) as batch:
            found += batch.resources["ROW_KEY"].to_pylist()
    return found


def actions(said: list[dict[str, Any]]) -> list[str]:
    return [line["action"] for line in said]


def test_a_batch_waits_for_room_and_is_sealed_once(
    disk: SmallDisk, said: list[dict[str, Any]]
) -> None:
    spool = spool_on(disk)

    async def go() -> None:
        async with batching(spool) as batch:
            await batch.on_message("execute-0", rows(range(500), total=500))
            disk.fill(leave_bytes=100_000)
            drain = asyncio.create_task(batch.drain(Drain(60, last=False, after=())))
            await come_true(lambda: batch.gauges()["writes_refused"])
            assert not batch.idle()
            assert spool.list() == {}
            disk.clear()
            await drain
            assert batch.idle()
            assert batch.gauges()["writes_refused"] == 0

    asyncio.run(go())
    assert keys_in(spool) == [f"key-{number}" for number in range(500)]
    assert actions(said) == ["spool_refused", "sealed", "spool_written"] or actions(said) == [
        "spool_refused", "spool_written", "sealed",
    ]  # fmt: skip
    assert str(spool.folder) in said[0]["text"]
    assert "No space left" in said[0]["text"]


def test_frames_wait_for_room_and_none_is_lost_or_doubled(
    disk: SmallDisk, said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "MEMORY_BYTES", 100_000)
    spool = spool_on(disk)

    async def go() -> None:
        async with batching(spool, BATCH_SIZE="100000") as batch:

            async def write() -> None:
                for start in range(0, 1_000, 100):
                    await batch.on_message("execute-0", rows(range(start, start + 100)))
                await batch.on_message("execute-0", rows(range(1_000, 1_001), total=1_001))

            disk.fill(leave_bytes=450_000)
            writing = asyncio.create_task(write())
            await come_true(lambda: batch.gauges()["writes_refused"])
            # Another's rows are taken and sealed meanwhile.
            await batch.on_message("execute-1", frame(range(2_000, 2_001), total=1, index=1))
            disk.clear()
            await writing
            await batch.drain(Drain(60, last=False, after=()))

    asyncio.run(go())
    assert sorted(keys_in(spool)) == sorted(f"key-{n}" for n in [*range(1_001), 2_000])
    assert actions(said).count("spool_refused") == actions(said).count("spool_written") == 1


def test_a_read_only_disk_is_waited_for_too(disk: SmallDisk, said: list[dict[str, Any]]) -> None:
    spool = spool_on(disk)

    async def go() -> None:
        async with batching(spool, BATCH_SIZE="10") as batch:
            disk.remount("ro")
            writing = asyncio.create_task(batch.on_message("execute-0", rows(range(10), total=10)))
            await come_true(lambda: said)
            disk.remount("rw")
            await writing

    asyncio.run(go())
    assert keys_in(spool) == [f"key-{number}" for number in range(10)]
    assert "Read-only file system" in said[0]["text"]


def test_a_folder_that_is_gone_ends_the_stage_and_says_so(disk: SmallDisk) -> None:
    spool = spool_on(disk)

    async def go() -> None:
        async with batching(spool, BATCH_SIZE="10") as batch:
            shutil.rmtree(spool.folder)
            await batch.on_message("execute-0", rows(range(10), total=10))

    with pytest.raises(StageFailed, match=f"the spool's folder {spool.folder} is gone"):
        asyncio.run(go())
    # Not made anew by the process that comes in its place: nobody would hold it.
    with pytest.raises(StageFailed, match="is gone"):
        asyncio.run(go())
    assert not spool.folder.exists()


# ── the load stage ───────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def loading(spool: Spool, settings: dict[str, str]) -> AsyncIterator[tuple[Load, DataLink]]:
    """A load stage, and ``fetch``'s end of the link to it."""
    stage = Load("load", load(environ={**settings, "SPOOL_DIR": str(spool.folder)}, needs=()))
    await stage.start()
    ours, theirs = map(DataLink, socket.socketpair())
    stage.links["fetch"] = theirs
    try:
        async with asyncio.timeout(LIMIT_S):
            yield stage, ours
    finally:
        await ended(stage)
        await stage.close()
        ours.close()
        theirs.close()


async def receipts(link: DataLink) -> AsyncIterator[Receipt]:
    while (messages := await link.receive()) is not None:
        for message in messages:
            assert isinstance(message, Receipt)
            yield message


def test_a_loaded_batch_that_cannot_be_removed_is_loaded_again_until_it_can(
    disk: SmallDisk, settings: dict[str, str], said: list[dict[str, Any]]
) -> None:
    spool = spool_on(disk)
    sealed(spool)

    async def go() -> None:
        async with loading(spool, settings) as (stage, link):
            disk.remount("ro")
            await stage.on_begin(Begin(until_empty=False))
            told = receipts(link)
            await anext(told)
            await come_true(lambda: "load_failed" in actions(said))
            disk.remount("rw")
            again = await anext(told)
            assert (again.batch_id, again.resources) == ("b-1", 2)
            await come_true(stage.idle)
            assert stage.counters[RESOURCES_LOADED] == 0, "MERGE found them"

    asyncio.run(go())
    assert spool.list() == {}
    assert "Read-only file system" in next(
        line["text"] for line in said if line["action"] == "load_failed"
    )


def test_room_of_batches_that_another_process_has_loaded_is_given_back(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    spool = Spool(tmp_path)
    sealed(spool, "b-1")
    sealed(spool, "b-2")

    async def go() -> None:
        async with loading(spool, settings) as (stage, link):
            spool.remove("b-1")
            await stage.on_begin(Begin(until_empty=False))
            told = receipts(link)
            gone, loaded = await anext(told), await anext(told)
            assert (gone.batch_id, gone.parts) == ("b-1", [])
            assert (loaded.batch_id, loaded.resources) == ("b-2", 2)

    asyncio.run(go())


def test_a_full_disk_for_temporary_files_is_said_and_waited_for(
    disk: SmallDisk,
    settings: dict[str, str],
    tmp_path: Path,
    said: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
    (tmp_path / "0").mkdir()
    spool = Spool(tmp_path / "0")
    sealed(spool)
    disk.fill()

    async def go() -> None:
        async with loading(spool, settings) as (stage, _):
            await stage.on_begin(Begin(until_empty=False))
            await come_true(lambda: "load_failed" in actions(said))
            disk.clear()
            await come_true(stage.idle)
            assert stage.counters["batches_loaded_total"] == 1

    asyncio.run(go())
    (failed, *_) = [line["text"] for line in said if line["action"] == "load_failed"]
    assert "No space left" in failed
    assert "TMPDIR" in failed

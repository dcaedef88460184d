"""The stage with its links: what is sealed when."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.links import DataLink
from pipeline.messages import Flush, Sealed
from pipeline.spool import Spool
from stages.batch.stage import Batch
from tests.unit.batch.rows_made import frame
from tests.unit.config_read import read
from tests.unit.links_limit import run


@asynccontextmanager
async def batching(folder: Path, **settings: str) -> AsyncIterator[tuple[DataLink, DataLink]]:
    """A stage that reads its links; gives the other ends, of ``execute-0`` and ``fetch``."""
    stage = Batch("batch", read({"SPOOL_DIR": str(folder), **settings}))
    await stage.start()
    ends = []
    for peer in ("execute-0", "fetch"):
        ours, theirs = map(DataLink, socket.socketpair())
        stage.links[peer] = theirs
        stage.spawn(stage._read(peer, theirs))
        ends.append(ours)
    try:
        yield ends[0], ends[1]
    finally:
        for end in (*ends, *stage.links.values()):
            end.close()
        for task in (tasks := list(stage._tasks)):
            task.remove_done_callback(stage._task_ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def sealed(link: DataLink) -> list[int]:
    """Rows in each batch that the next words tell of."""
    words = await link.receive() or []
    return [sum(part.rows for part in word.parts) for word in words if isinstance(word, Sealed)]


def test_a_flush_takes_the_rows_that_were_written_before_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with batching(tmp_path, BATCH_TIMEOUT="600") as (execute, fetch):
            for index in range(50):
                await execute.send(frame(range(index, index + 1), total=1, index=index))
                if index % 10 == 0:
                    await asyncio.sleep(0)
            await fetch.send(Flush())
            assert await sealed(fetch) == [50]
            # And none is left for another.
            await fetch.send(Flush())
            await execute.send(frame(range(1), total=1))
            await asyncio.sleep(0.1)
            await fetch.send(Flush())
            assert sum(await sealed(fetch)) == 1

    run(test)
    assert len(Spool(tmp_path).list()) == 2


def test_a_batch_is_sealed_so_long_after_its_first_row(tmp_path: Path) -> None:
    async def test() -> None:
        async with batching(tmp_path, BATCH_TIMEOUT="0.3") as (execute, fetch):
            for index in range(2):
                began_s = time.monotonic()
                await execute.send(frame(range(1), total=1, index=2 * index))
                await asyncio.sleep(0.1)
                await execute.send(frame(range(1, 2), total=1, index=2 * index + 1))
                assert await sealed(fetch) == [2]
                assert time.monotonic() - began_s >= 0.3

    run(test)


def test_rows_close_a_batch_at_batch_size(tmp_path: Path) -> None:
    async def test() -> None:
        async with batching(tmp_path, BATCH_TIMEOUT="600", BATCH_SIZE="4") as (execute, fetch):
            frames = [frame(range(n, n + 1), total=1, index=n) for n in range(4)]
            # Three and three are too many for one, and stay together.
            lists = [frame(range(9, 12), total=3, index=index) for index in (4, 5)]
            await execute.send(*frames, *lists)
            found: list[int] = []
            while len(found) < 2:
                found += await sealed(fetch)
            assert found == [4, 3]
            await fetch.send(Flush())
            assert await sealed(fetch) == [3]

    run(test)

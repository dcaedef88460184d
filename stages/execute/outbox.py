"""Requests that are done, on their way to ``batch``: as many in one write as have come together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pipeline.links import LinkClosed
from pipeline.messages import Executed
from pipeline.stage import Stage
from stages.execute.held import Held, frames_of
from stages.execute.run import RequestRun

# What is done waits so long for company: every write costs its reader as much as a few rows do.
GATHER_S = 0.01


class Outbox:
    """What is done and not yet written.

    Args:
        stage: whose links are written to.
        written: told of requests that ``batch`` has, before ``fetch`` is.
    """

    def __init__(self, stage: Stage, written: Callable[[Sequence[RequestRun]], object]) -> None:
        self._stage = stage
        self._written = written
        self._waiting: list[tuple[RequestRun, Held]] = []
        self._wanted = asyncio.Event()
        self._writing = 0

    def __len__(self) -> int:
        return len(self._waiting) + self._writing

    def put(self, run: RequestRun, held: Held) -> None:
        """Write a request's rows to ``batch``, wholly to one process of it; then tell ``fetch``."""
        self._waiting.append((run, held))
        self._wanted.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GATHER_S)
            self._wanted.clear()
            done, self._waiting = self._waiting, []
            self._writing = len(done)
            generation = await self._write(done)
            self._writing = 0
            runs = [run for run, _ in done]
            self._written(runs)
            told = [
                Executed(run.lease.lease_id, run.lease.attempt, run.planned.index, generation)
                for run in runs
            ]
            await self._stage.send("fetch", *told)
            if self._stage.idle():
                self._stage.beat()

    async def _write(self, done: Sequence[tuple[RequestRun, Held]]) -> int:
        """Which ``batch`` has them."""
        stage = self._stage
        while True:
            link = await stage.link_to("batch")
            generation = stage.generations["batch"]
            try:
                await link.send_frames(frames_of(held for _, held in done))
                return generation
            except LinkClosed:
                await stage.peer_gone("batch", link)

"""The batch process: rows of whole requests become Arrow batches, sealed in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing
from typing import ClassVar

from pipeline.config import Config
from pipeline.entry_points import kind_of
from pipeline.logs import log
from pipeline.messages import AnyLink, Drain, Flush, Part, Rows, Sealed, Unsealed
from pipeline.spool import Spool, new_batch_id
from pipeline.stage import Stage
from stages.batch.assembly import Assembly, Whole
from stages.batch.builder import BatchBuilder
from stages.batch.patience import Patience

# Rows of an ``execute`` process are read so often at most, unless they are many.
ROWS_PAUSE_S = 0.02


class Batch(Stage):
    """Stage ``batch``."""

    read_pauses_s: ClassVar[Mapping[str, float]] = {"execute": ROWS_PAUSE_S}

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        self._spool = Spool(config.spool_dir)
        self._assembly = Assembly(config.spool_dir)
        self._patience = Patience(self._spool)
        self._rows_sealed = self.metrics.histogram("batch_rows")
        self._bytes_sealed = self.metrics.histogram("batch_bytes")
        self._builder: BatchBuilder | None = None
        self._first_row_s = 0.0
        self._opened = asyncio.Event()
        # Held over a whole request, so that no other one's rows close the batch in its middle.
        self._filling = asyncio.Lock()

    async def start(self) -> None:
        """Clear up after a batch process that died while it wrote."""
        self._spool.check()
        if removed := self._spool.remove_unfinished():
            log.bind(action="unfinished_removed", files=removed).warning(
                "removed {} half-written batches; their messages are collected again", removed
            )
        self.spawn(self._watch_timeout())

    async def on_peer(self, peer: str, generation: int) -> None:
        """What a dead execute process had begun will not be finished; a new ``fetch`` is told."""
        if kind_of(peer) == "execute":
            self._assembly.forget(peer)
        elif peer == "fetch":
            await self.send(peer, Unsealed(self._builder.parts if self._builder else []))

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """Rows come in."""
        match message:
            case Rows():
                whole = await self._assemble(peer, message)
                if whole is not None and not self._take_at_once(whole):
                    async with self._filling:
                        await self._take(whole)
            case Flush():
                # Rows that were written before it may still wait for their reader.
                await asyncio.sleep(ROWS_PAUSE_S)
                async with self._filling:
                    await self._seal()
                # After the word of the last batch: it does not wait for company either.
                await self.send("load", message)

    async def drain(self, request: Drain) -> None:
        """Seal what is here."""
        async with self._filling:
            await self._seal()

    def idle(self) -> bool:
        """No row waits here."""
        return self._builder is None and not len(self._assembly)

    def gauges(self) -> dict[str, float]:
        """Rows in the open batch, writes that the disk refuses."""
        builder = self._builder
        return {
            "open_batch_rows": float(builder.resources) if builder is not None else 0.0,
            "writes_refused": float(self._patience.waiting),
        }

    async def _assemble(self, peer: str, rows: Rows) -> Whole | None:
        if rows.outcome is not None:  # nothing is written
            return self._assembly.add(peer, rows)

        async def add() -> Whole | None:
            return self._assembly.add(peer, rows)

        # Outside of ``_filling``: to seal the open batch must stay possible.
        return await self._patience.write(add)

    def _take_at_once(self, whole: Whole) -> bool:
        """Take a request into the open batch, if that does not close it and nobody is at it."""
        builder, only = self._builder, whole.only
        if builder is None or only is None or self._filling.locked():
            return False
        rows = max(builder.resources + whole.rows, builder.requests + 1)
        size_bytes = builder.size_bytes + whole.size_bytes
        if rows >= self.config.batch_size or size_bytes >= self.config.batch_bytes:
            return False
        builder.add(only)
        return True

    async def _take(self, whole: Whole) -> None:
        with closing(whole):
            if self._builder is not None and self._would_overflow(self._builder, whole):
                await self._seal()
            for frame in whole:
                if self._builder is None:
                    self._builder = BatchBuilder(new_batch_id())
                    self._first_row_s = time.monotonic()
                    self._opened.set()
                self._builder.add(frame)
                if self._builder.size_bytes >= self.config.batch_bytes:
                    await self._seal()
        if self._builder is not None and len(self._builder) >= self.config.batch_size:
            await self._seal()

    def _would_overflow(self, builder: BatchBuilder, whole: Whole) -> bool:
        rows = max(builder.resources + whole.rows, builder.requests + 1)
        size_bytes = builder.size_bytes + whole.size_bytes
        return rows > self.config.batch_size or size_bytes > self.config.batch_bytes

    async def _watch_timeout(self) -> None:
        while True:
            await self._opened.wait()
            left_s = self._first_row_s + self.config.batch_timeout - time.monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
                continue
            async with self._filling:
                await self._seal()

    async def _seal(self) -> None:
        """Seal the open batch, then tell ``load`` and ``fetch``."""
        builder = self._builder
        if builder is None:
            return
        size_bytes, parts = await self._write(builder)
        self._builder = None
        self._opened.clear()
        self.counters["batches_sealed_total"] += 1
        self._rows_sealed.observe(builder.resources)
        self._bytes_sealed.observe(size_bytes)
        await self.send("fetch", Sealed(builder.batch_id, size_bytes, parts))
        await self.send("load", Sealed(builder.batch_id, size_bytes, []))
        log.bind(
            action="sealed",
            batch_id=builder.batch_id,
            resources=builder.resources,
            requests=builder.requests,
            size_bytes=size_bytes,
        ).debug("sealed a batch")
        self.beat()

    async def _write(self, builder: BatchBuilder) -> tuple[int, list[Part]]:
        """Write the batch to the spool, however long its disk is full."""
        resources, requests, parts = builder.build()

        async def seal() -> int:
            return await asyncio.to_thread(
                self._spool.seal, builder.batch_id, resources, requests, parts
            )

        return await self._patience.write(seal), parts

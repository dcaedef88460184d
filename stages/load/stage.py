"""The load process: takes sealed batches from the spool, commits them, sends the receipts.

The spool's folder is the truth; a word from ``batch`` only says that it is worth a look. A batch is
removed after its receipt is with the kernel: whatever dies in between, it is loaded again, and
MERGE finds it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pipeline.config import Config
from pipeline.errors import DependencyError, Unreachable
from pipeline.logs import log
from pipeline.messages import (
    AnyLink,
    Begin,
    Damaged,
    Drain,
    Excused,
    Flush,
    Receipt,
    Sealed,
    SpoolFound,
)
from pipeline.metrics.reached import Reached
from pipeline.metrics.series import series_of
from pipeline.spool import DamagedBatch, Spool
from pipeline.stage import Stage
from stages.load.failures import WHAT
from stages.load.loader import Loader
from stages.load.loads import Done, Loads
from stages.load.pace import Pace
from stages.load.pruning import Pruning
from stages.load.traced import trace_failure, trace_load

# A failed load is tried again after this, doubling, with jitter.
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
# How often a drain looks whether all is loaded.
DRAIN_POLL_S = 0.05
# How often the spool is looked into without a word from ``batch``.
RESCAN_S = 2.0
# How often Snowflake is asked for a sign of life while nothing is loaded.
ASK_EVERY_S = 30.0
# What is counted with labels.
COMMITTED = series_of("loads_total", "committed")
FAILED = series_of("loads_total", "failed")
RESOURCES_LOADED = series_of("rows_loaded_total", "RESOURCES")
REQUESTS_LOADED = series_of("rows_loaded_total", "REQUESTS")
# How long the end waits for the connector's thread, which a DELETE of old history may hold longer.
CLOSE_LIMIT_S = 10.0


class Load(Stage):
    """Stage ``load``."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        self._spool = Spool(config.spool_dir)
        self._loader = Loader(config)
        self._loads = Loads(self._spool, self._loader)
        self._pruning = Pruning(config)
        # One thread: the connector's session belongs to it.
        self._thread = ThreadPoolExecutor(1, "load")
        self._pace = Pace(
            config.batch_bytes, config.spool_bytes, config.batch_timeout, config.loads_per_minute
        )
        self._waiting: dict[str, int] = {}
        self._news = asyncio.Event()
        self._loading = False
        self._failures = 0
        self._last_load_s = 0.0
        self._last_load_at_s = 0.0
        self._seconds = self.metrics.histogram("load_seconds")
        self._snowflake = Reached()
        self._ask_at_s = 0.0
        self.counters.update(dict.fromkeys((COMMITTED, FAILED), 0))

    async def start(self) -> None:
        """Take over what others have left; connect, and see that the tables are there."""
        # Before anything is awaited: a new ``fetch`` is told what waits once it is linked.
        self._spool.check()
        if adopted := self._spool.adopt():
            log.bind(action="batches_adopted", batches=adopted).info(
                "took over {} batches that another collector had left", adopted
            )
        self._waiting = self._spool.list()
        self._loads.take_over(self._waiting)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._loader.open)
        self._snowflake.answered(time.monotonic())
        self._ask_at_s = time.monotonic() + ASK_EVERY_S

    async def on_begin(self, begin: Begin) -> None:
        """Load what an earlier process left, then what comes."""
        if self._waiting:
            log.bind(action="spool_found", batches=len(self._waiting)).info(
                "{} batches were waiting in the spool", len(self._waiting)
            )
        self.spawn(self._load_for_ever())

    async def on_peer(self, peer: str, generation: int) -> None:
        """A new ``fetch`` has to know what waits in the spool, and how full it is."""
        if peer == "fetch":
            waiting = dict(self._waiting)
            for sealed in await asyncio.to_thread(self._sealed, waiting):
                await self.send(peer, sealed)
            await self.send(peer, SpoolFound(waiting))

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """A batch was sealed, or there will be none for a while."""
        if isinstance(message, Sealed):
            self._waiting[message.batch_id] = message.size_bytes
            self._news.set()
        elif isinstance(message, Flush):
            self._pace.hurry(self._waiting)
            self._news.set()

    async def drain(self, request: Drain) -> None:
        """Load everything that waits, at once."""
        self._pruning.stop()
        # ``batch`` has sealed its last one, but its word may still be on the way.
        while (waiting := self._spool.list()) or self._loading:
            self._pace.hurry(waiting)
            self._news.set()
            await asyncio.sleep(DRAIN_POLL_S)

    async def close(self) -> None:
        """End the session, if no load holds it."""
        if self._loading:
            self._loads.leave()
            return
        loop = asyncio.get_running_loop()
        ending = [
            loop.run_in_executor(self._thread, end)
            for end in (self._loader.close, self._pruning.close)
        ]
        for ended in (await asyncio.wait(ending, timeout=CLOSE_LIMIT_S))[0]:
            ended.result()

    def idle(self) -> bool:
        """Nothing waits and nothing is being loaded."""
        return not self._waiting and not self._loading

    def gauges(self) -> dict[str, float]:
        """Batches that wait, seconds of the last load, failures in a row."""
        return {
            "spool_batches": float(len(self._waiting)),
            "last_load_seconds": self._last_load_s,
            "last_load_timestamp_seconds": self._last_load_at_s,
            "load_failures": float(self._failures),
        }

    def reached(self, now_s: float) -> dict[str, float | None]:
        """Whether Snowflake answers."""
        return {"snowflake": self._snowflake.age_s(now_s)}

    def _sealed(self, waiting: dict[str, int]) -> list[Sealed]:
        """What ``batch`` said of these batches when it sealed them."""
        found = []
        for batch_id, size_bytes in waiting.items():
            # One that is loaded, damaged or out of reach is told of in its turn.
            with contextlib.suppress(OSError, DamagedBatch), self._spool.open(batch_id) as batch:
                found.append(Sealed(batch_id, size_bytes, batch.parts))
        return found

    async def _load_for_ever(self) -> None:
        apart = False
        while True:
            # A word that was sent while this process was being restarted is lost; the file is not.
            found = self._spool.list()
            await self._tell_gone(self._waiting.keys() - found.keys())
            self._waiting = found
            suspects = self._loads.suspects
            innocent = {one: size for one, size in found.items() if one not in suspects}
            turn = self._pace.turn(innocent, time.monotonic(), time.time())
            due = bool(turn.plan) and turn.wait_s <= 0
            # In turns: what kills this process holds up nothing else, and is not forgotten for it.
            apart = bool(suspects) and not (due and apart)
            if apart:
                await self._attempt(list(suspects), self._loads.apart)
            elif due:
                await self._attempt(turn.plan, partial(self._loads.together, turn.plan))
            else:
                # Nothing is asked of Snowflake meanwhile for which a warehouse would run.
                await self._await_news(min(RESCAN_S, turn.wait_s) if turn.plan else RESCAN_S)
                await self._ask_sometimes()

    async def _attempt(self, plan: list[str], load: Callable[[], Done]) -> None:
        """Load once, and wait if that fails."""
        self._loading = True
        started_s = time.monotonic()
        self._ask_at_s = started_s + ASK_EVERY_S
        self._snowflake.holding(started_s)
        try:
            if await self._load(load):
                self._pace.loaded(started_s)
            self._failures = 0
        except DependencyError as error:
            self._note_failure(error)
            self.counters[FAILED] += 1
            if self.tracer is not None:
                trace_failure(self.tracer, started_s, plan, error)
            await self._wait_after(error, plan)
        finally:
            self._loading = False
            self._snowflake.holding(None)
        if not self._waiting:
            self.beat()
            await self._prune()

    async def _ask_sometimes(self) -> None:
        """See that Snowflake is there, if somebody may want to know and nothing was loaded."""
        now_s = time.monotonic()
        if not self.config.ops_port or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + ASK_EVERY_S
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._loader.ask)
            self._snowflake.answered(time.monotonic())
        except DependencyError as error:
            self._note_failure(error)
            log.bind(action="snowflake_away").warning("Snowflake does not answer: {}", error)

    def _note_failure(self, error: DependencyError) -> None:
        if error.what == WHAT:  # and not the spool's disk
            self._snowflake.failed()

    async def _prune(self) -> None:
        """Delete old history, if it is time to: the warehouse is awake, and nothing waits."""
        loop = asyncio.get_running_loop()
        while not self._waiting and self._pruning.due(time.time()):
            await loop.run_in_executor(self._thread, self._pruning.step, time.time())

    async def _await_news(self, limit_s: float) -> None:
        # Not wait_for(): in Python 3.11 it swallows a cancellation that comes with the news.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        self._news.clear()

    async def _load(self, load: Callable[[], Done]) -> bool:
        """Load, and say what came of it; return whether rows were committed."""
        started_s = time.monotonic()
        done = await asyncio.get_running_loop().run_in_executor(self._thread, load)
        self._last_load_s = time.monotonic() - started_s
        for _ in range(done.proved):
            # No crash loop: it was what they loaded, and other things can be loaded.
            self.tell_supervisor(Excused(self.name))
        receipts, loaded = done.receipts, done.loaded
        for receipt in receipts:
            await self.send("fetch", receipt)
            with _spool_can_be_changed(receipt.batch_id):
                self._spool.remove(receipt.batch_id)
        for batch_id, why in done.damaged.items():
            await self.send("fetch", Damaged(batch_id))
            with _spool_can_be_changed(batch_id):
                where = self._spool.set_aside(batch_id)
            log.bind(action="batch_damaged", batch_id=batch_id).error(
                "a sealed batch cannot be loaded and is collected again; it stands at {}: {}",
                where,
                why,
            )
        await self._tell_gone(done.gone)
        for batch_id in (*(one.batch_id for one in receipts), *done.damaged, *done.gone):
            self._waiting.pop(batch_id, None)
        self.counters["rows_set_aside_total"] += done.killing
        if loaded is None:
            return False
        self._last_load_at_s = time.time()
        self._seconds.observe(self._last_load_s)
        self.counters[COMMITTED] += 1
        self.counters["batches_loaded_total"] += len(receipts)
        self.counters[RESOURCES_LOADED] += loaded.resources
        self.counters[REQUESTS_LOADED] += loaded.requests
        self.counters["rows_set_aside_total"] += loaded.set_aside
        self._snowflake.answered(time.monotonic())
        if self.tracer is not None:
            trace_load(self.tracer, started_s, receipts)
        log.bind(
            action="loaded",
            batches=[receipt.batch_id for receipt in receipts],
            resources=loaded.resources,
            requests=loaded.requests,
            seconds=round(self._last_load_s, 3),
        ).info("loaded {} resources, {} requests", loaded.resources, loaded.requests)
        return True

    async def _tell_gone(self, batch_ids: Set[str]) -> None:
        """Tell ``fetch`` of batches that another process has loaded: they take no room any more.

        A collector killed a moment ago may have had a load under way on this spool.
        """
        for batch_id in sorted(batch_ids):
            await self.send("fetch", Receipt(batch_id, 0, 0, []))

    async def _wait_after(self, error: DependencyError, plan: list[str]) -> None:
        self._failures += 1
        wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** (self._failures - 1))
        wait_s *= random.uniform(0.5, 1.0)
        # What is not retryable waits for a person: the batches stay until it is mended.
        level = "WARNING" if error.retryable else "ERROR"
        log.bind(action="load_failed", batches=plan, failures=self._failures).log(
            level, "a load failed and is tried again in {:.1f} s: {}", wait_s, error
        )
        await asyncio.sleep(wait_s)


@contextlib.contextmanager
def _spool_can_be_changed(batch_id: str) -> Iterator[None]:
    # A batch that cannot be removed is loaded again until it can; MERGE makes that harmless.
    try:
        yield
    except OSError as error:
        raise Unreachable("spool", f"{batch_id} cannot be taken out of it: {error}") from error

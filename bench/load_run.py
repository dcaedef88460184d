"""One measurement of ``batch`` and ``load``: the collector's own processes, fed with rows.

The measuring process stands where the supervisor, ``execute`` and ``fetch`` stand in a collector:
it starts the two stages, joins them, sends rows as frames, and hears the receipts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bench import load_probe
from bench.load_probe import LoadNote
from bench.load_rows import frames
from pipeline.config import Config
from pipeline.config import load as read_config
from pipeline.errors import CollectorError
from pipeline.launch import Before, launch
from pipeline.links import ControlLink, DataLink
from pipeline.messages import (
    AnyLink,
    Attach,
    Begin,
    Flush,
    Ready,
    Receipt,
    Sealed,
    StartFailed,
    Stop,
)
from pipeline.sandbox.runner import Sandbox
from stages.load.pace import first_row_s
from stages.load.session import connect

PROFILE = "high-throughput"
# What the bar is: a load for each so many bytes of Arrow data, or each BATCH_TIMEOUT.
BYTES_PER_LOAD = 100_000_000
# Peak memory, in batches.
MOST_BATCHES = 3
START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
# A measurement that loads fewer rows a second than this has failed.
LEAST_ROWS_PER_S = 500
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# A load that begins so long before its batch is BATCH_TIMEOUT old was no load of the time-out.
TIMER_S = 0.05


class MeasurementError(CollectorError):
    """What was measured is no measurement: a stage failed, or the table does not hold every row."""


@dataclass(frozen=True)
class Usage:
    """What a process has used up to a moment.

    Attributes:
        processor_s: of all its threads.
        peak_bytes: the most memory that it had resident, mapped files included.
    """

    processor_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        rows: that were fed, and are in the table.
        seconds: from the first row sent to the last receipt.
        batch: what ``batch`` used from its start on.
        batch_start: of that, before the first row.
        load: the same of ``load``.
        load_start: of that, before the first row.
        batch_bytes: sizes of the sealed batches, in the order of sealing.
        loads: in their order.
        config: in force.
    """

    rows: int
    seconds: float
    batch: Usage
    batch_start: Usage
    load: Usage
    load_start: Usage
    batch_bytes: list[int]
    loads: list[LoadNote]
    config: Config

    @property
    def arrow_bytes(self) -> int:
        """Of all batches."""
        return sum(self.batch_bytes)

    @property
    def loads_allowed(self) -> int:
        """One for each 100 MB, one for each BATCH_TIMEOUT that had passed, one for the rest."""
        by_time = sum(waited_s(one) >= self.config.batch_timeout - TIMER_S for one in self.loads)
        return self.arrow_bytes // BYTES_PER_LOAD + by_time + 1

    @property
    def batch_row_s(self) -> float:
        """Processor time of ``batch`` a row, without its start."""
        return (self.batch.processor_s - self.batch_start.processor_s) / self.rows

    @property
    def load_row_s(self) -> float:
        """Processor time of ``load`` a row, without its start."""
        return (self.load.processor_s - self.load_start.processor_s) / self.rows

    @property
    def write_pandas_row_s(self) -> float:
        """Processor time a row within ``write_pandas``."""
        return sum(one.write_pandas_s for one in self.loads) / self.rows

    @property
    def write_pandas_share(self) -> float:
        """Part of the processor time of both that is ``write_pandas`` itself, 0 to 1."""
        return self.write_pandas_row_s / (self.batch_row_s + self.load_row_s)

    @property
    def rows_per_s(self) -> float:
        """Mean rate."""
        return self.rows / self.seconds

    def problems(self) -> list[str]:
        """Where it is past the bar."""
        found = []
        if len(self.loads) > self.loads_allowed:
            found.append(f"{len(self.loads)} loads; {self.loads_allowed} are allowed")
        for name, used in (("batch", self.batch), ("load", self.load)):
            batches = used.peak_bytes / self.config.batch_bytes
            if batches >= MOST_BATCHES:
                found.append(f"{name} had {batches:.2f} batches in memory; less than 3 are allowed")
        return found


def waited_s(load: LoadNote) -> float:
    """How old the first row of a load was when it began."""
    return load.began_s - first_row_s(load.batch_ids[0])


def measure(rows: int, overrides: Mapping[str, str] | None = None) -> Measured:
    """Measure once, with a sandbox's Snowflake in a process of its own.

    Args:
        rows: to feed.
        overrides: of the profile's settings.

    Raises:
        MeasurementError: a stage failed or took too long, or rows are missing.
        SandboxError: the sandbox could not be had.
    """
    with (
        tempfile.TemporaryDirectory(prefix="load-rate-", ignore_cleanup_errors=True) as name,
        Sandbox(Path(name) / "sandbox", parts=("snowflake",)) as sandbox,
    ):
        folder = Path(name)
        # None of the machine's own settings: the profile's, and the sandbox's.
        config = read_config(
            PROFILE,
            {"LOG_LEVEL": "WARNING", **(overrides or {})},
            {},
            needs=("snowflake",),
            sandbox=sandbox.settings,
        )
        config.spool_dir.mkdir()
        notes = folder / "loads.jsonl"
        os.environ[load_probe.FILE_VARIABLE] = str(notes)
        measured = asyncio.run(_run(config, rows, notes))
        with connect(config) as session:
            found = session.run(
                'SELECT COUNT(*), COUNT(DISTINCT "ROW_KEY"), COUNT("BODY") FROM "RESOURCES"'
            )[0]
        if {int(count) for count in found} != {rows}:
            raise MeasurementError(f"{rows:,} rows were fed; the table has {found}")
        return measured


# ── the stages ───────────────────────────────────────────────────────────────────────────────────


class StageProcess:
    """A stage's process, as its supervisor has it.

    Args:
        name: ``batch`` or ``load``.
        config: settings for it.
        before: called in it before it becomes the stage.
    """

    def __init__(self, name: str, config: Config, before: Before | None = None) -> None:
        self.name = name
        launched = launch(name, config, before)
        self.process: BaseProcess = launched.process
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.problem = ""
        self.control = ControlLink(launched.control, self._told, self.ended.set)

    def attach(self, peer: str, end: socket.socket) -> None:
        """Hand it its end of a link."""
        self.control.send(Attach(peer, 1), [end.fileno()])

    def usage(self) -> Usage:
        """What it has used so far, as the system counts it."""
        folder = Path(f"/proc/{self.process.pid}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return Usage(
            processor_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
            peak_bytes=int(status["VmHWM"].split()[0]) * 1024,
        )

    def stop(self) -> None:
        """End it."""
        self.control.send(Stop())
        self.process.join(STOP_LIMIT_S)
        self.process.kill()
        self.process.join()
        self.process.close()
        self.control.close()

    def _told(self, message: AnyLink, _: list[int]) -> None:
        if isinstance(message, Ready):
            self.ready.set()
        elif isinstance(message, StartFailed):
            self.problem = message.problem
            self.ended.set()


@asynccontextmanager
async def _stages(config: Config) -> AsyncIterator[tuple[StageProcess, StageProcess]]:
    started: list[StageProcess] = []
    try:
        started.append(StageProcess("batch", config))
        started.append(StageProcess("load", config, load_probe.begin))
        batch, load = started
        for stage in started:
            await _or_failed(asyncio.ensure_future(stage.ready.wait()), started)
        yield batch, load
    finally:
        for stage in started:
            stage.stop()


async def _or_failed(work: asyncio.Future[Any], stages: Sequence[StageProcess]) -> None:
    """Wait for what is done, unless a stage ends.

    Raises:
        MeasurementError: one has ended.
    """
    deaths = {asyncio.ensure_future(stage.ended.wait()): stage for stage in stages}
    done, _ = await asyncio.wait([work, *deaths], return_when=asyncio.FIRST_COMPLETED)
    for waiting in (*deaths, work):
        if waiting not in done:
            waiting.cancel()
    for death, stage in deaths.items():
        if death in done:
            raise MeasurementError(f"{stage.name} ended {stage.problem}".rstrip())
    work.result()


# ── feeding ──────────────────────────────────────────────────────────────────────────────────────


class _Heard:
    """What ``fetch`` would hear."""

    def __init__(self, rows: int) -> None:
        self._left = rows
        self.all_in = asyncio.Event()
        self.batch_bytes: list[int] = []

    async def listen(self, link: DataLink) -> None:
        while (messages := await link.receive()) is not None:
            for message in messages:
                if isinstance(message, Sealed):
                    self.batch_bytes.append(message.size_bytes)
                elif isinstance(message, Receipt):
                    self._left -= message.resources
                    if self._left <= 0:
                        self.all_in.set()


async def _run(config: Config, rows: int, notes: Path) -> Measured:
    limit_s = START_LIMIT_S + config.batch_timeout + rows / LEAST_ROWS_PER_S
    try:
        async with asyncio.timeout(limit_s), _stages(config) as (batch, load):
            return await _feed(config, rows, notes, batch, load)
    except TimeoutError:
        raise MeasurementError(f"not measured within {limit_s:.0f} s") from None


async def _feed(
    config: Config, rows: int, notes: Path, batch: StageProcess, load: StageProcess
) -> Measured:
    with _joined(batch, load) as (to_batch, from_batch, from_load):
        heard = _Heard(rows)
        for stage in (batch, load):
            stage.control.send(Begin())
        listening = [asyncio.ensure_future(heard.listen(one)) for one in (from_batch, from_load)]
        before = batch.usage(), load.usage()
        began_s = time.monotonic()

        async def send() -> None:
            for frame in frames(rows, time.time_ns() // 1000):
                await to_batch.send(frame)
            # As ``fetch`` says it at the end of a queue.
            await from_batch.send(Flush())
            await heard.all_in.wait()

        await _or_failed(asyncio.ensure_future(send()), [batch, load])
        seconds = time.monotonic() - began_s
        measured = Measured(
            rows=rows,
            seconds=seconds,
            batch=batch.usage(),
            batch_start=before[0],
            load=load.usage(),
            load_start=before[1],
            batch_bytes=heard.batch_bytes,
            loads=load_probe.read(notes),
            config=config,
        )
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        return measured


@contextmanager
def _joined(batch: StageProcess, load: StageProcess) -> Iterator[list[DataLink]]:
    """Join the two with each other and with ``execute-0`` and ``fetch``, who are here."""
    ends = []
    for a, b in ((batch, "execute-0"), (batch, "fetch"), (load, "fetch")):
        ours, theirs = socket.socketpair()
        with theirs:
            a.attach(b, theirs)
        ends.append(DataLink(ours))
    left, right = socket.socketpair()
    with left, right:
        batch.attach("load", left)
        load.attach("batch", right)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()

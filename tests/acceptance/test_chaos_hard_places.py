"""A process that dies of SIGKILL at the worst instant takes nothing with it and doubles nothing."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.slots import hold_folder
from tests.acceptance.chaos.deaths import Deaths, told
from tests.acceptance.chaos.hooked import MARKERS_VARIABLE, PLACES_VARIABLE, find
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.places import PLACES
from tests.acceptance.command import ROOT, Running
from tests.acceptance.stores import queue, tables
from tests.processes import until

KILLED = "killed by SIGKILL"
# A message comes again soon after its fetch has died. How often is no matter here: no message is to
# be poison for having come often.
SHORT_LEASES = {"VISIBILITY_TIMEOUT": "3", "MAX_DEQUEUE_COUNT": "100"}
# A list of so many rows, so large each, takes several frames and several batches.
LONG_LIST_ROWS, LONG_LIST_ROW_BYTES, BATCH_BYTES = 300, 8_000, 1_000_000
LATENCY_MS = 150
# The most that a queue shows without leasing it.
PEEKED = 32


@dataclass(frozen=True)
class Run:
    """One run of the collector, and where its stages die.

    Attributes:
        places: names of places. A stage is restarted at once, then with doubling delays, and eight
            deaths in a row are a crash loop: five of one stage are enough for one run.
        settings: of the collector.
        bad: messages sent that break a rule.
        long_lists: lists of several frames asked for.
        fresh_tables: the collector makes them.
    """

    places: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    bad: int = 0
    long_lists: int = 0
    fresh_tables: bool = False


RUNS = {
    "loading, sealing": Run(
        (
            *("half-the-tables", "after-copy", "before-commit", "after-commit"),
            *("rows-read", "half-a-batch", "batch-synced", "batch-renamed"),
            *("rows-written", "half-a-row", "new-end-received"),
        ),
        settings={"BATCH_SIZE": "20"},
        fresh_tables=True,
    ),
    "links, long lists": Run(
        (
            *("half-a-receipt", "receipt-sent", "batch-removed"),
            *("first-end-received", "half-a-seal-told", "seal-told-to-fetch"),
            *("work-read", "first-part-of-a-list", "seal-of-a-part-told"),
        ),
        settings={"BATCH_SIZE": "400", "BATCH_BYTES": str(BATCH_BYTES)},
        long_lists=3,
    ),
    "receiving, poison": Run(
        ("received", "half-the-work", "poison-sent", "poison-marked", "poison-written"),
        settings=SHORT_LEASES,
        bad=5,
    ),
    "leases": Run(
        ("before-renewal", "after-renewal", "before-delete", "after-delete"),
        # No batch is sealed before the leases are renewed.
        settings=SHORT_LEASES | {"BATCH_TIMEOUT": "2", "BATCH_SIZE": "100000"},
    ),
}


# Start by start: while the stages are started, while one that has died is joined to the others,
# while batches are adopted and while it drains, while it gives messages back.
STARTS = (
    "stages-half-started",
    *("after-commit", "one-end-handed"),
    *("adopting", "half-drained"),
    "after-release",
)


@pytest.mark.parametrize("name", RUNS)
def test_a_stage_that_dies_there_is_made_good(
    settings: dict[str, str], tmp_path: Path, name: str
) -> None:
    run = RUNS[name]
    settings |= run.settings
    if run.fresh_tables:
        settings["SNOWFLAKE_SCHEMA"] = fresh_schema(settings)
    job = Job(settings)
    job.send(60)
    job.send_bad(run.bad)
    send_long_lists(job, run.long_lists)
    deaths = Deaths(tmp_path, run.places)
    with deaths.collector(settings) as running:
        deaths.await_all()
        job.await_empty()
        drain(running)
    assert told(running.output) == {(k, KILLED): n for k, n in deaths.by_kind().items()}
    if "half-a-batch" in run.places:
        assert '"unfinished_removed"' in running.output
    assert_nothing_is_left(deaths, job)


def test_a_collector_that_dies_there_is_made_good_by_the_next_start(
    settings: dict[str, str], tmp_path: Path
) -> None:
    settings |= SHORT_LEASES | {"NUM_THREADS": "2", "BATCH_SIZE": "20"}
    job = Job(settings)
    job.send(60)
    deaths = Deaths(tmp_path, STARTS)
    with slow_answers(job):
        # What the first two leave is in another folder than the third one's.
        first_folder = hold_folder(Path(settings["SPOOL_DIR"]) / "0")
        assert first_folder is not None
        with first_folder:
            for died_at in ("stages-half-started", "one-end-handed"):
                with deaths.collector(settings) as running:
                    assert running.ended() == -signal.SIGKILL, running.output[-6000:]
                assert died_at in deaths.happened()
        for died_at, code in (("half-drained", -signal.SIGKILL), ("after-release", 0)):
            # What the one before had leased: with little to do, there is nothing to drain.
            await_visible(job)
            with deaths.collector(settings) as running:
                job.await_calls(10)
                running.send(signal.SIGTERM)
                assert running.ended() == code, running.output[-6000:]
            assert died_at in deaths.happened(), running.output[-6000:]
    with deaths.collector(settings) as running:
        job.await_empty()
        drain(running)
    deaths.await_all()
    assert_nothing_is_left(deaths, job)


@pytest.mark.parametrize("name", PLACES)
def test_the_place_is_still_in_the_code(name: str) -> None:
    assert callable(find(PLACES[name].where)[2])


def test_somebody_dies_at_every_place() -> None:
    assert set(PLACES) == {place for run in RUNS.values() for place in run.places} | set(STARTS)


def test_the_product_knows_nothing_of_it() -> None:
    for top in ("pipeline", "stages"):
        for path in (ROOT / top).rglob("*.py"):
            text = path.read_text()
            assert PLACES_VARIABLE not in text
            assert MARKERS_VARIABLE not in text


# ── how a run begins and ends ────────────────────────────────────────────────────────────────────


def fresh_schema(settings: dict[str, str]) -> str:
    name = f"S_{secrets.token_hex(4).upper()}"
    with tables(settings) as session:
        session.run(f"CREATE SCHEMA {name}")
    return name


def send_long_lists(job: Job, count: int) -> None:
    subscription = job.arm.catalogue()["subscriptions"][0]
    for number in range(count):
        path = f"/subscriptions/{subscription}/providers/Long.Lists/{job.run}-{number}"
        rows = [
            {"id": f"{path}/{row}", "filling": "x" * LONG_LIST_ROW_BYTES}
            for row in range(LONG_LIST_ROWS)
        ]
        job.arm.recordings([{"path": path, "body": json.dumps({"value": rows})}], add=True)
        job.send_paths([path])


@contextmanager
def slow_answers(job: Job) -> Iterator[None]:
    """Each call takes its time: with few threads, a collection can be drained in its middle."""
    job.arm.settings(latency_ms=LATENCY_MS)
    try:
        yield
    finally:
        job.arm.settings(latency_ms=0)


def await_visible(job: Job) -> None:
    """Wait until the leases of a dead collector have run out."""
    with queue(job.settings) as client:
        until(lambda: len(client.peek_messages(PEEKED)) == min(PEEKED, job.left()))


def drain(running: Running) -> None:
    running.send(signal.SIGTERM)
    assert running.ended() == 0, running.output[-6000:]


def assert_nothing_is_left(deaths: Deaths, job: Job) -> None:
    """Every row once, every word of the ledger; no batch in the spool, and no process."""
    job.assert_whole()
    spool = Path(job.settings["SPOOL_DIR"])
    left = [p for p in spool.rglob("*") if p.suffix in (".part", ".arrow", ".damaged")]
    assert left == []
    deaths.await_no_process()

"""Batches that cannot be read hold up nothing: they stand aside, and what they held comes again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.chaos.events import EventLog
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector
from tests.processes import until

MESSAGES = 60
BATCHES = 6
LIMIT_S = 30.0
# None of them is delivered again: fetch keeps the leases, and asks anew.
SETTINGS = {"BATCH_SIZE": "10", "MAX_DEQUEUE_COUNT": "1"}


def instead(batch: Path, data: bytes) -> None:
    """In its place: who has it mapped goes on with what it was."""
    other = batch.with_suffix(".other")
    other.write_bytes(data)
    other.rename(batch)


def cut(batch: Path) -> None:
    instead(batch, batch.read_bytes()[: batch.stat().st_size // 2])


def empty(batch: Path) -> None:
    instead(batch, b"")


def flip(batch: Path) -> None:
    data = bytearray(batch.read_bytes())
    data[len(data) // 3] ^= 0x40
    instead(batch, data)


def forbid(batch: Path) -> None:
    """Where tests run as root, rights forbid nothing: a folder cannot be opened either."""
    batch.unlink()
    batch.mkdir()


DAMAGES: list[Callable[[Path], None]] = [cut, empty, flip, forbid]


def test_damaged_batches_are_collected_again(settings: dict[str, str], tmp_path: Path) -> None:
    settings |= SETTINGS
    job = Job(settings)
    log = EventLog(tmp_path / "out")

    def sealed() -> list[Path]:
        return sorted(Path(settings["SPOOL_DIR"]).rglob("*.arrow"))

    with collector(settings, log.file) as running:
        load = running.await_stages()["load"]
        # It must have none of them open yet.
        os.kill(load, signal.SIGSTOP)
        job.send(MESSAGES, requests=1)
        batches = until(lambda: len(found := sealed()) >= BATCHES and found)
        for damage, batch in zip(DAMAGES, batches, strict=False):
            damage(batch)
        os.kill(load, signal.SIGCONT)
        job.await_empty(LIMIT_S)
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]

    damaged = [batch.stem for batch in batches[: len(DAMAGES)]]
    aside = sorted(Path(settings["SPOOL_DIR"]).rglob("*.damaged"))
    assert [path.stem for path in aside] == damaged
    assert sealed() == []
    told = {event.line["batch_id"]: event.line["message"] for event in log.of("batch_damaged")}
    assert sorted(told) == damaged
    assert all(str(path) in told[path.stem] for path in aside)
    assert [log.count(action) for action in ("stage_died", "lease_lost")] == [0, 0]
    assert log.count("redo", stage="fetch") > 0
    job.assert_whole()
    assert job.deliveries() == {1: MESSAGES}

"""The flight recorder: what a process was busy with when it died, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest

from pipeline.messages import InCall
from stages.execute.flight import SLOT_BYTES, FlightRecorder, entry

THREADS = 25
CALL = InCall("queue", "0d5ac0f4-0a26-4a3c-9b7a-1b4a3f0a7d11", 7, False)
ALONE = InCall("q" * 63, "0d5ac0f4-0a26-4a3c-9b7a-1b4a3f0a7d12", 9_999, True)
spawn = multiprocessing.get_context("spawn")


def die_busy(path: Path) -> None:
    """A process that dies with one thread done and two busy."""
    recorder = FlightRecorder(path, THREADS)
    recorder.open()
    recorder.began(0, entry(CALL))
    recorder.ended(0)
    recorder.began(3, entry(CALL))
    recorder.began(THREADS - 1, entry(ALONE))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_was_busy_with_is_read_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "execute-0.flight"
    process = spawn.Process(target=die_busy, args=(path,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    recorder = FlightRecorder(path, THREADS)
    assert recorder.died_in == [CALL, ALONE]
    # Until it was told, nothing is forgotten: this process may die as well.
    assert FlightRecorder(path, THREADS).died_in == [CALL, ALONE]
    recorder.open()
    assert recorder.died_in == []
    assert FlightRecorder(path, THREADS).died_in == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_process_that_ends_in_order_was_killed_by_nothing(tmp_path: Path) -> None:
    path = tmp_path / "execute-0.flight"
    recorder = FlightRecorder(path, THREADS)
    recorder.open()
    recorder.began(1, entry(CALL))
    recorder.close()
    assert FlightRecorder(path, THREADS).died_in == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"\1",
        b"\1\xff" + b"x" * 190,
        b"\1" + entry(CALL).replace(b"queue", b"\xff\xfe\xe0\x80\xc0").ljust(SLOT_BYTES),
        random.Random(7).randbytes(4096),
    ],
    ids=["empty", "one byte", "no entry", "no UTF-8", "noise"],
)
def test_a_file_that_makes_no_sense_accuses_nobody(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "execute-0.flight"
    path.write_bytes(left)
    assert FlightRecorder(path, THREADS).died_in == []


def test_an_entry_that_has_no_room_is_left_out() -> None:
    assert entry(InCall("queue", "x" * SLOT_BYTES, 0, False)) == b""
    assert len(entry(ALONE)) < SLOT_BYTES


def test_without_a_file_it_records_nothing_and_the_process_lives(tmp_path: Path) -> None:
    recorder = FlightRecorder(tmp_path / "gone" / "execute-0.flight", THREADS)
    recorder.open()
    recorder.began(0, entry(CALL))
    recorder.ended(0)
    recorder.close()


def test_one_that_ends_late_leaves_the_file_of_the_next_alone(tmp_path: Path) -> None:
    path = tmp_path / "execute-0.flight"
    late, following = FlightRecorder(path, THREADS), FlightRecorder(path, THREADS)
    late.open()
    following.open()
    following.began(0, entry(CALL))
    late.began(1, entry(ALONE))
    late.close()
    assert FlightRecorder(path, THREADS).died_in == [CALL]

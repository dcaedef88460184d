"""What a disk has left, what of it is kept back, and how often its state is said."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.disk import Reminder, is_full, is_refusal, reserve_bytes, room_of

MIB = 1024 * 1024


def test_a_disk_says_what_it_has(tmp_path: Path) -> None:
    room = room_of(tmp_path)
    assert 0 < room.free_bytes <= room.total_bytes
    assert not room.read_only
    with pytest.raises(FileNotFoundError):
        room_of(tmp_path / "gone")


def test_a_batch_is_kept_back_and_on_a_small_disk_less() -> None:
    assert reserve_bytes(1024 * 1024 * MIB, 64 * MIB) == 64 * MIB
    assert reserve_bytes(1280 * MIB, 64 * MIB) == 64 * MIB
    assert reserve_bytes(20 * MIB, 64 * MIB) == MIB
    assert reserve_bytes(0, 64 * MIB) == 0


@pytest.mark.parametrize(
    ("number", "full", "refusal"),
    [
        (errno.ENOSPC, True, True),
        (errno.EDQUOT, True, True),
        (errno.EROFS, False, True),
        (errno.EIO, False, True),
        (errno.EACCES, False, True),
        (errno.ENOENT, False, False),
        (errno.EEXIST, False, False),
        (errno.EMFILE, False, False),
    ],
)
def test_errors_of_the_disks_state_are_told_from_others(
    number: int, full: bool, refusal: bool
) -> None:
    error = OSError(number, "…")
    assert (is_full(error), is_refusal(error)) == (full, refusal)


def test_what_lasts_is_said_once_and_then_each_minute() -> None:
    reminder = Reminder(60.0)
    assert not reminder.over()
    said_s = [second for second in range(200) if reminder.due(float(second))]
    assert said_s == [0, 60, 120, 180]
    assert reminder.saying
    assert (reminder.over(), reminder.over(), reminder.saying) == (True, False, False)
    assert reminder.due(200.0)

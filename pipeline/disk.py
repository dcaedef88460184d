"""The disk that the spool stands on: what room it has, and which errors are about its state.

The later a stage comes, the less room it leaves: ``fetch`` stops receiving first, then ``execute``
keeps no more rows on the disk, and the rest is for ``batch``. So what is collected already can go
on to Snowflake, which is what makes room again.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

# What a disk answers while it takes nothing, whatever is written. A person, or a load that removes
# its batches, can mend each of them while the collector waits.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSALS = _FULL | {errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM}
# Kept free for ``batch``: a batch, or on a small disk this part of it.
RESERVE_SHARE = 0.05
# What lasts is said again after this.
REMIND_S = 60.0


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has left for an ordinary user.

    Attributes:
        total_bytes: its size.
        free_bytes: quotas of a user or group are not in it.
        free_files: files that can be made, or None where there is no such limit.
        read_only: it takes nothing at all.
    """

    total_bytes: int
    free_bytes: int
    free_files: int | None
    read_only: bool


def room_of(folder: Path) -> Room:
    """Look at the disk that a folder is on. May block for as long as a network's disk is away.

    Raises:
        OSError: there is no such folder, or its disk does not answer.
    """
    found = os.statvfs(folder)
    return Room(
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        free_files=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def reserve_bytes(total_bytes: int, batch_bytes: int) -> int:
    """What ``execute`` leaves free for ``batch``, in bytes.

    Args:
        total_bytes: size of the disk.
        batch_bytes: BATCH_BYTES.
    """
    return min(batch_bytes, int(total_bytes * RESERVE_SHARE))


def is_full(error: OSError) -> bool:
    """The disk, or the user's share of it, has no room."""
    return error.errno in _FULL


def is_refusal(error: OSError) -> bool:
    """The disk takes nothing now, whatever is written: it is full, read-only, broken or barred."""
    return error.errno in _REFUSALS


class Reminder:
    """When to say that something lasts: as it begins, and then once in a while. Pure.

    Args:
        every_s: seconds between two times.
    """

    def __init__(self, every_s: float = REMIND_S) -> None:
        self._every_s = every_s
        self._said_s: float | None = None

    def due(self, now_s: float) -> bool:
        """It lasts; whether to say so now."""
        if self._said_s is not None and now_s < self._said_s + self._every_s:
            return False
        self._said_s = now_s
        return True

    @property
    def saying(self) -> bool:
        """It was said and is not over."""
        return self._said_s is not None

    def over(self) -> bool:
        """It is over; whether it was said and so its end is worth saying."""
        said, self._said_s = self.saying, None
        return said

"""Whether the spool's disk has room for what would be received.

It is looked at once a second, in a thread: the disk of a file server that is away answers nobody.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pipeline.disk import Reminder, Room, reserve_bytes, room_of
from pipeline.logs import log

LOOK_S = 1.0
# A disk that has not answered for so long is one without room.
LOOK_LIMIT_S = 5.0
# Receiving stops before ``execute`` keeps nothing more on the disk, and with it before ``batch``
# finds it full.
RESERVES = 2
# It goes on when there is so much more than what it stops at, so that it does not flap.
RESUME_AT = 1.25
# Files are few and large; with fewer than this many left it is as good as full.
MIN_FILES = 64


def needed_bytes(total_bytes: int, batch_bytes: int) -> int:
    """What has to be free on a disk of this size for receiving to go on, in bytes."""
    return RESERVES * reserve_bytes(total_bytes, batch_bytes)


class DiskRoom:
    """The state of one disk. Pure but for :meth:`watch`.

    Args:
        folder: the spool's.
        batch_bytes: BATCH_BYTES.

    Attributes:
        has_room: messages may be received. False until the disk was looked at.
        free_bytes: as it was last seen.
    """

    def __init__(self, folder: Path, batch_bytes: int) -> None:
        self._folder = folder
        self._batch_bytes = batch_bytes
        self._reminder = Reminder()
        self.has_room = False
        self.free_bytes = 0

    def seen(self, room: Room | OSError, now_s: float) -> None:
        """Judge what a look has shown, and say what that changes.

        Args:
            room: what it has left, or why that cannot be told.
            now_s: monotonic seconds.
        """
        problem = self._problem(room)
        self.has_room = problem is None
        said = log.bind(folder=str(self._folder), free_bytes=self.free_bytes)
        if problem is not None:
            if self._reminder.due(now_s):
                said.bind(action="disk_full").error(
                    "receiving pauses until the disk of {} has room: {}", self._folder, problem
                )
        elif self._reminder.over():
            said.bind(action="disk_room").info("the disk has room again; receiving goes on")

    async def watch(self) -> None:
        """Look for as long as the process lives."""
        while True:
            look = asyncio.ensure_future(asyncio.to_thread(_look, self._folder))
            done, _ = await asyncio.wait([look], timeout=LOOK_LIMIT_S)
            if not done:
                silence = OSError(f"it has not answered for {LOOK_LIMIT_S:.0f} s")
                self.seen(silence, time.monotonic())
            # One look at a time, or a disk that is away would take every thread.
            self.seen(await look, time.monotonic())
            await asyncio.sleep(LOOK_S)

    def _problem(self, room: Room | OSError) -> str | None:
        if isinstance(room, OSError):
            self.free_bytes = 0
            return f"it cannot be looked at: {room}"
        self.free_bytes = room.free_bytes
        if room.read_only:
            return "it is read-only"
        if room.free_files is not None and room.free_files < MIN_FILES:
            return f"no more than {room.free_files} files can be made on it"
        needed = needed_bytes(room.total_bytes, self._batch_bytes)
        paused = self._reminder.saying
        wanted = int(needed * RESUME_AT) if paused else needed
        if room.free_bytes < wanted:
            return f"{room.free_bytes} bytes are free, and it takes {wanted}"
        return None


def _look(folder: Path) -> Room | OSError:
    try:
        return room_of(folder)
    except OSError as error:
        return error

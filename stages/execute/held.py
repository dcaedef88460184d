"""The rows of a request, held until its last page came; past a size, in a temporary file.

Partial lists are never rows: only :meth:`HeldRows.complete` gives the rows out, all of them
together with the outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from pipeline.disk import reserve_bytes, room_of
from pipeline.links import frame
from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows
from pipeline.spill import Spill

# Bytes that make a frame of their own, so that no frame nears a link's limit.
FRAME_BYTES = 1024 * 1024
# What a row's other columns take, about: a list of numbers has small bodies, and many.
ROW_BYTES = 256
# Frames of one request kept in memory; more goes to a file.
MEMORY_BYTES = 8 * 1024 * 1024
# Rows of all requests of a process kept in memory; past it each goes to a file of its own.
TOTAL_MEMORY_BYTES = 64 * 1024 * 1024


class NoRoom(Exception):
    """The disk does not take a request's rows now; it says why."""


class HoldSpace:
    """Where the requests of one process hold their rows. Its threads share it.

    Args:
        folder: where temporary files may stand.
        memory_bytes: for all requests together.
        batch_bytes: BATCH_BYTES; room for so much is left on the disk, less on a small one.

    Attributes:
        reserve_bytes: that room.
    """

    def __init__(
        self, folder: Path, memory_bytes: int = TOTAL_MEMORY_BYTES, batch_bytes: int = 0
    ) -> None:
        self.folder = folder
        self.reserve_bytes = 0
        with suppress(OSError):  # a folder that is gone is for the stages to tell that read it
            self.reserve_bytes = reserve_bytes(room_of(folder).total_bytes, batch_bytes)
        self._memory_bytes = memory_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Use so much memory, or, negative, less; return whether all use no more than there is."""
        with self._lock:
            self._used_bytes += size_bytes
            return self._used_bytes <= self._memory_bytes


class Held(Struct, frozen=True):
    """The rows of a request that is done.

    Valid until the rows are discarded, and any number of times: a link may have to be written anew.

    Attributes:
        frames: all but the last, as the link takes them; read from the file one at a time.
        last: the rows that are left, with the outcome.
        last_bytes: about, in memory.
    """

    frames: Spill | tuple[()]
    last: Rows
    last_bytes: int


class HeldRows:
    """Rows of one request.

    Args:
        lease: the message they belong to.
        request: the request they belong to.
        space: where to hold them.
    """

    def __init__(self, lease: LeaseRef, request: RequestKey, space: HoldSpace) -> None:
        self._lease = lease
        self._request = request
        self._space = space
        self._in_memory_bytes = 0
        self._rows: list[Resource] = []
        self._rows_bytes = 0
        # Few requests have more than one frame.
        self._frames: Spill | None = None

    def add(self, rows: list[Resource], *, keep: bool = False) -> None:
        """Hold one page's rows.

        Args:
            rows: of the page.
            keep: in memory what the disk does not take, because they cannot be had again.

        Raises:
            NoRoom: the disk does not take them, and a part of them may be lost: discard them all.
        """
        room = True
        try:
            for row in rows:
                size_bytes = ROW_BYTES + len(row.body or b"")
                self._rows.append(row)
                self._rows_bytes += size_bytes
                self._in_memory_bytes += size_bytes
                room = self._space.take(size_bytes)
                if self._rows_bytes >= FRAME_BYTES:
                    self._put_frame(keep=keep)
            if not room:
                self._leave_memory(keep=keep)
        except OSError as error:
            raise NoRoom(str(error)) from error

    def complete(self, outcome: Outcome) -> Held:
        """All of them, the outcome with the last."""
        last = Rows(self._lease, self._request, self._rows, outcome)
        return Held(self._frames or (), last, self._rows_bytes)

    def discard(self) -> None:
        """Let go of everything."""
        self._rows = []
        self._rows_bytes = 0
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        self._give_back()

    def _leave_memory(self, *, keep: bool) -> None:
        if self._rows:
            self._put_frame(keep=keep)
        try:
            if self._frames is not None:
                self._frames.leave_memory()
        except OSError:
            if not keep:
                raise
        self._give_back_if_written()

    def _put_frame(self, *, keep: bool) -> None:
        data = frame([Rows(self._lease, self._request, self._rows, None)])
        if self._frames is None:
            self._frames = Spill(self._space.folder, MEMORY_BYTES, self._space.reserve_bytes)
        self._frames.append(data, keep=keep)
        self._rows = []
        self._rows_bytes = 0
        self._give_back_if_written()

    def _give_back_if_written(self) -> None:
        if not self._rows and (self._frames is None or not self._frames.in_memory_bytes):
            self._give_back()

    def _give_back(self) -> None:
        if self._in_memory_bytes:
            self._space.take(-self._in_memory_bytes)
            self._in_memory_bytes = 0


def frames_of(done: Iterable[Held]) -> Iterator[bytes]:
    """The frames for the link: what is short goes together, what is long keeps its own.

    Args:
        done: requests, each of which stands wholly behind the one before.
    """
    together: list[Rows] = []
    size_bytes = 0
    for held in done:
        if together and (len(held.frames) or size_bytes + held.last_bytes > FRAME_BYTES):
            yield frame(together)
            together, size_bytes = [], 0
        yield from held.frames
        together.append(held.last)
        size_bytes += held.last_bytes + ROW_BYTES
    if together:
        yield frame(together)

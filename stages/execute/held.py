"""The rows of a request, held until its last page came; past a size, in a temporary file.

Partial lists are never rows: only :meth:`HeldRows.complete` gives the rows out, all of them
together with the outcome.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, overload

from pipeline.links import frame
from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows

# Bytes that make a frame of their own, so that no frame nears a link's limit.
FRAME_BYTES = 1024 * 1024
# What a row's other columns take, about: a list of numbers has small bodies, and many.
ROW_BYTES = 256
# Frames of one request kept in memory; more goes to a file.
MEMORY_BYTES = 8 * 1024 * 1024
# Rows of all requests of a process kept in memory; past it each goes to a file of its own.
TOTAL_MEMORY_BYTES = 64 * 1024 * 1024


class HoldSpace:
    """Where the requests of one process hold their rows. Its threads share it.

    Args:
        folder: where temporary files may stand.
        memory_bytes: for all requests together.
    """

    def __init__(self, folder: Path, memory_bytes: int = TOTAL_MEMORY_BYTES) -> None:
        self.folder = folder
        self._memory_bytes = memory_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Use so much memory, or, negative, less; return whether all use no more than there is."""
        with self._lock:
            self._used_bytes += size_bytes
            return self._used_bytes <= self._memory_bytes


class Frames(Sequence[bytes]):
    """Frames in the order of their making, read from the file one at a time.

    Valid until the rows are discarded, and any number of times: a link may have to be written anew.

    Args:
        file: holds all but the last, or None when there is only one.
        sizes: of those in the file.
        last: the frame with the outcome.
    """

    def __init__(self, file: IO[bytes] | None, sizes: list[int], last: bytes) -> None:
        self._file = file
        self._ends = [0, *accumulate(sizes)]
        self._last = last

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        if self._file is None or at == len(self) - 1:
            return self._last
        self._file.seek(self._ends[at])
        return self._file.read(self._ends[at + 1] - self._ends[at])


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
        self._file: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._sizes: list[int] = []

    def add(self, rows: list[Resource]) -> None:
        """Hold one page's rows."""
        room = True
        for row in rows:
            size_bytes = ROW_BYTES + len(row.body or b"")
            self._rows.append(row)
            self._rows_bytes += size_bytes
            self._in_memory_bytes += size_bytes
            room = self._space.take(size_bytes)
            if self._rows_bytes >= FRAME_BYTES:
                self._put_frame()
        if not room:
            self._leave_memory()

    def complete(self, outcome: Outcome) -> Frames:
        """The frames for the link, the outcome in the last."""
        last = frame([Rows(self._lease, self._request, self._rows, outcome)])
        return Frames(self._file, self._sizes, last)

    def discard(self) -> None:
        """Let go of everything."""
        self._rows = []
        self._rows_bytes = 0
        self._sizes = []
        self._give_back()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _leave_memory(self) -> None:
        if self._rows:
            self._put_frame()
        if self._file is not None:
            self._file.rollover()
        self._give_back()

    def _give_back(self) -> None:
        self._space.take(-self._in_memory_bytes)
        self._in_memory_bytes = 0

    def _put_frame(self) -> None:
        if self._file is None:
            # Open for as long as the rows are held; close() closes it.
            self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                MEMORY_BYTES, dir=str(self._space.folder)
            )
        data = frame([Rows(self._lease, self._request, self._rows, None)])
        self._file.write(data)
        self._sizes.append(len(data))
        self._rows = []
        self._rows_bytes = 0

"""Pieces of data in order, in memory up to a size and past it in a temporary file.

``tempfile.SpooledTemporaryFile`` loses what it held when a disk has no room at the moment it leaves
memory, and its buffer keeps a half-written piece. Here a piece is taken whole or not at all, so the
same one can be given again once there is room.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

# The name it has until it is unlinked, a moment after it was made. Who dies in that moment leaves
# a file that looks like any other half-written one.
SUFFIX = ".part"


class Spill:
    """Pieces of data that are read again by their place.

    Args:
        folder: where the temporary file may stand, with mode 0600 and without a name.
        memory_bytes: kept in memory before there is a file.
        reserve_bytes: left free on the disk.

    Attributes:
        in_memory_bytes: of the pieces that are not in the file.
    """

    def __init__(self, folder: Path, memory_bytes: int, reserve_bytes: int = 0) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._reserve_bytes = reserve_bytes
        self._file: FileIO | None = None
        # Where the pieces in the file end; those in memory come after them.
        self._ends = [0]
        self._tail: deque[bytes] = deque()
        self.in_memory_bytes = 0

    def __len__(self) -> int:
        return len(self._ends) - 1 + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> bytes:
        """The piece at this place, counted from 0.

        Raises:
            IndexError: there is none.
            OSError: the file cannot be read, or has lost a part of it.
        """
        if index < 0 or index >= len(self):
            raise IndexError(index)
        in_file = len(self._ends) - 1
        if index >= in_file:
            return self._tail[index - in_file]
        assert self._file is not None
        start, end = self._ends[index], self._ends[index + 1]
        data = os.pread(self._file.fileno(), end - start, start)
        if len(data) != end - start:
            raise OSError(errno.EIO, f"a temporary file lost data in {self._folder}")
        return data

    def append(self, data: bytes, *, keep: bool = False) -> None:
        """Take a piece.

        Args:
            data: the piece.
            keep: in memory, however much that is, if the disk does not take it.

        Raises:
            OSError: the disk does not take it. Nothing has changed: it can be given again.
        """
        self._tail.append(data)
        self.in_memory_bytes += len(data)
        if self.in_memory_bytes <= (self._memory_bytes if self._file is None else 0):
            return
        try:
            self.leave_memory()
        except OSError:
            if keep:
                return
            self._tail.pop()
            self.in_memory_bytes -= len(data)
            raise

    def leave_memory(self) -> None:
        """Write what is in memory to the file; all that follows goes there too.

        Raises:
            OSError: the disk does not take it. What it did not take stays in memory.
        """
        if not self._tail:
            return
        if self._file is None:
            self._file = _nameless_file(self._folder)
        try:
            while self._tail:
                self._write(self._file, self._tail[0])
                self.in_memory_bytes -= len(self._tail.popleft())
        except OSError:
            if len(self._ends) == 1:  # so that nothing holds an empty file open
                self._file.close()
                self._file = None
            raise

    def close(self) -> None:
        """Let go of everything."""
        self._ends = [0]
        self._tail.clear()
        self.in_memory_bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, file: FileIO, data: bytes) -> None:
        descriptor, end = file.fileno(), self._ends[-1]
        if self._reserve_bytes:
            disk = os.fstatvfs(descriptor)
            free_bytes = disk.f_bavail * disk.f_frsize
            if free_bytes < len(data) + self._reserve_bytes:
                problem = f"{free_bytes} bytes are free, {self._reserve_bytes} of them kept back"
                raise OSError(errno.ENOSPC, problem, str(self._folder))
        try:
            view = memoryview(data)
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, view[written:], end + written)
        except OSError:
            # Gives back the room that the half of it took. A disk that refuses this too keeps it
            # until the next piece is written over it.
            with suppress(OSError):
                os.ftruncate(descriptor, end)
            raise
        self._ends.append(end + len(data))


def _nameless_file(folder: Path) -> FileIO:
    descriptor, name = tempfile.mkstemp(SUFFIX, dir=folder)
    try:
        # Another process that clears up may have been quicker.
        Path(name).unlink(missing_ok=True)
        return FileIO(descriptor, "r+")
    except BaseException:
        os.close(descriptor)
        raise

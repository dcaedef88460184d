"""The flight recorder of an execute process: which requests are under way.

A file that is mapped into memory, a slot for each of them. What was written there outlives its
process, because the pages belong to the kernel; so the process that comes after a dead one
knows what the dead one was busy with, and ``fetch`` learns which messages may have killed it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path

import msgspec

from pipeline.logs import log
from pipeline.messages import InCall
from pipeline.undecodable import UNDECODABLE

SUFFIX = ".flight"
# One byte that says whether the slot is in use, one for the length, then the entry. The longest
# queue name (63), the queue's id (36) and an index fit.
SLOT_BYTES = 192
_HEAD_BYTES = 2
_MAX_ENTRY_BYTES = SLOT_BYTES - _HEAD_BYTES
_USED = 1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(InCall).decode


def entry(call: InCall) -> bytes:
    """A call as :meth:`FlightRecorder.began` takes it."""
    data = _encode(call)
    # A longer one cannot come from Azure; without its entry the request is merely no suspect.
    return bytes([len(data)]) + data if len(data) <= _MAX_ENTRY_BYTES else b""


class FlightRecorder:
    """Records for one process, in one file.

    Args:
        path: of the file; what a process before has left in it is read first.
        slots: requests that may be under way at once.

    Attributes:
        died_in: what the process before was busy with.
    """

    def __init__(self, path: Path, slots: int) -> None:
        self.died_in = _read(path)
        self._path = path
        self._size = max(mmap.PAGESIZE, slots * SLOT_BYTES)
        # In use once open() was called; until then nothing is forgotten that was not told.
        self._slots = mmap.mmap(-1, self._size)
        self._inode = 0
        self._opened = False

    def open(self) -> None:
        """Forget what the process before has left, and record from here on; once."""
        if self._opened:
            return
        self._opened = True
        self.died_in = []
        try:
            self._path.unlink(missing_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # A page that the disk has no room for would end the process when it is touched.
                os.posix_fallocate(descriptor, 0, self._size)
                self._slots = mmap.mmap(descriptor, self._size)
                self._inode = os.fstat(descriptor).st_ino
            finally:
                os.close(descriptor)
        except OSError as error:
            log.bind(action="no_flight_recorder", file=str(self._path)).warning(
                "calls are not recorded, so a message that kills this process is not found: {}",
                error,
            )

    def began(self, slot: int, data: bytes) -> None:
        """A request begins; ``data`` is its :func:`entry`."""
        at = slot * SLOT_BYTES
        self._slots[at + 1 : at + 1 + len(data)] = data
        # Last, so that a slot in use is whole.
        self._slots[at] = _USED

    def ended(self, slot: int) -> None:
        """It is over."""
        self._slots[slot * SLOT_BYTES] = 0

    def close(self) -> None:
        """The process ends in order: nothing it was busy with has killed it."""
        with contextlib.suppress(OSError):
            # Whoever outlives a killed supervisor for a moment leaves the next one's file alone.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _read(path: Path) -> list[InCall]:
    try:
        left = path.read_bytes()
    except OSError:
        return []
    calls = []
    for at in range(0, len(left) - SLOT_BYTES + 1, SLOT_BYTES):
        used, size = left[at], left[at + 1]
        if used == _USED:
            try:
                calls.append(_decode(left[at + _HEAD_BYTES : at + _HEAD_BYTES + size]))
            except UNDECODABLE:
                continue  # the machine stopped while it was written
    return calls

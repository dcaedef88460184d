"""What a load process leaves for the one after it: a small file in the spool's folder.

It is held by ``flock`` for as long as its owner lives, however that one dies. So what another
process finds in it is about sessions that nobody uses any more: the transaction of a process that
lives must never be aborted, because Snowflake takes a COMMIT after it for no error.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.logs import log
from pipeline.slots import lock_file
from pipeline.undecodable import UNDECODABLE

NAME = "load.session"
# All of it is written at once and over the old: a writer that dies leaves one or the other.
_SIZE_BYTES = 1024
_POLL_S = 0.05
# Sessions that are kept in mind; older ones have ended by themselves long since.
SESSIONS_LIMIT = 16


class Noted(msgspec.Struct, frozen=True):
    """What is noted.

    Attributes:
        sessions: ids of sessions that may have left a transaction open, the latest last.
        checked: which settings were found good; see :mod:`stages.load.proof`.
        proven_s: when that was, or when a load with them was committed last; seconds since 1970.
    """

    sessions: tuple[int, ...] = ()
    checked: str = ""
    proven_s: float = 0.0


class Note:
    """The file, and what stands in it.

    Args:
        folder: the collector's own; it is never made here.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor: int | None = None
        self.noted = Noted()

    def take(self, wait_s: float = 0.0) -> bool:
        """Hold the file and read what an earlier process has left; harmless when repeated.

        Args:
            wait_s: how long to wait for another process to let go of it, in seconds.

        Returns:
            Whether it is held from now on. It is not if it was, while another process has it, or
            where there is no such folder.
        """
        if self._descriptor is not None:
            return False
        try:
            end_s = time.monotonic() + wait_s
            # For reading: open for writing, it would keep its disk from being made read-only.
            while (descriptor := lock_file(self._path, os.O_RDONLY)) is None:
                if time.monotonic() >= end_s:
                    return False
                time.sleep(_POLL_S)
            self._descriptor = descriptor
            found = _decoded(os.pread(descriptor, _SIZE_BYTES, 0))
        except FileNotFoundError:
            return False
        except OSError as error:
            self._cannot(error)
            return False
        if found is not None:
            known = dict.fromkeys((*found.sessions, *self.noted.sessions))
            self.noted = replace(found, sessions=tuple(known))
        return True

    def write(self, noted: Noted) -> None:
        """Note this, for as long as the file is held also for the next process."""
        self.noted = noted
        if self._descriptor is None:
            return
        try:
            text = msgspec.json.encode(noted).ljust(_SIZE_BYTES)
            writing = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(writing, text, 0)
            finally:
                os.close(writing)
        except OSError as error:
            self._cannot(error)

    def remove(self) -> None:
        """Leave nothing."""
        self.noted = Noted()
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Leave it to the next process as it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _cannot(self, error: OSError) -> None:
        # A convenience: without it, a load waits for what was left open as any other does.
        log.bind(action="load_note_failed").debug("{} cannot be used: {}", self._path, error)


def abandoned_beside(folder: Path) -> Iterator[Note]:
    """Notes that dead processes have left in the numbered folders beside this one, each held."""
    for path in sorted(folder.parent.glob(f"[0-9]*/{NAME}")):
        note = Note(path.parent)
        if path.parent != folder and note.take():
            yield note


def _decoded(text: bytes) -> Noted | None:
    try:
        return msgspec.json.decode(text, type=Noted)
    except UNDECODABLE:
        return None  # a new file is empty

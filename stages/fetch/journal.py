"""The leases of this collector on its disk: they outlive the process that holds them.

A lease is no more than its pop receipt. Whoever knows that can renew it, which counts no delivery;
so a ``fetch`` that comes after a dead one goes on with its messages at once, where otherwise each
would stay away for the rest of its lease, and be one delivery nearer to the poison queue.

One file of frames, appended to: a message is held, its receipt has changed, it is gone. Nothing is
fsynced: what the process has written outlives it, and when the host dies the leases run out.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.logs import log
from pipeline.messages import LeaseRef
from pipeline.undecodable import UNDECODABLE
from stages.fetch.leases import Lease
from stages.fetch.request_states import NO_ATTEMPT

FILE = "leases.journal"
# Written anew, with what is held and nothing else, once it has grown to twice that and this.
SLACK_BYTES = 1024 * 1024
# Not the spool's own suffix for what is unfinished: a starting ``batch`` removes those.
_UNFINISHED = ".new"
_LENGTH = struct.Struct("<I")


class Held(msgspec.Struct, array_like=True, tag=True, gc=False, frozen=True):
    """A message is leased.

    Attributes:
        ref: what is known of it, its pop receipt too.
        text: as received.
        ends_at_s: when the lease ends, seconds since 1970.
    """

    ref: LeaseRef
    text: str
    ends_at_s: float


class Renewed(msgspec.Struct, array_like=True, tag=True, gc=False, frozen=True):
    """Its pop receipt is another one, and its lease ends later."""

    lease_id: int
    pop_receipt: str
    ends_at_s: float


class Gone(msgspec.Struct, array_like=True, tag=True, gc=False, frozen=True):
    """It is not ours any more: deleted, released or lost."""

    lease_id: int


def wall_s(monotonic_s: float) -> float:
    """A time of this process's clock as seconds since 1970, which other processes understand."""
    return time.time() + monotonic_s - time.monotonic()


def held(lease: Lease) -> Held:
    """A lease as it is now."""
    return Held(lease.current_ref(NO_ATTEMPT), lease.text, wall_s(lease.expires_at_s))


Entry = Held | Renewed | Gone
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class LeaseJournal:
    """The journal of one ``fetch``. Before :meth:`open` it only reads.

    Args:
        folder: where the file is, or comes to be.
        held: gives all that is held now, for writing the file anew.
    """

    def __init__(self, folder: Path, held: Callable[[], Iterable[Held]]) -> None:
        self._path = folder / FILE
        self._held = held
        self._file = -1
        self._inode = 0
        self._size = 0
        self._size_at_start = 0

    def left(self) -> list[Held]:
        """What the process before had leased when it ended, receipts as of then."""
        found: dict[int, Held] = {}
        for entry in _read(self._path):
            match entry:
                case Held():
                    found[entry.ref.lease_id] = entry
                case Renewed():
                    if (held := found.get(entry.lease_id)) is not None:
                        ref = msgspec.structs.replace(held.ref, pop_receipt=entry.pop_receipt)
                        found[entry.lease_id] = Held(ref, held.text, entry.ends_at_s)
                case Gone():
                    found.pop(entry.lease_id, None)
        return list(found.values())

    def open(self) -> None:
        """Write the file anew with what is held, and append from here on."""
        self._stop()
        unfinished = self._path.with_suffix(_UNFINISHED)
        data = b"".join(map(_frame, self._held()))
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = descriptor
            self._write(data)
            unfinished.rename(self._path)
            self._inode = os.fstat(descriptor).st_ino
        except OSError as error:
            self._fail(error)
            return
        self._size_at_start = self._size = len(data)

    def append(self, *entries: Entry) -> None:
        """Write down what has happened."""
        if self._file < 0:
            return
        try:
            self._size += self._write(b"".join(map(_frame, entries)))
        except OSError as error:
            self._fail(error)
            return
        if self._size > 2 * self._size_at_start + SLACK_BYTES:
            self.open()

    def close(self) -> None:
        """Nothing is held any more, or nobody is to go on with it."""
        with suppress(OSError):
            # Whoever outlives a killed supervisor for a moment leaves the next one's file alone.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        self._stop()

    def _write(self, data: bytes) -> int:
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        return written

    def _stop(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _fail(self, error: OSError) -> None:
        # What a part of it says might be wrong by now; without it the leases just run out.
        self.close()
        log.bind(action="no_lease_journal", file=str(self._path)).warning(
            "leases are not written down; should this process die, its messages come again when "
            "their leases end: {}",
            error,
        )


def _frame(entry: Entry) -> bytes:
    data = _encode(entry)
    return _LENGTH.pack(len(data)) + data


def _read(path: Path) -> Iterator[Entry]:
    try:
        data = path.read_bytes()
    except OSError:
        return
    at = 0
    while at + _LENGTH.size <= len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        try:
            # The last frame may be cut off.
            yield _decode(data[at : at + size])
        except UNDECODABLE:
            return
        at += size

"""The spool: a folder of sealed batches that survive every process of the collector.

A sealed batch is one file, ``<batch id>.arrow``: three Arrow IPC streams one after another
(resources, requests, parts) and a checksum, written under another name, fsynced and renamed. Batch
ids sort by time, so a listing is the order of loading. The parts say which leases the rows belong
to.
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa

from pipeline import tables
from pipeline.errors import StageFailed
from pipeline.logs import log
from pipeline.messages import Part
from pipeline.slots import hold_folder
from pipeline.undecodable import UNDECODABLE

SUFFIX = ".arrow"
# A file under this name was not finished when its writer died; it is removed at the next start.
UNFINISHED = ".part"
# A batch that cannot be read, kept for a person to look at.
DAMAGED = ".damaged"
# With more of them than this, the oldest are removed: the disk is broken, and they would fill it.
DAMAGED_KEPT = 10

# At a file's end: these bytes, then CRC-32 of all before them. Arrow itself would hand on damaged
# bytes as rows, or end the process that reads them.
_MAGIC = b"AZCS"
_SEAL = struct.Struct("<4sI")

_PARTS = pa.schema([pa.field("PARTS", pa.binary(), nullable=False)])
_encode_parts = msgspec.msgpack.Encoder().encode
_decode_parts = msgspec.msgpack.Decoder(list[Part]).decode


class DamagedBatch(ValueError):
    """A file of the spool is not what a writer sealed."""


@dataclass(frozen=True)
class SealedBatch:
    """A sealed batch, read through a memory map: its tables copy nothing.

    Attributes:
        batch_id: its name in the spool and in the BATCH_ID column.
        resources: rows of :data:`pipeline.tables.RESOURCES`.
        requests: rows of :data:`pipeline.tables.REQUESTS`.
        parts: whose rows they are.
        size_bytes: size of the file.
    """

    batch_id: str
    resources: pa.Table
    requests: pa.Table
    parts: list[Part]
    size_bytes: int


def new_batch_id(now: datetime | None = None) -> str:
    """Name for a batch: UTC time to the microsecond, then 24 random bits."""
    now = now or datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"


class Spool:
    """The sealed batches of one collector.

    Args:
        folder: the collector's own, held by :mod:`pipeline.slots`. It is never made here: a new
            one in the place of one that was removed would be held by nobody.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """See that the folder is there.

        Raises:
            StageFailed: it is gone.
        """
        if not self.folder.is_dir():
            raise StageFailed(
                f"the spool's folder {self.folder} is gone, and with it what waited there; that is "
                "collected again after the collector was started anew"
            )

    def path(self, batch_id: str) -> Path:
        """Where the batch of this name stands."""
        return self.folder / (batch_id + SUFFIX)

    def seal(
        self, batch_id: str, resources: pa.Table, requests: pa.Table, parts: list[Part]
    ) -> int:
        """Write a batch so that it is there whole or not at all.

        Returns:
            Size of the file in bytes.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        path = self.path(batch_id)
        unfinished = path.with_suffix(UNFINISHED)
        parts_table = pa.table([pa.array([_encode_parts(parts)], pa.binary())], schema=_PARTS)
        # Outside of the try: what stands there already is another writer's.
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                summed = _Summed(file)
                for table in (resources, requests, parts_table):
                    with pa.ipc.new_stream(summed, table.schema) as stream:
                        stream.write_table(table)
                file.write(_SEAL.pack(_MAGIC, summed.crc))
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            unfinished.rename(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        sync_folder(self.folder)
        return size

    def list(self) -> dict[str, int]:
        """Sealed batches by id, oldest first, with their sizes in bytes."""
        found = {}
        for entry in os.scandir(self.folder):
            if entry.name.endswith(SUFFIX):
                try:
                    found[entry.name.removesuffix(SUFFIX)] = entry.stat().st_size
                except FileNotFoundError:  # loaded and removed while we looked
                    continue
        return dict(sorted(found.items()))

    @contextmanager
    def open(self, batch_id: str) -> Iterator[SealedBatch]:
        """Read a batch; its tables are valid inside the ``with`` only.

        Raises:
            DamagedBatch: the file is not what was sealed.
            FileNotFoundError: there is no such batch.
            OSError: it cannot be opened now, e.g. for lack of descriptors.
        """
        path = self.path(batch_id)
        size_bytes = path.stat().st_size
        if not size_bytes:  # which cannot be mapped
            raise DamagedBatch(f"{path} is empty")
        with pa.memory_map(str(path)) as file:
            yield _read(batch_id, file, size_bytes)

    def remove(self, batch_id: str) -> None:
        """Take a batch out of the spool, once it is committed."""
        self.path(batch_id).unlink(missing_ok=True)

    def set_aside(self, batch_id: str) -> Path:
        """Rename a batch that cannot be read to ``<batch id>.damaged`` and return its new path.

        Only the newest :data:`DAMAGED_KEPT` are kept.
        """
        path = self.path(batch_id)
        aside = path.rename(path.with_suffix(DAMAGED))
        for old in sorted(self.folder.glob("*" + DAMAGED))[:-DAMAGED_KEPT]:
            with suppress(OSError):  # it only takes room
                old.unlink()
        return aside

    def adopt(self) -> int:
        """Take over the batches of collectors that ran on this host before and run no more.

        The collectors of a host have numbered folders side by side, each held while it runs. A
        batch is in one folder or the other, so a death in between loses none and doubles none.

        Returns:
            How many batches were taken. What cannot be taken stays for the next start, and is said.
        """
        adopted = 0
        for sibling in sorted(self.folder.parent.iterdir()):
            if sibling == self.folder or not sibling.name.isdigit():
                continue
            try:
                held = hold_folder(sibling)
                if held is None:
                    continue  # its collector is running
                with held:
                    for batch in sorted(sibling.glob("*" + SUFFIX)):
                        batch.rename(self.folder / batch.name)
                        adopted += 1
                    Spool(sibling).remove_unfinished()
            except OSError as error:
                log.bind(action="adoption_failed", folder=str(sibling)).warning(
                    "cannot take over what another collector left in {}: {}", sibling, error
                )
        return adopted

    def remove_unfinished(self) -> int:
        """Remove half-written batches of a writer that died; return how many there were.

        Nobody may be writing here: the folder is held, and its last writer is dead.
        """
        left = list(self.folder.glob("*" + UNFINISHED))
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


def sync_folder(folder: Path) -> None:
    """Have the disk take what was renamed in a folder: a rename lasts only from then on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Summed:
    """A file that is written to, and the checksum of what was. Arrow asks it for no more."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes | memoryview) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _is_checked(batch_id: str, file: pa.MemoryMappedFile, size_bytes: int) -> bool:
    """Whether the file has a checksum, which is right; a version before it has sealed none.

    Raises:
        DamagedBatch: it is wrong.
    """
    if size_bytes < _SEAL.size:
        return False
    magic, crc = _SEAL.unpack(file.read_at(_SEAL.size, size_bytes - _SEAL.size))
    if magic != _MAGIC:
        return False
    if zlib.crc32(file.read_buffer(size_bytes - _SEAL.size)) != crc:
        raise DamagedBatch(f"batch {batch_id} is not as it was sealed: its checksum differs")
    file.seek(0)
    return True


def _read(batch_id: str, file: pa.MemoryMappedFile, size_bytes: int) -> SealedBatch:
    try:
        checked = _is_checked(batch_id, file, size_bytes)
        resources, requests, parts = (pa.ipc.open_stream(file).read_all() for _ in range(3))
        if not checked:
            for rows in (resources, requests, parts):
                rows.validate(full=True)
        return SealedBatch(
            batch_id=batch_id,
            # Another version may have sealed it, before an upgrade or beside this one.
            resources=tables.conformed(resources, tables.RESOURCES),
            requests=tables.conformed(requests, tables.REQUESTS),
            parts=_decode_parts(parts["PARTS"][0].as_py()),
            size_bytes=size_bytes,
        )
    except (pa.ArrowException, OSError, LookupError, ValueError, *UNDECODABLE) as error:
        raise DamagedBatch(f"batch {batch_id} cannot be read: {error}") from error

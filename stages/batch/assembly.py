"""Frames of a request until its last one is there: only whole requests go into a batch.

A writer that dies leaves its unfinished requests behind; they are forgotten with its link.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.messages import Rows

# Of unfinished requests kept in memory, each; more goes to a temporary file.
MEMORY_BYTES = 8 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rows).decode

# Lease, attempt, request index.
Key = tuple[int, int, int]


class _Held:
    def __init__(self, folder: Path) -> None:
        # Open for as long as the rows are held; close() closes it.
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            MEMORY_BYTES, dir=str(folder)
        )
        self._sizes: list[int] = []

    def add(self, rows: Rows) -> None:
        data = _encode(rows)
        self._file.write(data)
        self._sizes.append(len(data))

    def read(self) -> Iterator[Rows]:
        self._file.seek(0)
        for size in self._sizes:
            yield _decode(self._file.read(size))
        self.close()

    def close(self) -> None:
        self._file.close()


class Assembly:
    """Unfinished requests, by the execute process that writes them.

    Args:
        folder: where temporary files may stand.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, dict[Key, _Held]] = {}

    def add(self, peer: str, rows: Rows) -> Iterator[Rows]:
        """Take a frame; give out all frames of its request when it is the last."""
        held = self._held.setdefault(peer, {})
        key = (rows.lease.lease_id, rows.lease.attempt, rows.request.index)
        if rows.outcome is None:
            if key not in held:
                held[key] = _Held(self._folder)
            held[key].add(rows)
            return
        if (earlier := held.pop(key, None)) is not None:
            yield from earlier.read()
        yield rows

    def forget(self, peer: str) -> None:
        """The writer is gone, and with it the rest of what it had begun."""
        for held in self._held.pop(peer, {}).values():
            held.close()

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

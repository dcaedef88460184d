"""Frames of a request until its last one is there: only whole requests go into a batch.

A writer that dies leaves its unfinished requests behind; they are forgotten with its link.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.messages import Rows
from pipeline.spill import Spill
from stages.batch.builder import size_of

# Of unfinished requests kept in memory, each; more goes to a temporary file.
MEMORY_BYTES = 8 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Rows).decode

# Lease, attempt, request index.
Key = tuple[int, int, int]


class _Held:
    def __init__(self, folder: Path) -> None:
        self.size_bytes = 0
        self._frames = Spill(folder, MEMORY_BYTES)

    def add(self, rows: Rows) -> None:
        self._frames.append(_encode(rows))
        self.size_bytes += size_of(rows)

    def read(self) -> Iterator[Rows]:
        for place in range(len(self._frames)):
            yield _decode(self._frames[place])

    def close(self) -> None:
        self._frames.close()


class Whole:
    """All frames of a request.

    Args:
        last: the frame with the outcome.
        earlier: the others, or None.

    Attributes:
        rows: resource rows in all of them.
        size_bytes: what they add to a batch.
        only: the frame, if there is no other; it needs no closing.
    """

    def __init__(self, last: Rows, earlier: _Held | None) -> None:
        self._last = last
        self._earlier = earlier
        self.only = last if earlier is None else None
        self.rows = last.outcome.rows if last.outcome is not None else 0
        self.size_bytes = size_of(last) + (earlier.size_bytes if earlier is not None else 0)

    def __iter__(self) -> Iterator[Rows]:
        if self._earlier is not None:
            yield from self._earlier.read()
        yield self._last

    def close(self) -> None:
        """Let go of the frames."""
        if self._earlier is not None:
            self._earlier.close()


class Assembly:
    """Unfinished requests, by the execute process that writes them.

    Args:
        folder: where temporary files may stand.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, dict[Key, _Held]] = {}

    def add(self, peer: str, rows: Rows) -> Whole | None:
        """Take a frame; give out the whole request when it is the last. The caller closes it.

        Raises:
            OSError: the disk does not take it, which is not the last. Nothing has changed: it can
                be given again.
        """
        held = self._held.setdefault(peer, {})
        key = (rows.lease.lease_id, rows.lease.attempt, rows.request.index)
        if rows.outcome is None:
            if key not in held:
                held[key] = _Held(self._folder)
            held[key].add(rows)
            return None
        return Whole(rows, held.pop(key, None))

    def forget(self, peer: str) -> None:
        """The writer is gone, and with it the rest of what it had begun."""
        for held in self._held.pop(peer, {}).values():
            held.close()

    def __len__(self) -> int:
        return sum(len(held) for held in self._held.values())

"""The rows of a request, held until its last page came; past a size, in a temporary file.

Partial lists are never rows: only :meth:`HeldRows.complete` gives the rows out, all of them
together with the outcome.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.links import frame
from pipeline.messages import LeaseRef, Outcome, RequestKey, Resource, Rows

# Body bytes that make a frame of their own, so that no frame nears a link's limit.
FRAME_BYTES = 1024 * 1024
# Frames kept in memory; more goes to a file.
MEMORY_BYTES = 8 * 1024 * 1024


class HeldRows:
    """Rows of one request.

    Args:
        lease: the message they belong to.
        request: the request they belong to.
        folder: where a temporary file may stand.
    """

    def __init__(self, lease: LeaseRef, request: RequestKey, folder: Path) -> None:
        self._lease = lease
        self._request = request
        self._folder = folder
        self._rows: list[Resource] = []
        self._rows_bytes = 0
        self._file: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._sizes: list[int] = []

    def add(self, rows: list[Resource]) -> None:
        """Hold one page's rows."""
        for row in rows:
            self._rows.append(row)
            self._rows_bytes += len(row.body or b"")
            if self._rows_bytes >= FRAME_BYTES:
                self._put_frame()

    def complete(self, outcome: Outcome) -> Iterator[bytes]:
        """The frames for the link, the outcome in the last."""
        if self._file is not None:
            self._file.seek(0)
            for size in self._sizes:
                yield self._file.read(size)
        yield frame([Rows(self._lease, self._request, self._rows, outcome)])

    def discard(self) -> None:
        """Let go of everything."""
        self._rows = []
        self._sizes = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put_frame(self) -> None:
        if self._file is None:
            # Open for as long as the rows are held; close() closes it.
            self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115
                MEMORY_BYTES, dir=str(self._folder)
            )
        data = frame([Rows(self._lease, self._request, self._rows, None)])
        self._file.write(data)
        self._sizes.append(len(data))
        self._rows = []
        self._rows_bytes = 0

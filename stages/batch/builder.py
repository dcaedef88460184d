"""Builds a batch: rows in, two Arrow tables out. Pure but for the batch's name.

A request's rows stay together in one batch, so that a list is in Snowflake whole or not at all;
only a request larger than BATCH_BYTES is spread over several, its ledger row in the last.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline import tables
from pipeline.messages import Part, Rows
from stages.batch.columns import requests_of, resources_of

# What a row's other columns take in Arrow, about; the body is counted exactly.
ROW_OVERHEAD_BYTES = 600
# Rows are kept as Python's objects until there are so many bytes of them: those take twice what
# Arrow does, and a batch of them beside the batch made of them would be three.
CHUNK_BYTES = 1024 * 1024


def size_of(rows: Rows) -> int:
    """Bytes that a frame adds to a batch."""
    size_bytes = 0 if rows.outcome is None else ROW_OVERHEAD_BYTES
    for resource in rows.resources:
        size_bytes += ROW_OVERHEAD_BYTES + len(resource.body or b"")
    return size_bytes


class BatchBuilder:
    """One batch being filled.

    Args:
        batch_id: its name.
    """

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.resources = 0
        self.requests = 0
        self.size_bytes = 0
        # Frames that are not yet in Arrow.
        self._open: list[Rows] = []
        self._open_bytes = 0
        self._resource_chunks: list[pa.RecordBatch] = []
        self._request_chunks: list[pa.RecordBatch] = []
        self._parts: dict[tuple[int, int, int], Part] = {}

    def __len__(self) -> int:
        """Rows of the table that has more of them."""
        return max(self.resources, self.requests)

    def add(self, rows: Rows) -> None:
        """Take in one frame's rows."""
        size_bytes = size_of(rows)
        self._open.append(rows)
        self.resources += len(rows.resources)
        self.requests += rows.outcome is not None
        self.size_bytes += size_bytes
        self._open_bytes += size_bytes
        if self._open_bytes >= CHUNK_BYTES:
            self._close_chunk()

    @property
    def parts(self) -> list[Part]:
        """What it holds of each request."""
        self._close_chunk()
        return list(self._parts.values())

    def build(self) -> tuple[pa.Table, pa.Table, list[Part]]:
        """The batch's resources, requests and parts."""
        self._close_chunk()
        resources = pa.Table.from_batches(self._resource_chunks, schema=tables.RESOURCES)
        requests = pa.Table.from_batches(self._request_chunks, schema=tables.REQUESTS)
        return resources, requests, self.parts

    def _close_chunk(self) -> None:
        if not self._open:
            return
        frames, self._open = self._open, []
        self._open_bytes = 0
        for chunk, chunks in (
            (resources_of(frames, self.batch_id), self._resource_chunks),
            (requests_of(frames, self.batch_id), self._request_chunks),
        ):
            if chunk.num_rows:
                chunks.append(chunk)
        for rows in frames:
            self._count(rows)

    def _count(self, rows: Rows) -> None:
        lease, index = rows.lease, rows.request.index
        key = (lease.lease_id, lease.attempt, index)
        before = self._parts.get(key)
        count = len(rows.resources) + (before.rows if before is not None else 0)
        expects = rows.outcome.rows if rows.outcome is not None else None
        self._parts[key] = Part(lease, index, count, expects)

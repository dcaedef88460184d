"""Builds a batch: rows in, two Arrow tables out. Pure but for the batch's name.

A request's rows stay together in one batch, so that a list is in Snowflake whole or not at all;
only a request larger than BATCH_BYTES is spread over several, its ledger row in the last.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline import tables
from pipeline.messages import LeaseRef, Outcome, Part, RequestKey, Resource, Rows

# What a row's other columns take in Arrow, about; the body is counted exactly.
ROW_OVERHEAD_BYTES = 600
# Rows are kept as Python's objects until there are so many bytes of them: those take twice what
# Arrow does, and a batch of them beside the batch made of them would be three.
CHUNK_BYTES = 4 * 1024 * 1024


def size_of(rows: Rows) -> int:
    """Bytes that a frame adds to a batch."""
    bodies = sum(len(resource.body or b"") for resource in rows.resources)
    lines = len(rows.resources) + (rows.outcome is not None)
    return bodies + lines * ROW_OVERHEAD_BYTES


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
        # Of rows that are not yet in Arrow.
        self._open_bytes = 0
        self._resource_rows = _Rows(tables.RESOURCES)
        self._request_rows = _Rows(tables.REQUESTS)
        self._parts: dict[tuple[int, int, int], Part] = {}

    def __len__(self) -> int:
        """Rows of the table that has more of them."""
        return max(self.resources, self.requests)

    def add(self, rows: Rows) -> None:
        """Take in one frame's rows."""
        lease, request = rows.lease, rows.request
        for resource in rows.resources:
            self._resource_rows.append(self._resource(lease, request, resource))
        self.resources += len(rows.resources)
        expects = None
        if rows.outcome is not None:
            expects = rows.outcome.rows
            self._request_rows.append(self._request(lease, request, rows.outcome))
            self.requests += 1
        size_bytes = size_of(rows)
        self.size_bytes += size_bytes
        self._open_bytes += size_bytes
        if self._open_bytes >= CHUNK_BYTES:
            self._close_chunks()
        key = (lease.lease_id, lease.attempt, request.index)
        before = self._parts.get(key)
        count = len(rows.resources) + (before.rows if before is not None else 0)
        self._parts[key] = Part(lease, request.index, count, expects)

    @property
    def parts(self) -> list[Part]:
        """What it holds of each request."""
        return list(self._parts.values())

    def build(self) -> tuple[pa.Table, pa.Table, list[Part]]:
        """The batch's resources, requests and parts."""
        self._close_chunks()
        return self._resource_rows.table(), self._request_rows.table(), self.parts

    def _close_chunks(self) -> None:
        self._open_bytes = 0
        self._resource_rows.close_chunk()
        self._request_rows.close_chunk()

    def _resource(
        self, lease: LeaseRef, request: RequestKey, resource: Resource
    ) -> tuple[Any, ...]:
        return (
            resource.row_key,
            lease.message_id,
            lease.correlation_id,
            request.index,
            request.service,
            request.api_version,
            resource.subscription_id,
            resource.resource_group,
            resource.resource_id,
            resource.resource_type,
            resource.name,
            resource.location,
            resource.body,
            resource.body_hash,
            lease.enqueued_at_us,
            resource.collected_at_us,
            self.batch_id,
            resource.source,
            resource.cached,
        )

    def _request(self, lease: LeaseRef, request: RequestKey, outcome: Outcome) -> tuple[Any, ...]:
        return (
            lease.message_id,
            request.index,
            lease.correlation_id,
            request.service,
            request.method,
            request.api_version,
            outcome.url,
            request.subscription_id or None,
            outcome.outcome,
            outcome.status_code,
            outcome.error_code,
            outcome.error_message,
            outcome.pages,
            outcome.rows,
            outcome.attempts,
            outcome.latency_ms,
            outcome.azure_request_id,
            lease.dequeue_count,
            outcome.started_at_us,
            outcome.completed_at_us,
            self.batch_id,
            outcome.source,
            outcome.cached,
            outcome.body_hash,
            lease.enqueued_at_us,
        )


class _Rows:
    """Rows of a table, turned into Arrow chunk by chunk."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._open: list[tuple[Any, ...]] = []
        self._chunks: list[pa.RecordBatch] = []

    def append(self, row: tuple[Any, ...]) -> None:
        self._open.append(row)

    def close_chunk(self) -> None:
        if not self._open:
            return
        columns = zip(*self._open, strict=True)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, self._schema, strict=True)]
        self._chunks.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._open = []

    def table(self) -> pa.Table:
        return pa.Table.from_batches(self._chunks, schema=self._schema)

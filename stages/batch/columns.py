"""Frames of rows as Arrow columns: each column is made in one go, from all rows of a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline import tables
from pipeline.messages import Rows


def resources_of(frames: Sequence[Rows], batch_id: str) -> pa.RecordBatch:
    """Their rows of RESOURCES."""
    rows = [row for frame in frames for row in frame.resources]
    # What all rows of a frame share.
    of_rows = [frame for frame in frames for _ in frame.resources]
    columns: dict[str, list[Any]] = {
        "ROW_KEY": [row.row_key for row in rows],
        "MESSAGE_ID": [frame.lease.message_id for frame in of_rows],
        "CORRELATION_ID": [frame.lease.correlation_id for frame in of_rows],
        "REQUEST_INDEX": [frame.request.index for frame in of_rows],
        "SERVICE": [frame.request.service for frame in of_rows],
        "API_VERSION": [frame.request.api_version for frame in of_rows],
        "SUBSCRIPTION_ID": [row.subscription_id for row in rows],
        "RESOURCE_GROUP": [row.resource_group for row in rows],
        "RESOURCE_ID": [row.resource_id for row in rows],
        "RESOURCE_TYPE": [row.resource_type for row in rows],
        "NAME": [row.name for row in rows],
        "LOCATION": [row.location for row in rows],
        "BODY": [row.body for row in rows],
        "BODY_HASH": [row.body_hash for row in rows],
        "ENQUEUED_AT": [frame.lease.enqueued_at_us for frame in of_rows],
        "COLLECTED_AT": [row.collected_at_us for row in rows],
        "BATCH_ID": [batch_id] * len(rows),
        "SOURCE": [row.source for row in rows],
        "CACHED": [row.cached for row in rows],
    }
    return _batch(columns, tables.RESOURCES)


def requests_of(frames: Sequence[Rows], batch_id: str) -> pa.RecordBatch:
    """Their rows of REQUESTS: those of the frames that have an outcome."""
    ended = [(frame, frame.outcome) for frame in frames if frame.outcome is not None]
    frames = [frame for frame, _ in ended]
    leases = [frame.lease for frame in frames]
    requests = [frame.request for frame in frames]
    outcomes = [outcome for _, outcome in ended]
    columns: dict[str, list[Any]] = {
        "MESSAGE_ID": [lease.message_id for lease in leases],
        "REQUEST_INDEX": [request.index for request in requests],
        "CORRELATION_ID": [lease.correlation_id for lease in leases],
        "SERVICE": [request.service for request in requests],
        "METHOD": [request.method for request in requests],
        "API_VERSION": [request.api_version for request in requests],
        "URL": [outcome.url for outcome in outcomes],
        "SUBSCRIPTION_ID": [request.subscription_id or None for request in requests],
        "OUTCOME": [outcome.outcome for outcome in outcomes],
        "STATUS_CODE": [outcome.status_code for outcome in outcomes],
        "ERROR_CODE": [outcome.error_code for outcome in outcomes],
        "ERROR_MESSAGE": [outcome.error_message for outcome in outcomes],
        "PAGES": [outcome.pages for outcome in outcomes],
        "ROWS": [outcome.rows for outcome in outcomes],
        "ATTEMPTS": [outcome.attempts for outcome in outcomes],
        "LATENCY_MS": [outcome.latency_ms for outcome in outcomes],
        "AZURE_REQUEST_ID": [outcome.azure_request_id for outcome in outcomes],
        "DEQUEUE_COUNT": [lease.dequeue_count for lease in leases],
        "STARTED_AT": [outcome.started_at_us for outcome in outcomes],
        "COMPLETED_AT": [outcome.completed_at_us for outcome in outcomes],
        "BATCH_ID": [batch_id] * len(outcomes),
        "SOURCE": [outcome.source for outcome in outcomes],
        "CACHED": [outcome.cached for outcome in outcomes],
        "BODY_HASH": [outcome.body_hash for outcome in outcomes],
        "ENQUEUED_AT": [lease.enqueued_at_us for lease in leases],
    }
    return _batch(columns, tables.REQUESTS)


def _batch(columns: dict[str, list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)

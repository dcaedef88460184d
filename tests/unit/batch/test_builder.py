"""Rows in, two Arrow tables and the parts out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline import tables
from pipeline.messages import Part
from stages.batch import builder as builder_module
from stages.batch.builder import ROW_OVERHEAD_BYTES, BatchBuilder, size_of
from tests.unit.batch.rows_made import frame, lease, outcome, resource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def test_every_column_is_filled() -> None:
    builder = BatchBuilder("b-1")
    builder.add(frame(range(1), total=1, index=2))
    resources, requests, _ = builder.build()
    assert resources.schema == tables.RESOURCES
    assert requests.schema == tables.REQUESTS
    assert resources.to_pylist() == [
        {
            "ROW_KEY": "key-0", "MESSAGE_ID": "m-1", "CORRELATION_ID": None, "REQUEST_INDEX": 2,
            "SERVICE": "compute", "API_VERSION": "2024-07-01", "SUBSCRIPTION_ID": "s",
            "RESOURCE_GROUP": "g", "RESOURCE_ID": "/0", "RESOURCE_TYPE": "t", "NAME": "n",
            "LOCATION": "we", "BODY": '{"a":1}', "BODY_HASH": "h", "ENQUEUED_AT": at(5),
            "COLLECTED_AT": at(7), "BATCH_ID": "b-1", "SOURCE": "provider", "CACHED": False,
        }
    ]  # fmt: skip
    assert requests.to_pylist() == [
        {
            "MESSAGE_ID": "m-1", "REQUEST_INDEX": 2, "CORRELATION_ID": None, "SERVICE": "compute",
            "METHOD": "GET", "API_VERSION": "2024-07-01", "URL": "https://x/a",
            "SUBSCRIPTION_ID": None, "OUTCOME": "complete", "STATUS_CODE": 200, "ERROR_CODE": None,
            "ERROR_MESSAGE": None, "PAGES": 1, "ROWS": 1, "ATTEMPTS": 1, "LATENCY_MS": 12,
            "AZURE_REQUEST_ID": "r", "DEQUEUE_COUNT": 2, "STARTED_AT": at(100),
            "COMPLETED_AT": at(200), "BATCH_ID": "b-1", "SOURCE": "provider", "CACHED": False,
            "BODY_HASH": "all", "ENQUEUED_AT": at(5),
        }
    ]  # fmt: skip


def test_a_part_counts_its_rows_over_frames_and_expects_with_the_outcome() -> None:
    builder = BatchBuilder("b-1")
    builder.add(frame(range(3)))
    assert builder.build()[2] == [Part(lease(), 0, 3, None)]
    builder.add(frame(range(3, 5), total=5))
    builder.add(frame(range(0), total=0, index=1))
    builder.add(frame(range(1), total=1, of=lease(1, attempt=2)))
    assert builder.build()[2] == [
        Part(lease(), 0, 5, 5), Part(lease(), 1, 0, 0), Part(lease(1, attempt=2), 0, 1, 1),
    ]  # fmt: skip
    assert (builder.resources, builder.requests, len(builder)) == (6, 3, 6)


def test_the_size_is_bodies_and_an_overhead_for_each_row() -> None:
    builder = BatchBuilder("b-1")
    rows = frame(range(2), total=2, body=b"12345")
    builder.add(rows)
    assert builder.size_bytes == size_of(rows) == 2 * 5 + 3 * ROW_OVERHEAD_BYTES


def test_a_row_without_a_body_and_a_failed_request_without_rows() -> None:
    builder = BatchBuilder("b-1")
    builder.add(msgspec.structs.replace(frame(range(0), total=1), resources=[resource(0, None)]))
    failed = msgspec.structs.replace(frame(range(0), index=1), outcome=outcome(0, "failed"))
    builder.add(failed)
    resources, requests, _ = builder.build()
    assert resources["BODY"].to_pylist() == [None]
    assert requests["OUTCOME"].to_pylist() == ["complete", "failed"]


def test_rows_of_several_chunks_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder_module, "CHUNK_BYTES", 5 * ROW_OVERHEAD_BYTES)
    builder = BatchBuilder("b-1")
    for index in range(10):
        builder.add(frame(range(index * 2, index * 2 + 2), total=2, index=index))
    resources, requests, parts = builder.build()
    assert resources["BODY"].num_chunks > 1
    assert resources["ROW_KEY"].to_pylist() == [f"key-{number}" for number in range(20)]
    assert resources["REQUEST_INDEX"].to_pylist() == [number // 2 for number in range(20)]
    assert requests["REQUEST_INDEX"].to_pylist() == list(range(10))
    assert parts == [Part(lease(), index, 2, 2) for index in range(10)]


def test_an_empty_batch_has_the_columns() -> None:
    resources, requests, parts = BatchBuilder("b-1").build()
    assert (resources.schema, requests.schema, parts) == (tables.RESOURCES, tables.REQUESTS, [])


@pytest.mark.parametrize("text", ["é\U0001f600\u0000", "x" * 1_000_000])
def test_bodies_are_kept_to_the_character(text: str) -> None:
    body = msgspec.json.encode(text)
    builder = BatchBuilder("b-1")
    builder.add(frame(range(1), total=1, body=body))
    assert builder.build()[0]["BODY"].to_pylist() == [body.decode()]

"""Parts of a sealed batch, as batches of their own, and rows that stand in for those that kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables
from pipeline.spool import SealedBatch
from stages.load import unfit

# Names the load that is rolled back, in Snowflake's query history.
PROOF = "proof-that-loading-works"


def piece_of(batch: SealedBatch, rows: tuple[int, int]) -> SealedBatch:
    """Some of a batch's rows; nothing is copied.

    Args:
        batch: an open one.
        rows: from where to before where, of its resources and then its requests.
    """
    count = batch.resources.num_rows
    return replace(
        batch,
        resources=_slice(batch.resources, *rows),
        requests=_slice(batch.requests, rows[0] - count, rows[1] - count),
    )


def _slice(table: pa.Table, first: int, end: int) -> pa.Table:
    first, end = max(0, first), max(0, end)
    return table.slice(first, max(0, end - first))


def described(batch: SealedBatch, aside: Mapping[int, str]) -> list[unfit.Unfit]:
    """Rows of RESOURCES that earlier pieces of a batch have set aside.

    Args:
        batch: all of it.
        aside: the reason by the row's index.
    """
    columns = batch.resources.select([*unfit.WHOSE, "BODY"])
    found = []
    for index, reason in sorted(aside.items()):
        (row,) = columns.slice(index, 1).to_pylist()
        found.append(unfit.killing(row) if reason == unfit.KILLS else unfit.unfit(row, reason))
    return found


def places(batch: SealedBatch, refused: Mapping[str, str]) -> dict[int, str]:
    """The indices of rows of RESOURCES.

    Args:
        batch: all of it.
        refused: reasons by ROW_KEY.
    """
    keys = batch.resources["ROW_KEY"]
    return {pc.index(keys, key).as_py(): reason for key, reason in refused.items()}


def plain(requests: pa.Table) -> pa.Table:
    """Rows of REQUESTS without the texts of the answer: all they say is that they kill."""
    said = {
        "OUTCOME": "failed",
        "URL": "",
        "ERROR_CODE": unfit.ROW_REJECTED,
        "ERROR_MESSAGE": unfit.KILLS,
    }
    empty = {field.name: None for field in requests.schema if field.nullable}
    rows = [{**row, **empty, **said} for row in requests.to_pylist()]
    return pa.Table.from_pylist(rows, schema=requests.schema)


def proof() -> SealedBatch:
    """A batch of one row each, in which nothing comes from outside."""
    return SealedBatch(PROOF, _one_row(tables.RESOURCES), _one_row(tables.REQUESTS), [], 0)


def _one_row(schema: pa.Schema) -> pa.Table:
    row = {field.name: _harmless(field.type) for field in schema if not field.nullable}
    body = {"BODY": "{}"} if "BODY" in schema.names else {}
    return pa.Table.from_pylist([{**row, **body}], schema=schema)


def _harmless(kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind):
        return datetime.now(UTC)
    return 0 if pa.types.is_integer(kind) else PROOF

"""Rows that Snowflake cannot take, found before they fail a whole file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# A VARCHAR's length and a VARIANT's size in accounts without the larger limits of 2025.
BODY_LIMIT_BYTES = 16 * 1024 * 1024

# What REQUESTS says of a request that has a row set aside.
ROW_REJECTED = "RowRejected"

_KEYS = ("ROW_KEY", "MESSAGE_ID", "REQUEST_INDEX", "BATCH_ID")


@dataclass(frozen=True)
class Unfit:
    """A row that is set aside.

    Attributes:
        row_key: its ROW_KEY.
        message_id: its MESSAGE_ID.
        request_index: its REQUEST_INDEX.
        batch_id: its BATCH_ID.
        reason: why, in a few words.
    """

    row_key: str
    message_id: str
    request_index: int
    batch_id: str
    reason: str


def split(rows: pa.Table, limit_bytes: int = BODY_LIMIT_BYTES) -> tuple[pa.Table, list[Unfit]]:
    """Rows of RESOURCES that can be staged, and those that cannot.

    Args:
        rows: of :data:`pipeline.tables.RESOURCES`.
        limit_bytes: longest ``BODY``.
    """
    size_bytes = pc.binary_length(rows["BODY"])
    too_large = pc.fill_null(pc.greater(size_bytes, limit_bytes), False)
    if not pc.any(too_large).as_py():
        return rows, []
    aside = rows.filter(too_large)
    unfit = [
        Unfit(key, message, index, batch, f"body of {size} bytes is over {limit_bytes}")
        for key, message, index, batch, size in zip(
            *(aside[name].to_pylist() for name in _KEYS),
            pc.binary_length(aside["BODY"]).to_pylist(),
            strict=True,
        )
    ]
    return rows.filter(pc.invert(too_large)), unfit


def tell_ledger(requests: pa.Table, aside: Sequence[Unfit]) -> pa.Table:
    """Rows of REQUESTS that own up: a request with a row set aside is not complete.

    Args:
        requests: of :data:`pipeline.tables.REQUESTS`.
        aside: rows set aside.
    """
    if not aside:
        return requests
    missing = Counter((row.message_id, row.request_index) for row in aside)
    reasons = {(row.message_id, row.request_index): row.reason for row in reversed(aside)}
    ledger = requests.to_pylist()
    for entry in ledger:
        key = (entry["MESSAGE_ID"], entry["REQUEST_INDEX"])
        if entry["OUTCOME"] == "complete" and key in missing:
            entry["OUTCOME"] = "failed"
            entry["ERROR_CODE"] = ROW_REJECTED
            entry["ERROR_MESSAGE"] = f"{missing[key]} rows set aside: {reasons[key]}"
            entry["ROWS"] = max(0, entry["ROWS"] - missing[key])
    return pa.Table.from_pylist(ledger, schema=requests.schema)

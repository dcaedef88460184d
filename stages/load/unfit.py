"""Rows that Snowflake cannot take, found before they fail a whole file."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# A VARCHAR's length and a VARIANT's size in accounts without the larger limits of 2025.
BODY_LIMIT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Unfit:
    """A row that is set aside.

    Attributes:
        row_key: its ROW_KEY.
        batch_id: its BATCH_ID.
        reason: why, in a few words.
    """

    row_key: str
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
        Unfit(key, batch, f"body of {size} bytes is over {limit_bytes}")
        for key, batch, size in zip(
            aside["ROW_KEY"].to_pylist(),
            aside["BATCH_ID"].to_pylist(),
            pc.binary_length(aside["BODY"]).to_pylist(),
            strict=True,
        )
    ]
    return rows.filter(pc.invert(too_large)), unfit

"""Rows that are too large are found before they fail a file."""

from __future__ import annotations

import pyarrow as pa

from pipeline import tables
from stages.load.unfit import Unfit, split, tell_ledger


def rows(*bodies: str | None) -> pa.Table:
    keys = [f"k{i}" for i in range(len(bodies))]
    body = pa.array(bodies, pa.string())
    count = len(keys)
    return pa.table(
        {
            "ROW_KEY": keys,
            "MESSAGE_ID": ["m"] * count,
            "REQUEST_INDEX": list(range(count)),
            "BODY": body,
            "BATCH_ID": ["b"] * count,
        }
    )


def test_fitting_rows_are_the_same_table() -> None:
    table = rows("{}", None)
    assert split(table, 2) == (table, [])
    assert split(table, 2)[0] is table


def test_a_body_is_measured_in_bytes_of_utf_8() -> None:
    kept, aside = split(rows('"ab"', '"öö"', None), 5)
    assert kept["ROW_KEY"].to_pylist() == ["k0", "k2"]
    assert aside == [Unfit("k1", "m", 1, "b", "body of 6 bytes is over 5")]


def test_no_rows() -> None:
    table = rows()
    assert split(table) == (table, [])


def test_a_request_with_a_row_set_aside_is_not_complete() -> None:
    def entry(index: int, outcome: str) -> dict[str, object]:
        blank: dict[str, object] = dict.fromkeys(tables.REQUESTS.names)
        return {
            **blank,
            "MESSAGE_ID": "m",
            "REQUEST_INDEX": index,
            "OUTCOME": outcome,
            "ROWS": 3,
            "PAGES": 1,
        }

    schema = pa.schema([field.with_nullable(True) for field in tables.REQUESTS])
    ledger = pa.Table.from_pylist([entry(0, "complete"), entry(1, "complete")], schema=schema)
    told = tell_ledger(ledger, [Unfit("k", "m", 1, "b", "body is not JSON")]).to_pylist()
    assert [(row["OUTCOME"], row["ROWS"]) for row in told] == [("complete", 3), ("failed", 2)]
    assert told[1]["ERROR_CODE"] == "RowRejected"
    assert told[1]["ERROR_MESSAGE"] == "1 rows set aside: body is not JSON"

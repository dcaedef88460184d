"""Rows that Snowflake cannot take are found, described and owned up to."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from pipeline import tables
from stages.load import unfit
from stages.load.unfit import Told, Unfit, split, to_table, why_refused

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def row(key: str, body: str | None, **changes: Any) -> dict[str, Any]:
    blank: dict[str, Any] = dict.fromkeys(tables.RESOURCES.names)
    named = {
        "ROW_KEY": key,
        "MESSAGE_ID": "m",
        "REQUEST_INDEX": 0,
        "SERVICE": "compute",
        "API_VERSION": "2024-07-01",
        "ENQUEUED_AT": NOW,
        "COLLECTED_AT": NOW,
        "BATCH_ID": "b",
    }
    return blank | named | {"BODY": body} | changes


def rows(*bodies: str | None) -> pa.Table:
    made = [row(f"k{place}", body) for place, body in enumerate(bodies)]
    return pa.Table.from_pylist(made, schema=tables.RESOURCES)


def aside(index: int = 0, batch: str = "b", message: str = "m") -> Unfit:
    found = row("k", "{", MESSAGE_ID=message, REQUEST_INDEX=index, BATCH_ID=batch)
    return unfit.unfit(found, "body is not JSON")


def ledger(*entries: tuple[str, int, str]) -> pa.Table:
    """Rows of REQUESTS: message, index and outcome, with three rows each."""
    schema = pa.schema([field.with_nullable(True) for field in tables.REQUESTS])
    blank: dict[str, Any] = dict.fromkeys(tables.REQUESTS.names)
    made = [
        {**blank, "MESSAGE_ID": message, "REQUEST_INDEX": index, "OUTCOME": outcome, "ROWS": 3}
        for message, index, outcome in entries
    ]
    return pa.Table.from_pylist(made, schema=schema)


def said(requests: pa.Table) -> list[tuple[str, int]]:
    return [(entry["OUTCOME"], entry["ROWS"]) for entry in requests.to_pylist()]


def test_fitting_rows_are_the_same_table() -> None:
    table = rows("{}", None)
    assert split(table, 2)[0] is table
    assert split(table, 2)[1] == []


def test_a_body_is_measured_in_bytes_of_utf_8() -> None:
    kept, found = split(rows('"ab"', '"öö"', None), 5)
    assert kept["ROW_KEY"].to_pylist() == ["k0", "k2"]
    assert [(one.row_key, one.reason, one.body_bytes) for one in found] == [
        ("k1", "body of 6 bytes is over 5", 6)
    ]


def test_no_text_is_no_json_and_not_a_missing_body() -> None:
    kept, found = split(rows("", None, "null"))
    assert kept["ROW_KEY"].to_pylist() == ["k1", "k2"]
    assert [one.reason for one in found] == ["body is not JSON"]


def test_no_rows() -> None:
    table = rows()
    assert split(table) == (table, [])


def test_a_row_is_described_by_its_size_digest_and_start() -> None:
    body = json.dumps({"text": "ö" * 500}, ensure_ascii=False)
    (found,) = split(rows(body), 100)[1]
    assert found.body_bytes == len(body.encode())
    assert found.body_digest == hashlib.sha256(body.encode()).hexdigest()
    assert found.body_start == body[:200]
    (told,) = to_table([found], NOW).to_pylist()
    assert (told["ROW_KEY"], told["ENQUEUED_AT"], told["REJECTED_AT"]) == ("k0", NOW, NOW)
    assert to_table([], NOW).num_rows == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"cut": ', unfit.NOT_JSON),
        ("{'a': 1}", unfit.NOT_JSON),
        ('{"a": NaN}', unfit.NOT_JSON),
        ("<html>", unfit.NOT_JSON),
        ('{"a": [1e400]}', unfit.NUMBER_TOO_LARGE),
        ('{"a": -1E+999}', unfit.NUMBER_TOO_LARGE),
        ("9" * 400, unfit.NUMBER_TOO_LARGE),
        ('{"a": "1e400"}', unfit.REFUSED),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
    ],
)
def test_why_a_body_is_refused_is_said_as_far_as_it_shows(body: str, reason: str) -> None:
    assert reason in why_refused(body)


def test_a_request_with_a_row_set_aside_is_not_complete() -> None:
    told = Told()
    told.remember([aside(1)])
    requests = told.tell(ledger(("m", 0, "complete"), ("m", 1, "complete"), ("m", 2, "forbidden")))
    assert said(requests) == [("complete", 3), ("failed", 2), ("forbidden", 3)]
    entry = requests.to_pylist()[1]
    assert entry["ERROR_CODE"] == "RowRejected"
    assert entry["ERROR_MESSAGE"] == "1 rows set aside: body is not JSON"


def test_a_request_whose_row_was_set_aside_in_an_earlier_batch_is_not_complete() -> None:
    told = Told()
    told.remember([aside(0, "b1"), aside(0, "b1")])
    told.remember([aside(0, "b2")])
    told.remember([aside(0, "b1"), aside(0, "b1")])  # the same batch, loaded again
    told.committed(ledger(("other", 0, "complete")))
    assert said(told.tell(ledger(("m", 0, "complete")))) == [("failed", 0)]


def test_the_same_message_collected_again_may_be_whole() -> None:
    told = Told()
    told.remember([aside()])
    requests = ledger(("m", 0, "complete"))
    assert said(told.tell(requests)) == [("failed", 2)]
    told.committed(requests)
    assert told.tell(requests) is requests


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfit, "_REMEMBERED_REQUESTS", 2)
    told = Told()
    told.remember([aside(message=name) for name in ("first", "second", "third")])
    assert said(told.tell(ledger(("first", 0, "complete"), ("third", 0, "complete")))) == [
        ("complete", 3),
        ("failed", 2),
    ]

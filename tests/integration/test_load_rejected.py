"""Rows that cannot be loaded are in REJECTED_ROWS with the reason, and the others go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from snowflake.connector.errors import ProgrammingError

from pipeline.errors import DependencyError
from pipeline.logs import log
from stages.load import failures, merge, unfit
from stages.load import loader as loader_module
from stages.load.loader import Loader
from stages.load.session import Session
from tests.integration.snowflake_fixture import (
    NOW,
    batch,
    loader,
    request,
    resource,
    server,
    session,
)

__all__ = ["loader", "server", "session"]

CUT = '{"cut": "größer'


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """What is logged as a warning or worse."""
    lines: list[Any] = []
    sink = log.add(lambda message: lines.append(message.record), level="WARNING")
    yield lines
    log.remove(sink)


def keys(session: Session, table: str) -> list[str]:
    return [row[0] for row in session.run(f'SELECT "ROW_KEY" FROM "{table}" ORDER BY 1')]


def outcome(session: Session, message: str = "m-1") -> tuple[Any, ...]:
    sql = 'SELECT "OUTCOME", "ERROR_CODE", "ROWS" FROM "REQUESTS" WHERE "MESSAGE_ID"'
    (found,) = session.run(f"{sql} = '{message}'")
    return found


def test_it_is_there_with_its_reason_digest_and_start(loader: Loader, session: Session) -> None:
    one = batch([resource("bad", BODY=CUT, SUBSCRIPTION_ID=None)], [request("m-1")])
    assert loader.load([one]).set_aside == 1
    columns = ", ".join(f'"{name}"' for name in unfit.COLUMNS.names)
    (row,) = session.run(f'SELECT {columns} FROM "REJECTED_ROWS"')
    found = dict(zip(unfit.COLUMNS.names, row, strict=True))
    assert found.pop("REJECTED_AT") > NOW
    assert found.pop("REASON").startswith("body is not JSON: ")
    assert found == {
        "ROW_KEY": "bad",
        "MESSAGE_ID": "m-1",
        "REQUEST_INDEX": 0,
        "SERVICE": "compute",
        "SUBSCRIPTION_ID": None,
        "RESOURCE_ID": "/subscriptions/1/resourceGroups/rg/providers/x/bad",
        "BODY_BYTES": len(CUT.encode()),
        "BODY_DIGEST": hashlib.sha256(CUT.encode()).hexdigest(),
        "BODY_START": CUT,
        "ENQUEUED_AT": NOW,
        "BATCH_ID": one.batch_id,
    }
    assert outcome(session) == ("failed", "RowRejected", 0)


def test_rows_that_fit_go_on(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfit.split, "__defaults__", (100,))
    rows = [
        resource("a"),
        resource("empty", BODY=""),
        resource("large", BODY=json.dumps("x" * 100)),
        resource("cut", BODY="{"),
        resource("null", BODY="null"),
        resource("none", BODY=None),
    ]
    loaded = loader.load([batch(rows, [request("m-1", ROWS=6), request("m-2")])])
    assert (loaded.resources, loaded.requests, loaded.set_aside) == (3, 2, 3)
    assert keys(session, "RESOURCES") == ["a", "none", "null"]
    assert keys(session, "REJECTED_ROWS") == ["cut", "empty", "large"]
    assert outcome(session) == ("failed", "RowRejected", 3)
    assert outcome(session, "m-2") == ("complete", None, 1)


def test_the_same_batch_again_rejects_the_row_once(loader: Loader, session: Session) -> None:
    same = batch([resource("a"), resource("bad", BODY=CUT)], [request("m-1")])
    at = set()
    for _ in range(2):
        assert loader.load([same]).set_aside == 1
        at |= set(session.run('SELECT "REJECTED_AT" FROM "REJECTED_ROWS"'))
    assert keys(session, "REJECTED_ROWS") == ["bad"]
    assert len(at) == 1
    assert outcome(session) == ("failed", "RowRejected", 0)


def test_one_key_that_is_rejected_twice_in_a_load_is_there_once(
    loader: Loader, session: Session
) -> None:
    two = [batch([resource("bad", BODY=CUT)]), batch([resource("bad", BODY=CUT)])]
    assert loader.load(two).set_aside == 2
    assert keys(session, "REJECTED_ROWS") == ["bad"]


def test_a_request_says_so_that_comes_with_a_later_batch(loader: Loader, session: Session) -> None:
    loader.load([batch([resource("bad", BODY=CUT), resource("a")])])
    loader.load([batch([resource("b")], [request("m-1", ROWS=3)])])
    assert outcome(session) == ("failed", "RowRejected", 2)


def test_what_is_collected_again_and_fits_makes_the_request_complete(
    loader: Loader, session: Session
) -> None:
    loader.load([batch([resource("a", BODY=CUT)], [request("m-1")])])
    loader.load([batch([resource("a")], [request("m-1")])])
    assert keys(session, "RESOURCES") == keys(session, "REJECTED_ROWS") == ["a"]
    assert outcome(session) == ("complete", None, 1)


def test_only_so_many_rows_are_logged_by_name(
    loader: Loader, session: Session, said: list[Any]
) -> None:
    rows = [resource(f"k{place}", BODY=CUT) for place in range(30)]
    loader.load([batch(rows)])
    assert len(said) == loader_module.LOGGED_ROWS + 1
    assert said[-1]["extra"]["rows"] == 10
    assert len(keys(session, "REJECTED_ROWS")) == 30


def test_rows_that_fit_do_not_wait_until_the_others_can_be_written_down(
    loader: Loader, session: Session, said: list[Any]
) -> None:
    session.run('ALTER TABLE "REJECTED_ROWS" RENAME TO "ELSEWHERE"')
    one = batch([resource("a"), resource("bad", BODY=CUT)], [request("m-1")])
    try:
        loaded = loader.load([one])
    finally:
        session.run('ALTER TABLE "ELSEWHERE" RENAME TO "REJECTED_ROWS"')
    assert (loaded.resources, loaded.requests, loaded.set_aside) == (1, 1, 1)
    assert keys(session, "RESOURCES") == ["a"]
    assert outcome(session) == ("failed", "RowRejected", 0)
    assert [line["extra"]["action"] for line in said] == ["rejected_rows_unkept", "row_set_aside"]


def test_it_is_committed_with_the_rest_or_not_at_all(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = batch([resource("a"), resource("bad", BODY=CUT)], [request("m-1")])
    with monkeypatch.context() as patched:
        patched.setattr(merge, "merge_requests", lambda _: "MERGE INTO")
        with pytest.raises(DependencyError):
            loader.load([one])
    assert keys(session, "RESOURCES") == keys(session, "REJECTED_ROWS") == []
    assert loader.load([one]).set_aside == 1
    assert keys(session, "REJECTED_ROWS") == ["bad"]


def test_a_body_whose_variant_is_too_large_is_found_by_its_size(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB takes any size: a refusal with Snowflake's code is put in front of its MERGE."""
    run = Session.run
    refused = []

    def limited(self: Session, sql: str) -> list[tuple[Any, ...]]:
        if sql.startswith('\nMERGE INTO "RESOURCES"'):
            largest = run(self, f'SELECT MAX(LENGTH("BODY")) FROM "{merge.STAGED_RESOURCES}"')
            if largest[0][0] > 1000:
                refused.append(sql)
                error = ProgrammingError(
                    msg="Max LOB size (16777216) exceeded", errno=100082, sqlstate="22000"
                )
                raise failures.statement_error(error) from error
        return run(self, sql)

    monkeypatch.setattr(Session, "run", limited)
    sizes = {"small": 10, "large": 2000, "larger": 3000}
    rows = [resource(key, BODY=json.dumps("x" * size)) for key, size in sizes.items()]
    loaded = loader.load([batch(rows, [request("m-1", ROWS=3)])])
    assert len(refused) == 2
    assert (loaded.resources, loaded.set_aside) == (1, 2)
    assert keys(session, "REJECTED_ROWS") == ["large", "larger"]
    assert outcome(session) == ("failed", "RowRejected", 1)

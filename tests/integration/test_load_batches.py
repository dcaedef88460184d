"""Batches in Snowflake: every row once, whole, and as it was collected."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.errors import DependencyError
from pipeline.logs import log
from stages.load import loader as loader_module
from stages.load import merge, unfit
from stages.load.loader import Loader
from stages.load.session import Session
from tests.integration.snowflake_fixture import (
    NOW,
    SnowflakeServer,
    batch,
    loader,
    request,
    resource,
    server,
    session,
)

__all__ = ["loader", "server", "session"]

BODIES = [
    {"text": "größer — 漢字 🚀 \u2028"},
    {"control": "\t\n\r\u0001\u001f\\ \" ' `"},
    {"sql": "$1 $$ ${x} %s %(y)s ? ; -- /* :a"},
    {"number": 12345678901234567890123456789, "float": 0.1, "small": -1},
    {"nested": [[{"a": [None, True, {"": {}}]}], []]},
    [1, "two", None],
    "just text",
    None,
]


def outcomes(session: Session) -> list[tuple[Any, ...]]:
    return session.run('SELECT "MESSAGE_ID", "OUTCOME", "STATUS_CODE" FROM "REQUESTS" ORDER BY 1')


def test_twenty_thousand_rows_are_there_once(loader: Loader, session: Session) -> None:
    body = json.dumps({"properties": {"filler": "x" * 1100}})
    rows = [resource(f"k{i}", BODY=body) for i in range(20_000)]
    ledger = [request(f"m{i}") for i in range(200)]
    loaded = loader.load([batch(rows, ledger)])
    assert (loaded.resources, loaded.requests, loaded.set_aside) == (20_000, 200, 0)
    sql = 'SELECT COUNT(*), COUNT(DISTINCT "ROW_KEY") FROM "RESOURCES"'
    assert session.run(sql) == [(20_000, 20_000)]


def test_the_same_batch_twice_changes_nothing(loader: Loader, session: Session) -> None:
    same = batch([resource("a"), resource("b")], [request("m-1")])
    first, second = loader.load([same]), loader.load([same])
    assert (first.resources, first.requests) == (2, 1)
    assert (second.resources, second.requests) == (0, 0)
    assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 2


def test_a_key_that_is_twice_in_a_load_is_taken_once(loader: Loader, session: Session) -> None:
    two = [batch([resource("a"), resource("a")]), batch([resource("a"), resource("b")])]
    assert loader.load(two).resources == 2
    assert session.run('SELECT "ROW_KEY" FROM "RESOURCES" ORDER BY 1') == [("a",), ("b",)]


def test_batches_loaded_together_keep_their_batch_ids(loader: Loader, session: Session) -> None:
    two = [batch([resource("a")], [request("m-1")]), batch([resource("b")], [request("m-2")])]
    loader.load(two)
    for table in ("RESOURCES", "REQUESTS"):
        found = session.run(f'SELECT DISTINCT "BATCH_ID" FROM "{table}" ORDER BY 1')
        assert [row[0] for row in found] == sorted(each.batch_id for each in two)


@pytest.mark.parametrize("body", BODIES)
def test_a_body_comes_back_equal(loader: Loader, session: Session, body: Any) -> None:
    loader.load([batch([resource("a", BODY=json.dumps(body, ensure_ascii=False))])])
    assert json.loads(session.value('SELECT "BODY" FROM "RESOURCES"')) == body


def test_a_missing_body_is_null_and_not_json_null(loader: Loader, session: Session) -> None:
    loader.load([batch([resource("a", BODY=None), resource("b", BODY="null")])])
    sql = 'SELECT "BODY" IS NULL FROM "RESOURCES" ORDER BY "ROW_KEY"'
    assert session.run(sql) == [(True,), (False,)]


def test_a_body_is_queried_by_path(loader: Loader, session: Session) -> None:
    loader.load([batch([resource("a")])])
    sql = "SELECT BODY:properties.hardwareProfile.vmSize::VARCHAR FROM RESOURCES"
    assert session.value(sql) == "Standard_D2s_v5"


def test_every_column_arrives(loader: Loader, session: Session) -> None:
    row = request("m-1", 3, ERROR_CODE="NotFound", ERROR_MESSAGE="no; 'it' is \"not\"", ROWS=7)
    one = batch([resource("a", CORRELATION_ID="c", REQUEST_INDEX=3)], [row])
    loader.load([one])
    expected = {**row, "BATCH_ID": one.batch_id}
    names = [name for name in row if name != "ENQUEUED_AT"]
    columns = ", ".join(f'"{name}"' for name in names)
    assert session.run(f'SELECT {columns} FROM "REQUESTS"') == [tuple(expected[n] for n in names)]


def test_times_keep_their_microseconds_and_zone(loader: Loader, session: Session) -> None:
    moment = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    loader.load([batch([resource("a", ENQUEUED_AT=moment, COLLECTED_AT=NOW)])])
    found = session.run('SELECT "ENQUEUED_AT", "COLLECTED_AT" FROM "RESOURCES"')
    assert found == [(moment, NOW)]
    assert found[0][0].utcoffset() == timedelta(0)


def test_an_outcome_is_replaced_until_it_is_complete(loader: Loader, session: Session) -> None:
    for outcome, code, shown in (
        ("failed", 500, ("m-1", "failed", 500)),
        ("throttled", 429, ("m-1", "throttled", 429)),
        ("complete", 200, ("m-1", "complete", 200)),
        ("failed", 500, ("m-1", "complete", 200)),
        ("complete", 204, ("m-1", "complete", 200)),
    ):
        loader.load([batch([], [request("m-1", OUTCOME=outcome, STATUS_CODE=code)])])
        assert outcomes(session) == [shown]


def test_of_outcomes_in_one_load_complete_wins_and_then_the_latest(
    loader: Loader, session: Session
) -> None:
    later, latest = NOW + timedelta(seconds=5), NOW + timedelta(seconds=9)
    rows = [
        request("m-1", OUTCOME="failed", STATUS_CODE=500, COMPLETED_AT=latest),
        request("m-1", STATUS_CODE=200, COMPLETED_AT=later),
        request("m-2", OUTCOME="failed", STATUS_CODE=500, COMPLETED_AT=later),
        request("m-2", OUTCOME="throttled", STATUS_CODE=429, COMPLETED_AT=latest),
    ]
    loader.load([batch([], rows)])
    assert outcomes(session) == [("m-1", "complete", 200), ("m-2", "throttled", 429)]


def test_requests_of_one_message_stand_side_by_side(loader: Loader, session: Session) -> None:
    loader.load([batch([], [request("m-1", 0), request("m-1", 1)])])
    assert session.value('SELECT COUNT(*) FROM "REQUESTS"') == 2


@pytest.mark.parametrize(("window_s", "rows"), [("3600", 2), ("7200", 1), ("0", 1)])
def test_a_key_is_looked_for_within_the_dedupe_window(
    server: SnowflakeServer, loader: Loader, session: Session, window_s: str, rows: int
) -> None:
    loader.load([batch([resource("a", ENQUEUED_AT=NOW - timedelta(seconds=5400))])])
    other = Loader(server.config(DEDUPE_WINDOW=window_s))
    other.load([batch([resource("a")])])
    other.close()
    assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == rows


def test_one_row_that_is_not_json_does_not_stop_the_others(
    loader: Loader, session: Session
) -> None:
    lines: list[Any] = []
    sink = log.add(lambda message: lines.append(message.record), level="ERROR")
    rows = [resource("a"), resource("bad", BODY='{"cut": '), resource("b", BODY=None)]
    loaded = loader.load([batch(rows, [request("m-1")])])
    log.remove(sink)
    assert (loaded.resources, loaded.requests, loaded.set_aside) == (2, 1, 1)
    assert session.run('SELECT "ROW_KEY" FROM "RESOURCES" ORDER BY 1') == [("a",), ("b",)]
    assert [line["extra"]["row_key"] for line in lines] == ["bad"]
    assert lines[0]["extra"]["reason"].startswith("body is not JSON: ")


def test_a_row_that_is_too_large_is_set_aside(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfit.split, "__defaults__", (100,))
    rows = [resource("large", BODY=json.dumps("x" * 100)), resource("small", BODY="{}")]
    loaded = loader.load([batch(rows)])
    assert (loaded.resources, loaded.set_aside) == (1, 1)
    assert session.run('SELECT "ROW_KEY" FROM "RESOURCES"') == [("small",)]


def test_an_empty_batch_is_loaded_without_a_statement(loader: Loader) -> None:
    loaded = loader.load([batch()])
    assert (loaded.resources, loaded.requests) == (0, 0)


def test_resources_and_requests_are_committed_together_or_not_at_all(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = batch([resource("a")], [request("m-1")])
    with monkeypatch.context() as patched:
        patched.setattr(merge, "merge_requests", lambda _: 'MERGE INTO "NOWHERE"')
        with pytest.raises(DependencyError):
            loader.load([one])
    assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 0
    assert loader.load([one]).resources == 1


def test_a_long_pause_before_commit_rolls_back(
    loader: Loader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = batch([resource("a")], [request("m-1")])
    with monkeypatch.context() as patched:
        patched.setattr(loader_module, "PAUSE_LIMIT_S", -1.0)
        with pytest.raises(DependencyError, match="stood still") as caught:
            loader.load([one])
    assert caught.value.retryable
    assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 0
    assert loader.load([one]).resources == 1


def test_loaders_at_the_same_time_take_each_row_once(
    server: SnowflakeServer, loader: Loader, session: Session
) -> None:
    same = [batch([resource(f"k{i}-{j}") for j in range(50)], [request(f"m{i}")]) for i in range(3)]
    new = []

    def load_all() -> None:
        other = Loader(server.config())
        new.extend([other.load([one]).resources for one in same])
        other.close()

    threads = [threading.Thread(target=load_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(new) == 9
    assert sum(new) == 150
    sql = 'SELECT COUNT(*), COUNT(DISTINCT "ROW_KEY") FROM "RESOURCES"'
    assert session.run(sql) == [(150, 150)]
    assert session.value('SELECT COUNT(*) FROM "REQUESTS"') == 3


def test_a_load_leaves_no_stage_behind(loader: Loader, session: Session) -> None:
    loader.load([batch([resource("a")], [request("m-1")])])
    assert session.run("SHOW STAGES") == []


def test_the_view_shows_the_newest_row_of_each_resource(loader: Loader, session: Session) -> None:
    newer = NOW + timedelta(hours=1)
    rows = [
        resource("old", RESOURCE_ID="/r/1", NAME="before"),
        resource("new", RESOURCE_ID="/r/1", NAME="after", COLLECTED_AT=newer),
        resource("other", RESOURCE_ID="/r/2", NAME="other"),
        resource("none", RESOURCE_ID=None),
    ]
    loader.load([batch(rows)])
    sql = 'SELECT "RESOURCE_ID", "NAME" FROM "RESOURCES_LATEST" ORDER BY 1'
    assert session.run(sql) == [("/r/1", "after"), ("/r/2", "other")]

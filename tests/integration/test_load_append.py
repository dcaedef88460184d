"""WRITE_MODE=append: nothing is merged into RESOURCES, and a batch is there once all the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from snowflake.connector.time_util import TimeoutBackoffCtx

from pipeline.errors import Unreachable
from stages.load import session as session_module
from stages.load.loader import Loader
from stages.load.session import Session
from tests.acceptance.chaos.proxy import HOST, FaultProxy
from tests.integration.snowflake_fixture import (
    NOW,
    SnowflakeServer,
    batch,
    request,
    resource,
    server,
    session,
)

__all__ = ["server", "session"]


@pytest.fixture
def loader(server: SnowflakeServer, session: Session, tmp_path: Path) -> Iterator[Loader]:
    made = Loader(server.config(WRITE_MODE="append", SPOOL_DIR=str(tmp_path)))
    made.open()
    for table in ("RESOURCES", "REQUESTS", "REJECTED_ROWS"):
        session.run(f'DELETE FROM "{table}"')
    yield made
    made.close()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run."""
    run, seen = Session.run, []

    def noted(self: Session, sql: str) -> list[tuple[Any, ...]]:
        seen.append(sql.strip())
        return run(self, sql)

    monkeypatch.setattr(Session, "run", noted)
    return seen


def keys(session: Session, table: str = "RESOURCES") -> list[str]:
    return [row[0] for row in session.run(f'SELECT "ROW_KEY" FROM "{table}" ORDER BY 1')]


def test_rows_are_inserted_and_none_is_merged(
    loader: Loader, session: Session, statements: list[str]
) -> None:
    loaded = loader.load([batch([resource("a"), resource("b")], [request("m-1")])])
    assert (loaded.resources, loaded.requests) == (2, 1)
    assert any(sql.startswith('INSERT INTO "RESOURCES"') for sql in statements)
    assert [sql for sql in statements if sql.startswith('MERGE INTO "RESOURCES"')] == []
    assert statements.count("BEGIN TRANSACTION") == statements.count("COMMIT") == 1
    sql = 'SELECT "BODY":properties.hardwareProfile.vmSize::VARCHAR FROM "RESOURCES"'
    assert session.run(sql) == [("Standard_D2s_v5",)] * 2


def test_the_same_batch_twice_changes_nothing(loader: Loader, session: Session) -> None:
    same = batch([resource("a"), resource("b")], [request("m-1")])
    loader.load([same])
    new = batch([resource("c", COLLECTED_AT=NOW - timedelta(days=9))], [request("m-2")])
    loaded = loader.load([same, new])
    assert (loaded.resources, loaded.requests) == (1, 1)
    assert keys(session) == ["a", "b", "c"]


def test_a_key_that_is_twice_in_a_load_is_taken_once(loader: Loader, session: Session) -> None:
    two = [batch([resource("a"), resource("a")]), batch([resource("a"), resource("b")])]
    for new in (2, 0):
        assert loader.load(two).resources == new
    assert keys(session) == ["a", "b"]


def test_a_key_that_comes_with_another_batch_is_twice_and_the_views_show_it_once(
    loader: Loader, session: Session
) -> None:
    later = NOW + timedelta(minutes=5)
    loader.load([batch([resource("a", NAME="first")], [request("m-1")])])
    again = request("m-1", OUTCOME="failed")
    loader.load([batch([resource("a", NAME="again", COLLECTED_AT=later)], [again])])
    assert keys(session) == ["a", "a"]
    assert session.run('SELECT "ROW_KEY", "NAME" FROM "RESOURCES_UNIQUE"') == [("a", "first")]
    assert keys(session, "RESOURCES_LATEST") == ["a"]
    assert session.run('SELECT "CHANGE" FROM "RESOURCES_HISTORY"') == [("appeared",)]
    assert session.run('SELECT "OUTCOME" FROM "REQUESTS"') == [("complete",)]


def test_a_row_that_is_not_json_does_not_stop_the_others(
    server: SnowflakeServer, loader: Loader, session: Session, tmp_path: Path
) -> None:
    one = batch([resource("a"), resource("bad", BODY="{")], [request("m-1")])
    loaded = loader.load([one])
    assert (loaded.resources, loaded.set_aside) == (1, 1)
    # A process that knows nothing of the first time, as after a lost answer to COMMIT.
    other = Loader(server.config(WRITE_MODE="append", SPOOL_DIR=str(tmp_path / "other")))
    assert (other.load([one]).resources, other.load([one]).requests) == (0, 0)
    other.close()
    assert (keys(session), keys(session, "REJECTED_ROWS")) == (["a"], ["bad"])
    assert session.run('SELECT "OUTCOME" FROM "REQUESTS"') == [("failed",)]


def test_the_mode_may_change_between_loads(
    server: SnowflakeServer, loader: Loader, session: Session, tmp_path: Path
) -> None:
    same = batch([resource("a")], [request("m-1")])
    loader.load([same])
    merging = Loader(server.config(SPOOL_DIR=str(tmp_path / "other")))
    assert merging.load([same, batch([resource("b")])]).resources == 1
    merging.close()
    assert loader.load([same]).resources == 0
    assert keys(session) == ["a", "b"]


@pytest.mark.parametrize(
    ("says", "repeats"),
    [
        ("COPY INTO", True),
        ("INSERT INTO .{1,2}RESOURCES", False),
        ("COMMIT", True),
        ("COMMIT", False),
    ],
)
def test_a_lost_answer_neither_doubles_nor_loses_a_row(
    server: SnowflakeServer,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    repeats: bool,
) -> None:
    """The connector repeats the request, or gives up and the load begins anew."""
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 1)
    monkeypatch.setattr(TimeoutBackoffCtx, "current_sleep_time", 0)
    if not repeats:
        monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 0)
    name = f"lost-{abs(hash((says, repeats)))}"
    one = batch([resource(f"{name}-{n}") for n in range(3)], [request(name)])
    with FaultProxy(HOST, server.port) as proxy:
        config = server.config(
            WRITE_MODE="append", SNOWFLAKE_PORT=str(proxy.port), SPOOL_DIR=str(tmp_path)
        )
        loader = Loader(config)
        loader.open()
        proxy.fault("answer_lost", first=1, says=says)
        lost = 0
        try:
            loader.load([one])
        except Unreachable:
            lost = 1
            loader.load([one])
        loader.close()
        assert proxy.counts == {"answer_lost": 1}
    assert repeats or lost == 1
    like = f"WHERE \"ROW_KEY\" LIKE '{name}-%'"
    sql = f'SELECT COUNT(*), COUNT(DISTINCT "ROW_KEY") FROM "RESOURCES" {like}'
    assert session.run(sql) == [(3, 3)]
    sql = f'SELECT COUNT(*) FROM "REQUESTS" WHERE "MESSAGE_ID" = \'{name}\''
    assert session.value(sql) == 1

"""The sandbox's Snowflake, as the real connector sees it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import snowflake.connector
from snowflake.connector import DictCursor
from snowflake.connector.errors import DatabaseError, Error, HttpError, ProgrammingError
from snowflake.connector.pandas_tools import write_pandas

from pipeline.sandbox import snowflake as sandbox
from tests.integration.snowflake_fixture import PASSWORD, SnowflakeServer, running, server
from tests.processes import until

__all__ = ["server"]

MERGE = """
MERGE INTO "T" AS t
USING (SELECT "K", PARSE_JSON("BODY") AS "BODY", "AT" FROM "STAGED"
       QUALIFY ROW_NUMBER() OVER (PARTITION BY "K" ORDER BY "AT") = 1) AS s
ON t."K" = s."K"
WHEN MATCHED AND t."AT" < s."AT" THEN UPDATE SET "AT" = s."AT"
WHEN NOT MATCHED THEN INSERT ("K", "BODY", "AT") VALUES (s."K", s."BODY", s."AT")"""
# Runs for long, whatever the machine.
SLOW = "SELECT COUNT(*) FROM RANGE(1000000) a, RANGE(1000000) b WHERE a.range + b.range = 3"
AT = datetime(2026, 1, 2, 3, 4, 5, 123457, tzinfo=UTC)


def connect(server: SnowflakeServer, **changes: Any) -> Any:
    arguments = {
        "user": sandbox.USER,
        "password": PASSWORD,
        "account": sandbox.ACCOUNT,
        "host": "127.0.0.1",
        "port": server.port,
        "protocol": "http",
        "database": sandbox.DATABASE,
        "schema": sandbox.SCHEMA,
        "login_timeout": 5,
        "network_timeout": 5,
        "platform_detection_timeout_seconds": 0.0,
    }
    return snowflake.connector.connect(**(arguments | changes))


def run(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return list(cursor.execute(sql).fetchall())


@pytest.fixture
def connection(server: SnowflakeServer) -> Iterator[Any]:
    with connect(server) as opened:
        run(opened, 'CREATE OR REPLACE TABLE "T" ("K" VARCHAR, "BODY" VARIANT, "AT" TIMESTAMP_TZ)')
        run(
            opened,
            'CREATE TEMPORARY TABLE "STAGED" ("K" VARCHAR, "BODY" VARCHAR, "AT" TIMESTAMP_TZ)',
        )
        yield opened


def stage(connection: Any, keys: list[str], body: str | None = '{"a": {"b": [1]}}') -> Any:
    table = pa.table(
        {
            "K": keys,
            "BODY": pa.array([body] * len(keys), pa.string()),
            "AT": pa.array([AT] * len(keys), pa.timestamp("us", "UTC")),
        }
    )
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return write_pandas(connection, frame, "STAGED", use_logical_type=True)


def test_write_pandas_loads_every_row(connection: Any) -> None:
    ok, chunks, rows, _ = stage(connection, [f"k{i}" for i in range(3000)])
    assert (ok, chunks, rows) == (True, 1, 3000)
    assert run(connection, 'SELECT COUNT(*), MIN("AT") FROM "STAGED"') == [(3000, AT)]


def test_merge_counts_inserts_and_updates_as_snowflake_does(connection: Any) -> None:
    stage(connection, ["a", "b", "b"])
    with connection.cursor() as cursor:
        cursor.execute(MERGE)
        assert [column.name for column in cursor.description] == [
            "number of rows inserted",
            "number of rows updated",
        ]
        assert cursor.fetchall() == [(2, 0)]
        assert cursor.rowcount == 2


def test_commit_keeps_and_rollback_undoes_a_merge(connection: Any) -> None:
    stage(connection, ["a", "b"])
    for end, rows in (("ROLLBACK", 0), ("COMMIT", 2), ("ROLLBACK", 2)):
        run(connection, "BEGIN TRANSACTION")
        run(connection, MERGE)
        assert run(connection, 'SELECT COUNT(*) FROM "T"') == [(2,)]
        run(connection, end)
        assert run(connection, 'SELECT COUNT(*) FROM "T"') == [(rows,)]


def test_ddl_commits_an_open_transaction_as_in_snowflake(connection: Any) -> None:
    stage(connection, ["a"])
    run(connection, "BEGIN TRANSACTION")
    run(connection, MERGE)
    run(connection, 'CREATE TEMPORARY TABLE "OTHER" ("A" INTEGER)')
    run(connection, "ROLLBACK")
    assert run(connection, 'SELECT COUNT(*) FROM "T"') == [(1,)]


def test_a_variant_is_queried_by_path(connection: Any) -> None:
    stage(connection, ["a"])
    run(connection, MERGE)
    assert run(connection, 'SELECT BODY:a.b[0], BODY:a.x FROM "T"') == [("1", None)]


@pytest.mark.parametrize(
    ("sql", "errno", "sqlstate"),
    [
        ("SELECT * FROM NOWHERE", 2003, "42S02"),
        ("SELEC 1", 1003, "42000"),
        ("SELECT PARSE_JSON('{no')", 100069, "22P02"),
        ("SELECT 'abc", 603, "XX000"),
        ("USE WAREHOUSE NOWHERE", 2043, "02000"),
        ("USE SCHEMA NOWHERE", 2043, "02000"),
        ('INSERT INTO "N" VALUES (NULL)', 100072, "22000"),
    ],
)
def test_a_failed_statement_is_an_sql_error_at_once(
    connection: Any, sql: str, errno: int, sqlstate: str
) -> None:
    run(connection, 'CREATE TABLE IF NOT EXISTS "N" ("A" INTEGER NOT NULL)')
    start_s = time.monotonic()
    with pytest.raises(Error) as caught:
        run(connection, sql)
    assert (caught.value.errno, caught.value.sqlstate) == (errno, sqlstate)
    assert time.monotonic() - start_s < 1.0  # the connector would repeat an HTTP 500


@pytest.mark.parametrize(
    ("changes", "kind", "errno"),
    [
        ({"account": "OTHER"}, HttpError, 290404),
        ({"user": "OTHER"}, DatabaseError, 390100),
        ({"password": "wrong"}, DatabaseError, 390100),
        ({"role": "OTHER"}, DatabaseError, 390189),
    ],
)
def test_a_wrong_login_is_refused(
    server: SnowflakeServer, changes: dict[str, str], kind: type[Error], errno: int
) -> None:
    with pytest.raises(kind) as caught:
        connect(server, **changes)
    assert caught.value.errno == errno


@pytest.mark.parametrize(
    ("changes", "errno"),
    [
        ({"database": "NOWHERE"}, 90105),
        ({"schema": "NOWHERE"}, 90106),
        ({"warehouse": "NOWHERE"}, 606),
    ],
)
def test_an_unknown_name_shows_at_the_first_statement(
    server: SnowflakeServer, connection: Any, changes: dict[str, str], errno: int
) -> None:
    with connect(server, **changes) as other, pytest.raises(ProgrammingError) as caught:
        run(other, 'SELECT * FROM "T"')
    assert caught.value.errno == errno


def test_the_reader_role_may_read_and_not_write(server: SnowflakeServer, connection: Any) -> None:
    with connect(server, role=sandbox.READER_ROLE) as reader:
        assert run(reader, 'SELECT COUNT(*) FROM "T"') == [(0,)]
        for sql in ("DELETE FROM T", 'CREATE TABLE "X" ("A" INTEGER)'):
            with pytest.raises(ProgrammingError) as caught:
                run(reader, sql)
            assert (caught.value.errno, caught.value.sqlstate) == (3001, "42501")


def test_a_session_says_what_it_is(server: SnowflakeServer) -> None:
    sql = "SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE(), CURRENT_DATABASE(), CURRENT_SCHEMA()"
    with connect(server, warehouse="NOWHERE") as other:
        assert run(other, sql) == [(sandbox.ROLE, None, sandbox.DATABASE, sandbox.SCHEMA)]


def test_temporary_tables_are_one_sessions_own(server: SnowflakeServer, connection: Any) -> None:
    with connect(server) as other, pytest.raises(ProgrammingError):
        run(other, 'SELECT * FROM "STAGED"')


def test_a_merge_waits_for_another_transaction_and_sees_its_rows(
    server: SnowflakeServer, connection: Any
) -> None:
    stage(connection, ["a", "b"])
    answers: list[Any] = []

    def merge_the_same() -> None:
        with connect(server) as other:
            run(other, 'CREATE TEMPORARY TABLE "STAGED" ("K" VARCHAR, "BODY" VARCHAR, "AT" DATE)')
            run(other, "INSERT INTO \"STAGED\" VALUES ('a', NULL, '2020-01-01')")
            staged.set()
            assert begun.wait(10)
            run(other, "BEGIN TRANSACTION")
            answers.extend(run(other, MERGE))
            run(other, "COMMIT")

    staged, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=merge_the_same)
    thread.start()
    assert staged.wait(10)
    run(connection, "BEGIN TRANSACTION")
    run(connection, MERGE)
    begun.set()
    thread.join(0.5)
    assert thread.is_alive()  # it waits
    run(connection, "COMMIT")
    thread.join(10)
    assert answers == [(0, 0)]
    assert run(connection, 'SELECT COUNT(*) FROM "T"') == [(2,)]


def test_closing_a_session_rolls_back_and_lets_others_write(
    server: SnowflakeServer, connection: Any
) -> None:
    stage(connection, ["a"])
    other = connect(server)
    run(other, "BEGIN TRANSACTION")
    run(other, "INSERT INTO \"T\" VALUES ('z', NULL, '2020-01-01')")
    other.close()
    run(connection, MERGE)
    assert run(connection, 'SELECT "K" FROM "T"') == [("a",)]


def transactions(connection: Any) -> list[dict[str, Any]]:
    with connection.cursor(DictCursor) as cursor:
        return list(cursor.execute("SHOW TRANSACTIONS").fetchall())


def test_running_transactions_are_shown_as_snowflake_shows_them(
    server: SnowflakeServer, connection: Any
) -> None:
    assert transactions(connection) == []
    began = datetime.now(UTC)
    with connect(server) as other:
        run(other, "BEGIN TRANSACTION")
        (shown,) = transactions(connection)
        assert list(shown) == ["id", "user", "session", "name", "started_on", "state", "scope"]
        assert (shown["user"], shown["state"], shown["scope"]) == (sandbox.USER, "running", 0)
        assert shown["session"] == other.session_id
        assert run(other, "SELECT CURRENT_SESSION()") == [(str(other.session_id),)]
        assert timedelta(0) <= shown["started_on"] - began < timedelta(seconds=30)
        run(other, "COMMIT")
        run(other, "BEGIN TRANSACTION")
        assert transactions(connection)[0]["id"] > shown["id"]
    assert transactions(connection) == []


def abort(connection: Any, transaction: int) -> str:
    ((answer,),) = run(connection, f"SELECT SYSTEM$ABORT_TRANSACTION({transaction})")
    return str(answer)


def test_an_aborted_transaction_is_rolled_back_and_its_session_is_told(
    server: SnowflakeServer, connection: Any
) -> None:
    with connect(server) as other:
        run(other, "BEGIN TRANSACTION")
        run(other, "INSERT INTO \"T\" VALUES ('z', NULL, '2020-01-01')")
        own = transactions(connection)[0]["id"]
        assert abort(connection, own) == f"Aborted transaction id: {own}"
        assert transactions(connection) == []
        run(connection, "INSERT INTO \"T\" VALUES ('a', NULL, '2020-01-01')")
        with pytest.raises(ProgrammingError) as caught:
            run(other, "SELECT 1")
        assert caught.value.errno == 628
        assert run(other, 'SELECT "K" FROM "T"') == [("a",)]
        assert "not running" in abort(connection, own)
        assert "not running" in abort(connection, 1)


@pytest.mark.parametrize("sql", ["INSERT INTO \"T\" VALUES ('z', NULL, '2020-01-01')", SLOW])
def test_a_transaction_is_aborted_while_a_statement_of_it_waits_or_runs(
    server: SnowflakeServer, connection: Any, sql: str
) -> None:
    failed: list[int | None] = []

    def work(other: Any) -> None:
        try:
            run(other, sql)
        except Error as error:
            failed.append(error.errno)

    with connect(server) as other, connect(server) as third:
        run(connection, "BEGIN TRANSACTION")
        run(connection, "INSERT INTO \"T\" VALUES ('a', NULL, '2020-01-01')")
        run(other, "BEGIN TRANSACTION")
        thread = threading.Thread(target=work, args=(other,))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        (own,) = (t["id"] for t in transactions(third) if t["session"] == other.session_id)
        abort(third, own)
        thread.join(5)
        assert not thread.is_alive()
        assert failed in ([628], [604])
        run(connection, "COMMIT")
        assert run(connection, 'SELECT "K" FROM "T"') == [("a",)]


def test_temporary_tables_and_stages_wait_for_no_transaction(
    server: SnowflakeServer, connection: Any
) -> None:
    with connect(server) as other:
        run(other, "BEGIN TRANSACTION")
        run(other, "INSERT INTO \"T\" VALUES ('z', NULL, '2020-01-01')")
        began_s = time.monotonic()
        columns = '("K" VARCHAR, "BODY" VARCHAR, "AT" TIMESTAMP_TZ)'
        run(connection, f'CREATE OR REPLACE TEMPORARY TABLE "STAGED" {columns}')
        stage(connection, ["a", "b"])  # a stage, PUT, COPY
        run(connection, "INSERT INTO \"STAGED\" VALUES ('c', NULL, NULL)")
        run(connection, 'DELETE FROM "STAGED" WHERE "K" = \'a\'')
        assert run(connection, 'SELECT COUNT(*) FROM "STAGED"') == [(2,)]
        run(connection, 'DROP TABLE "STAGED"')
        assert time.monotonic() - began_s < 5.0
        run(other, "COMMIT")
    assert run(connection, 'SELECT "K" FROM "T"') == [("z",)]


def test_sessions_that_stage_at_the_same_time_do_not_disturb_one_another(
    server: SnowflakeServer,
) -> None:
    done: list[int] = []

    def work() -> None:
        with connect(server) as own:
            for _ in range(5):
                columns = '("K" VARCHAR, "BODY" VARCHAR, "AT" TIMESTAMP_TZ)'
                run(own, f'CREATE OR REPLACE TEMPORARY TABLE "STAGED" {columns}')
                stage(own, ["a", "b"])
                done.extend(run(own, 'SELECT COUNT(*) FROM "STAGED"')[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [2] * 20


def test_committed_rows_survive_sigkill_and_others_do_not(tmp_path: Path) -> None:
    with running(tmp_path) as first, connect(first) as opened:
        run(opened, 'CREATE TABLE "T" ("K" VARCHAR, "BODY" VARIANT)')
        run(opened, "INSERT INTO \"T\" SELECT 'kept', PARSE_JSON('{\"a\": 1}')")
        run(opened, "BEGIN TRANSACTION")
        run(opened, "INSERT INTO \"T\" VALUES ('lost', NULL)")
        first.kill()
        opened.telemetry_enabled = False
    with running(tmp_path) as second, connect(second) as opened:
        assert run(opened, 'SELECT "K", BODY:a FROM "T"') == [("kept", "1")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_the_file_opens_with_duckdb(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as started:
        with connect(started) as opened:
            run(opened, 'CREATE TABLE "T" ("K" VARCHAR, "BODY" VARIANT)')
            run(opened, 'INSERT INTO "T" SELECT \'a\', PARSE_JSON(\'{"a": {"b": "c"}}\')')
        started.process.send_signal(number)
        assert started.process.wait(10) == 0
        assert started.process.stdout is not None
        assert started.process.stdout.read() == ""
    assert [path.name for path in tmp_path.iterdir()] == [f"{sandbox.DATABASE}.db"]
    with duckdb.connect(str(started.file), read_only=True) as file:
        sql = f'SELECT "K", "BODY"->>\'$.a.b\' FROM "{sandbox.SCHEMA}"."T"'
        assert file.execute(sql).fetchall() == [("a", "c")]


def test_it_is_ready_within_seconds(tmp_path: Path) -> None:
    start_s = time.monotonic()
    with running(tmp_path) as started:
        until(lambda: started.process.poll() is None)
        assert time.monotonic() - start_s < 25.0

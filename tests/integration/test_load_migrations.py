"""The tables through the versions of the program, with the real connector."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from pipeline.errors import DependencyError, Unauthorised
from pipeline.sandbox.snowflake import READER_ROLE
from stages.load import commands, migrations, schema
from stages.load.checks import run_checks
from stages.load.loader import Loader
from stages.load.session import Session, connect
from tests.integration.snowflake_fixture import SnowflakeServer, batch, request, resource, server

__all__ = ["server"]

KNOWN = [(one.version, one.name) for one in migrations.migrations()]


@pytest.fixture
def admin(server: SnowflakeServer, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session in a schema of the test's own, which is empty."""
    name = f"S{abs(hash(request.node.name)) % 10**8}"
    with connect(server.config()) as session:
        session.run(f"CREATE OR REPLACE SCHEMA {name}")
        session.run(f"USE SCHEMA {name}")
        yield session
        session.run(f"DROP SCHEMA {name}")


def schema_of(session: Session) -> str:
    return str(session.value("SELECT CURRENT_SCHEMA()"))


def recorded(session: Session) -> list[tuple[Any, ...]]:
    return session.run(f'SELECT VERSION, NAME FROM "{migrations.RECORD}" ORDER BY VERSION')


def as_it_was_at_first(session: Session) -> None:
    """The tables of the first version, which recorded nothing, with a row in each."""
    for statement in migrations.statements(migrations.migrations()[0].sql):
        if migrations.RECORD not in statement:
            session.run(statement)
    session.run(
        "INSERT INTO RESOURCES (ROW_KEY, MESSAGE_ID, REQUEST_INDEX, SERVICE, API_VERSION, BATCH_ID,"
        " RESOURCE_ID, ENQUEUED_AT, COLLECTED_AT) VALUES ('old', 'm-0', 0, 'compute', '2024-07-01',"
        " 'b-0', '/old', '2026-01-01'::TIMESTAMP_TZ, '2026-01-01'::TIMESTAMP_TZ)"
    )


def load_one(server: SnowflakeServer, session: Session, tmp_path: Path) -> None:
    config = server.config(SNOWFLAKE_SCHEMA=schema_of(session), SPOOL_DIR=str(tmp_path))
    loader = Loader(config)
    try:
        row = resource("new", SOURCE="resource-graph", CACHED=True)
        loader.load([batch([row], [request("m-1", SOURCE="resource-graph", CACHED=True)])])
    finally:
        loader.close()


def test_a_new_schema_gets_every_version_and_is_left_alone_after_that(admin: Session) -> None:
    schema.ensure(admin)
    assert recorded(admin) == KNOWN
    assert schema.missing(admin) == []
    assert migrations.outstanding(migrations.applied(admin)) == []
    at = admin.run(f'SELECT APPLIED_AT FROM "{migrations.RECORD}"')
    schema.ensure(admin)
    assert admin.run(f'SELECT APPLIED_AT FROM "{migrations.RECORD}"') == at


def test_tables_from_before_are_brought_up_to_date_and_keep_their_rows(
    admin: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    as_it_was_at_first(admin)
    load_one(server, admin, tmp_path)
    assert recorded(admin) == KNOWN
    rows = admin.run('SELECT ROW_KEY, SOURCE, CACHED FROM "RESOURCES_LATEST" ORDER BY ROW_KEY')
    assert rows == [("new", "resource-graph", True), ("old", None, None)]
    assert admin.run("SELECT SOURCE, CACHED FROM REQUESTS") == [("resource-graph", True)]


def test_two_that_start_together_do_each_others_work_without_harm(
    admin: Session, server: SnowflakeServer
) -> None:
    as_it_was_at_first(admin)
    config = server.config(SNOWFLAKE_SCHEMA=schema_of(admin))
    together = Barrier(3)

    def start() -> None:
        with connect(config) as session:
            wanted = migrations.outstanding(migrations.applied(session))
            together.wait(30.0)
            migrations.apply(session, wanted)
            schema.check(session)

    with ThreadPoolExecutor(3) as pool:
        for started in [pool.submit(start) for _ in range(3)]:
            started.result()
    assert recorded(admin) == KNOWN
    assert admin.run("SELECT ROW_KEY, SOURCE FROM RESOURCES") == [("old", None)]


def test_one_that_died_half_way_is_finished_by_the_next(admin: Session) -> None:
    as_it_was_at_first(admin)
    first, second = migrations.migrations()[:2]
    migrations.apply(admin, [first])
    for statement in migrations.statements(second.sql)[:2]:
        admin.run(statement)
    wanted = migrations.outstanding(migrations.applied(admin))
    assert [one.version for one in wanted] == list(range(2, len(KNOWN) + 1))
    schema.ensure(admin)
    assert recorded(admin) == KNOWN


def test_what_a_newer_program_has_done_is_left_alone(
    admin: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    schema.ensure(admin)
    admin.run('ALTER TABLE "RESOURCES" ADD COLUMN "LATER" VARCHAR')
    admin.run(
        f'INSERT INTO "{migrations.RECORD}" VALUES '
        "(9000, 'later', CURRENT_TIMESTAMP()::TIMESTAMP_TZ, '99.0')"
    )
    load_one(server, admin, tmp_path)
    assert admin.run("SELECT ROW_KEY, LATER FROM RESOURCES") == [("new", None)]


def test_an_older_init_does_not_undo_what_a_newer_program_has_made(
    admin: Session, server: SnowflakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    schema.ensure(admin)
    admin.run('CREATE OR REPLACE VIEW "RESOURCES_LATEST" AS SELECT 1 AS "LATER"')
    admin.run(
        f'INSERT INTO "{migrations.RECORD}" VALUES '
        "(9000, 'later', CURRENT_TIMESTAMP()::TIMESTAMP_TZ, '99.0')"
    )
    assert commands.init_snowflake(server.config(SNOWFLAKE_SCHEMA=schema_of(admin))) == 0
    assert "newer version (9000)" in capsys.readouterr().out
    assert admin.run('SELECT * FROM "RESOURCES_LATEST"') == [(1,)]


def test_a_column_that_is_gone_is_named_before_the_view_that_misses_it(admin: Session) -> None:
    as_it_was_at_first(admin)
    admin.run('DROP VIEW "RESOURCES_LATEST"')
    admin.run('ALTER TABLE "RESOURCES" DROP COLUMN "NAME"')
    with pytest.raises(DependencyError, match="RESOURCES has no column NAME"):
        schema.ensure(admin)


def test_a_table_that_was_dropped_is_made_again(admin: Session) -> None:
    schema.ensure(admin)
    admin.run('DROP TABLE "REQUESTS"')
    schema.ensure(admin)
    assert schema.missing(admin) == []


@pytest.mark.parametrize(
    ("altered", "problem", "mend"),
    [
        (
            'ALTER TABLE "RESOURCES" DROP COLUMN "CACHED"',
            "RESOURCES has no column CACHED",
            'ALTER TABLE "RESOURCES" ADD COLUMN "CACHED" BOOLEAN;',
        ),
        (
            'ALTER TABLE "REQUESTS" RENAME COLUMN "ERROR_CODE" TO "CODE"',
            "REQUESTS has no column ERROR_CODE",
            'ALTER TABLE "REQUESTS" ADD COLUMN "ERROR_CODE" VARCHAR;',
        ),
        (
            'ALTER TABLE "RESOURCES" ALTER COLUMN "LOCATION" SET DATA TYPE BOOLEAN',
            "RESOURCES.LOCATION is BOOLEAN; takes VARCHAR",
            'ALTER TABLE "RESOURCES" RENAME COLUMN "LOCATION" TO "LOCATION_BEFORE"; '
            'ALTER TABLE "RESOURCES" ADD COLUMN "LOCATION" VARCHAR;',
        ),
        (
            'ALTER TABLE "RESOURCES" ALTER COLUMN "NAME" SET NOT NULL',
            "RESOURCES.NAME is NOT NULL, and has nulls to take",
            'ALTER TABLE "RESOURCES" ALTER COLUMN "NAME" DROP NOT NULL;',
        ),
        (
            'ALTER TABLE "REQUESTS" ALTER COLUMN "METHOD" SET DATA TYPE BOOLEAN',
            "REQUESTS.METHOD is BOOLEAN; takes VARCHAR",
            'ALTER TABLE "REQUESTS" RENAME COLUMN "METHOD" TO "METHOD_BEFORE"; '
            'ALTER TABLE "REQUESTS" ALTER COLUMN "METHOD_BEFORE" DROP NOT NULL; '
            'ALTER TABLE "REQUESTS" ADD COLUMN "METHOD" VARCHAR;',
        ),
        (
            'CREATE OR REPLACE TABLE "REQUESTS" AS SELECT *, 1 AS "MINE" FROM "REQUESTS"',
            "REQUESTS.MINE is none of the collector's, and NOT NULL without a default",
            'ALTER TABLE "REQUESTS" ALTER COLUMN "MINE" DROP NOT NULL;',
        ),
    ],
    ids=["dropped", "renamed", "retyped", "not null", "retyped not null", "added"],
)
def test_what_was_altered_by_hand_and_does_not_fit_is_named_with_what_mends_it(
    admin: Session, altered: str, problem: str, mend: str
) -> None:
    schema.ensure(admin)
    admin.run('DROP VIEW "RESOURCES_LATEST"')
    admin.run(altered)
    if "MINE" in altered:
        admin.run('ALTER TABLE "REQUESTS" ALTER COLUMN "MINE" SET NOT NULL')
    with pytest.raises(DependencyError) as caught:
        schema.ensure(admin)
    assert problem in caught.value.problem
    assert caught.value.hint == mend
    for statement in mend.rstrip(";").split("; "):
        admin.run(statement)
    schema.ensure(admin)


def test_a_column_of_ones_own_is_no_harm(
    admin: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    schema.ensure(admin)
    admin.run('ALTER TABLE "RESOURCES" ADD COLUMN "TEAM" VARCHAR')
    load_one(server, admin, tmp_path)
    assert admin.run("SELECT ROW_KEY, TEAM FROM RESOURCES") == [("new", None)]


def test_a_role_that_may_not_alter_is_told_who_has_to_do_what(
    admin: Session, server: SnowflakeServer
) -> None:
    as_it_was_at_first(admin)
    limited = server.config(SNOWFLAKE_SCHEMA=schema_of(admin), SNOWFLAKE_ROLE=READER_ROLE)
    assert not all(check.ok for check in run_checks(limited))
    with connect(limited) as session, pytest.raises(Unauthorised) as caught:
        schema.ensure(session)
    assert "migration 1 (tables)" in caught.value.problem
    assert "init-snowflake --print" in caught.value.hint


def test_a_role_that_only_loads_need_not_see_what_is_recorded(
    admin: Session, server: SnowflakeServer
) -> None:
    schema.ensure(admin)
    admin.run(f'DROP TABLE "{migrations.RECORD}"')
    limited = server.config(SNOWFLAKE_SCHEMA=schema_of(admin), SNOWFLAKE_ROLE=READER_ROLE)
    with connect(limited) as session:
        schema.ensure(session)

"""Which statements concern nothing but a session's own temporary objects."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse_one

from pipeline.sandbox.snowflake.temporary import TemporaryTables


def parsed(sql: str) -> exp.Expression:
    statement = parse_one(sql, dialect="snowflake")
    assert isinstance(statement, exp.Expression)
    return statement


@pytest.fixture
def session() -> TemporaryTables:
    """Of a session with one temporary table."""
    tables = TemporaryTables()
    tables.note(parsed('CREATE TEMPORARY TABLE "OWN" ("A" INTEGER)'))
    tables.note(parsed('CREATE TABLE "SHARED" ("A" INTEGER)'))
    return tables


@pytest.mark.parametrize(
    "sql",
    [
        'CREATE OR REPLACE TEMPORARY TABLE "OTHER" ("A" INTEGER)',
        'INSERT INTO "OWN" SELECT * FROM "SHARED"',
        'INSERT INTO "OWN" ("A") VALUES (1)',
        'DELETE FROM "OWN"',
        'UPDATE "OWN" SET "A" = 1',
        'MERGE INTO "OWN" AS t USING "SHARED" AS s ON t."A" = s."A" WHEN MATCHED THEN DELETE',
        'COPY INTO "OWN" FROM \'@"STAGE"\'',
        'TRUNCATE TABLE "OWN"',
        'DROP TABLE "OWN"',
    ],
)
def test_of_its_own(session: TemporaryTables, sql: str) -> None:
    assert session.concerned(parsed(sql))


@pytest.mark.parametrize(
    "sql",
    [
        'CREATE OR REPLACE TABLE "OWN" ("A" INTEGER)',
        'INSERT INTO "SHARED" SELECT * FROM "OWN"',
        'MERGE INTO "SHARED" AS t USING "OWN" AS s ON t."A" = s."A" WHEN MATCHED THEN DELETE',
        'DELETE FROM "COLLECTOR"."OWN"',
        'DROP TABLE "SHARED"',
        'DROP VIEW "SHARED"',
    ],
)
def test_of_others_too(session: TemporaryTables, sql: str) -> None:
    assert not session.concerned(parsed(sql))


def test_what_was_dropped_is_its_own_no_more(session: TemporaryTables) -> None:
    session.note(parsed('DROP TABLE "OWN"'))
    assert not session.concerned(parsed('INSERT INTO "OWN" VALUES (1)'))

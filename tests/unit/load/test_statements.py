"""The SQL of a load and of the tables, as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from pipeline import tables
from stages.load import grants, merge, migrations, schema, staging

OLDEST = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


SQL = [sql for one in migrations.migrations() for sql in migrations.statements(one.sql)]


def columns_of(table: str) -> dict[str, str]:
    """Columns of a table after all migrations, with what is said of each."""
    (create,) = [sql for sql in SQL if sql.startswith(f'CREATE TABLE IF NOT EXISTS "{table}"')]
    found = dict(re.findall(r'^    "([A-Z_]+)" (.*)$', create, re.MULTILINE))
    add = re.compile(rf'ALTER TABLE "{table}" ADD COLUMN IF NOT EXISTS\s+"([A-Z_]+)" (.*)')
    return found | dict(found.groups() for sql in SQL if (found := add.fullmatch(sql)))


def test_migrations_are_numbered_from_one() -> None:
    known = migrations.migrations()
    assert [one.version for one in known] == list(range(1, len(known) + 1))
    assert not any(sql.endswith(";") or "--" in sql for sql in SQL)


def test_every_statement_may_be_run_again() -> None:
    again = re.compile(
        r"CREATE (TABLE|VIEW) IF NOT EXISTS |CREATE OR REPLACE VIEW "
        r'|ALTER TABLE "\w+" (ADD COLUMN IF NOT EXISTS|CLUSTER BY)\s'
    )
    assert [sql for sql in SQL if not again.match(sql)] == []


def test_there_is_a_statement_for_each_object_and_every_view_keeps_its_grants() -> None:
    made = r'CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?"(\w+)"'
    names = [re.match(made, sql) for sql in SQL]
    assert {name[1] for name in names if name} == {migrations.RECORD, *schema.OBJECTS}
    assert all("COPY GRANTS" in sql for sql in SQL if "OR REPLACE VIEW" in sql)


def test_the_script_is_what_is_run_and_records_each_migration() -> None:
    found = migrations.statements(migrations.script())
    assert [sql for sql in found if not sql.startswith("MERGE")] == SQL
    assert len(found) == len(SQL) + len(migrations.migrations())


@pytest.mark.parametrize("table", schema.TABLES)
def test_the_tables_have_the_columns_that_are_collected(table: str) -> None:
    assert list(columns_of(table)) == schema.COLUMNS[table].names
    for field in schema.COLUMNS[table]:
        assert ("NOT NULL" in columns_of(table)[field.name]) is not field.nullable


@pytest.mark.parametrize("table", schema.TABLES)
def test_every_column_has_a_comment(table: str) -> None:
    assert [name for name, rest in columns_of(table).items() if "COMMENT '" not in rest] == []


def test_every_view_says_what_it_shows() -> None:
    views = [sql for sql in SQL if " VIEW " in sql.partition("\n")[0]]
    assert views
    assert [sql for sql in views if "\nCOMMENT = 'azure-collector: " not in sql] == []


@pytest.mark.parametrize("view", ["RESOURCES_UNIQUE", "RESOURCES_LATEST"])
def test_a_row_of_a_resource_has_all_its_columns(view: str) -> None:
    latest = [sql for sql in SQL if f'VIEW "{view}"' in sql][-1]
    body = latest.partition("SELECT")[2].partition("FROM")[0]
    assert re.findall(r'"(\w+)"', body) == schema.COLUMNS["RESOURCES"].names


def test_the_look_back_reaches_the_window_before_the_oldest_row() -> None:
    since = merge.look_back(OLDEST, 3600)
    assert since == datetime(2026, 11, 20, 11, 0, 0, 123456, tzinfo=UTC)
    bound = "'2026-11-20T11:00:00.123456+00:00'::TIMESTAMP_TZ"
    assert f't."ENQUEUED_AT" >= {bound}' in merge.merge_resources(since)
    assert f't."COMPLETED_AT" >= {bound}' in merge.merge_requests(since)


def test_a_window_of_zero_looks_at_the_whole_table() -> None:
    assert merge.look_back(OLDEST, 0) is None
    assert ">=" not in merge.merge_resources(None) + merge.merge_requests(None)


def test_rejected_rows_are_looked_for_within_the_window_too() -> None:
    assert 't."ENQUEUED_AT" >= ' in merge.merge_rejected(OLDEST)
    assert ">=" not in merge.merge_rejected(None)


def test_what_is_appended_is_inserted_where_its_batch_is_not_there_yet() -> None:
    sql = merge.append_resources(OLDEST, OLDEST)
    assert sql.strip().startswith('INSERT INTO "RESOURCES" (')
    assert "MERGE" not in sql
    condition = sql.partition("WHERE NOT EXISTS")[2]
    assert 't."BATCH_ID" = s."BATCH_ID"' in condition
    bound = "'2026-11-20T12:00:00.123456+00:00'::TIMESTAMP_TZ"
    for column in ("ENQUEUED_AT", "COLLECTED_AT"):
        assert f't."{column}" >= {bound}' in condition


@pytest.mark.parametrize("sql", [merge.merge_resources(None), merge.append_resources(None, None)])
def test_of_equal_keys_in_an_object_the_last_one_counts(sql: str) -> None:
    assert sql.count("PARSE_JSON(\"BODY\", 'd')") == 1
    assert "PARSE_JSON(\"BODY\", 'd')" in merge.REFUSED


@pytest.mark.parametrize(
    ("role", "written"),
    [("analysts", "analysts"), ("Team A", '"Team A"'), ('"quoted"', '"quoted"'), ('a"b', '"a""b"')],
)
def test_a_reader_is_granted_what_there_is_and_what_will_be(role: str, written: str) -> None:
    made = grants.reader_grants(role, "AZURE", "COLLECTOR")
    assert len(made) == 6
    assert all(sql.endswith(f" TO ROLE {written}") for sql in made)
    assert {"ALL TABLES", "FUTURE TABLES", "ALL VIEWS", "FUTURE VIEWS"} == {
        found[1] for sql in made if (found := re.search(r"SELECT ON (\w+ \w+) IN SCHEMA", sql))
    }


def test_the_ledger_does_not_get_the_column_it_does_not_have() -> None:
    assert "ENQUEUED_AT" not in merge.merge_requests(None)


def test_json_is_staged_as_text_and_times_with_their_zone() -> None:
    sql = staging.table_sql("T", tables.RESOURCES)
    assert sql.startswith('CREATE OR REPLACE TEMPORARY TABLE "T" (')
    assert '"BODY" VARCHAR' in sql
    assert '"ENQUEUED_AT" TIMESTAMP_TZ' in sql
    assert '"REQUEST_INDEX" INTEGER' in sql


@pytest.mark.parametrize(
    ("files", "stages"),
    [
        ([], set()),
        ([("snowpark_temp_stage_ab12/file0.txt", "LOADED")], {"SNOWPARK_TEMP_STAGE_AB12"}),
        ([("one/file0.txt",), ("one/file1.txt",)], {"ONE"}),
        ([("file0.txt", "LOADED")], set()),
        ([('x"; DROP TABLE T; --/file0.txt', "LOADED")], set()),
    ],
)
def test_the_stage_to_drop_is_read_from_the_copys_answer(
    files: list[tuple[str, ...]], stages: set[str]
) -> None:
    assert staging.stages_of(files) == stages

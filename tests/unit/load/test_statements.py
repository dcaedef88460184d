"""The SQL of a load and of the tables, as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from pipeline import tables
from stages.load import merge, schema, staging

OLDEST = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def columns_of(table: str) -> list[str]:
    (create,) = [
        s for s in schema.statements(schema.schema_sql()) if f'TABLE IF NOT EXISTS "{table}"' in s
    ]
    return re.findall(r'^    "([A-Z_]+)"', create, re.MULTILINE)


def test_the_schema_has_a_statement_for_each_object() -> None:
    found = schema.statements(schema.schema_sql())
    names = [re.match(r'CREATE (?:TABLE|VIEW) IF NOT EXISTS "(\w+)"', sql) for sql in found]
    assert tuple(name[1] for name in names if name) == schema.OBJECTS
    assert not any(sql.endswith(";") or "--" in sql for sql in found)


def test_the_tables_have_the_columns_that_are_collected() -> None:
    assert columns_of("RESOURCES") == tables.RESOURCES.names
    assert columns_of("REQUESTS") == [n for n in tables.REQUESTS.names if n != "ENQUEUED_AT"]


def test_a_column_is_not_null_where_it_is_never_null() -> None:
    for table, columns in (("RESOURCES", tables.RESOURCES), ("REQUESTS", tables.REQUESTS)):
        for field in columns:
            line = re.search(rf'^    "{field.name}" (.*)$', schema.schema_sql(), re.MULTILINE)
            if field.name in columns_of(table) and line:
                assert ("NOT NULL" in line[1]) is not field.nullable


def test_the_look_back_reaches_the_window_before_the_oldest_row() -> None:
    since = merge.look_back(OLDEST, 3600)
    assert since == datetime(2026, 11, 20, 11, 0, 0, 123456, tzinfo=UTC)
    bound = "'2026-11-20T11:00:00.123456+00:00'::TIMESTAMP_TZ"
    assert f't."ENQUEUED_AT" >= {bound}' in merge.merge_resources(since)
    assert f't."COMPLETED_AT" >= {bound}' in merge.merge_requests(since)


def test_a_window_of_zero_looks_at_the_whole_table() -> None:
    assert merge.look_back(OLDEST, 0) is None
    assert ">=" not in merge.merge_resources(None) + merge.merge_requests(None)


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

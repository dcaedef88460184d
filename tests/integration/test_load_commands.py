"""What ``init-snowflake`` and ``test-snowflake`` tell the person who runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.checks import Check
from stages.load import commands, migrations, schema
from stages.load.checks import run_checks
from stages.load.session import connect
from tests.contract import SNOWFLAKE_CHECKS
from tests.integration.snowflake_fixture import SnowflakeServer, running, server

__all__ = ["server"]


def failed(server: SnowflakeServer, **changes: str) -> list[Check]:
    return [check for check in run_checks(server.config(**changes)) if not check.ok]


@pytest.mark.soak
def test_every_check_passes_before_and_after_the_tables_are_made(tmp_path: Path) -> None:
    with running(tmp_path) as fresh:
        for _ in range(2):
            checks = list(run_checks(fresh.config()))
            assert [(check.name, check.ok) for check in checks] == [
                (name, True) for name in SNOWFLAKE_CHECKS
            ]
            assert commands.init_snowflake(fresh.config()) == 0
        with connect(fresh.config()) as session:
            assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 0
            names = {row[1] for row in session.run("SHOW TABLES")}
            assert names == {*schema.TABLES, migrations.RECORD}


@pytest.mark.parametrize(
    ("changes", "name", "detail", "hint"),
    [
        (
            {"SNOWFLAKE_HOST": "nowhere.invalid", "SNOWFLAKE_PROTOCOL": "https"},
            "network",
            "nowhere.invalid",
            "",
        ),
        ({"SNOWFLAKE_PORT": "1"}, "network", "refused", "SNOWFLAKE_PORT"),
        ({"SNOWFLAKE_ACCOUNT": "OTHER"}, "login", "404", "no such account"),
        ({"SNOWFLAKE_PASSWORD": "wrong-one"}, "login", "Incorrect", "SNOWFLAKE_USER"),
        ({"SNOWFLAKE_ROLE": "OTHER"}, "login", "OTHER", "GRANT ROLE"),
        (
            {"SNOWFLAKE_WAREHOUSE": "OTHER"},
            "warehouse",
            "no warehouse OTHER",
            "GRANT USAGE ON WAREHOUSE OTHER TO ROLE SANDBOX;",
        ),
        (
            {"SNOWFLAKE_DATABASE": "OTHER"},
            "database",
            "no database OTHER",
            "GRANT USAGE ON DATABASE OTHER TO ROLE SANDBOX;",
        ),
        (
            {"SNOWFLAKE_SCHEMA": "OTHER"},
            "schema",
            "no schema AZURE.OTHER",
            "CREATE SCHEMA AZURE.OTHER;",
        ),
    ],
)
def test_each_failure_is_told_apart_with_what_to_do(
    server: SnowflakeServer, changes: dict[str, str], name: str, detail: str, hint: str
) -> None:
    (check,) = failed(server, **changes)
    assert check.name == name
    assert detail in check.detail
    assert hint in check.hint


def test_a_wrong_warehouse_and_schema_are_told_at_once(server: SnowflakeServer) -> None:
    checks = failed(server, SNOWFLAKE_WAREHOUSE="OTHER", SNOWFLAKE_SCHEMA="OTHER")
    assert [check.name for check in checks] == ["warehouse", "schema"]


def test_a_role_that_may_not_create_is_told_the_grant(tmp_path: Path) -> None:
    with running(tmp_path) as fresh:
        checks = failed(fresh, SNOWFLAKE_ROLE="SANDBOX_READER")
    assert {check.name: check.hint for check in checks} == {
        f"create {kind.lower()}": (
            f"GRANT CREATE {kind} ON SCHEMA AZURE.COLLECTOR TO ROLE SANDBOX_READER;"
        )
        for kind in ("TABLE", "VIEW")
    }


def test_a_role_that_may_not_merge_is_told_the_grant(server: SnowflakeServer) -> None:
    assert commands.init_snowflake(server.config()) == 0
    checks = failed(server, SNOWFLAKE_ROLE="SANDBOX_READER")
    assert {check.name: check.hint for check in checks} == {
        f"grants {table}": (
            f"GRANT {kinds} ON TABLE AZURE.COLLECTOR.{table} TO ROLE SANDBOX_READER;"
        )
        for table, kinds in (
            ("RESOURCES", "INSERT"),
            ("REQUESTS", "INSERT, UPDATE"),
            ("REJECTED_ROWS", "INSERT"),
        )
    }


def test_test_snowflake_exits_3_and_prints_the_hint(
    server: SnowflakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.test_snowflake(server.config(SNOWFLAKE_PASSWORD="wrong-one")) == 3
    printed = capsys.readouterr().out
    assert "FAILED login" in printed
    assert "SNOWFLAKE_USER" in printed
    assert "wrong-one" not in printed


def test_test_snowflake_exits_0_when_all_pass(
    server: SnowflakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.test_snowflake(server.config()) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_init_prints_the_sql_and_connects_to_nothing(
    server: SnowflakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.init_snowflake(server.config(SNOWFLAKE_PORT="1"), print_only=True) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("USE SCHEMA AZURE.COLLECTOR;\n")
    for name in schema.OBJECTS:
        assert re.search(rf'CREATE .*(TABLE|VIEW) .*"{name}"', printed)
    assert "-- GRANT USAGE ON DATABASE AZURE TO ROLE <role>;" in printed
    assert "\nGRANT" not in printed


def test_init_prints_the_grants_of_a_reader(
    server: SnowflakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.init_snowflake(server.config(), print_only=True, reader_role="Team A") == 0
    printed = capsys.readouterr().out
    assert '\nGRANT SELECT ON FUTURE VIEWS IN SCHEMA AZURE.COLLECTOR TO ROLE "Team A";\n' in printed


def test_init_grants_a_reader_all_of_it(server: SnowflakeServer) -> None:
    # fakesnow has no grants: the sandbox takes the statements, and they have no effect there.
    assert commands.init_snowflake(server.config(), reader_role="SANDBOX_READER") == 0

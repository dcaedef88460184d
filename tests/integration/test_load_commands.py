"""What ``init-snowflake`` and ``test-snowflake`` tell the person who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checks import Check
from stages.load import commands
from stages.load.checks import run_checks
from stages.load.session import connect
from tests.contract import SNOWFLAKE_CHECKS
from tests.integration.snowflake_fixture import SnowflakeServer, running, server

__all__ = ["server"]


def failed(server: SnowflakeServer, **changes: str) -> list[Check]:
    return [check for check in run_checks(server.config(**changes)) if not check.ok]


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
            assert names == {"RESOURCES", "REQUESTS", "AZURE_COLLECTOR_MIGRATIONS"}


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
            "database and schema",
            "no database OTHER",
            "GRANT USAGE ON DATABASE OTHER TO ROLE SANDBOX;",
        ),
        (
            {"SNOWFLAKE_SCHEMA": "OTHER"},
            "database and schema",
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
    assert [check.name for check in checks] == ["warehouse", "database and schema"]


def test_a_role_that_may_not_create_is_told_the_grant(tmp_path: Path) -> None:
    with running(tmp_path) as fresh:
        (check,) = failed(fresh, SNOWFLAKE_ROLE="SANDBOX_READER")
    assert check.name == "tables"
    assert "ON SCHEMA AZURE.COLLECTOR TO ROLE SANDBOX_READER" in check.hint


def test_a_role_that_may_not_merge_is_told_the_grant(server: SnowflakeServer) -> None:
    assert commands.init_snowflake(server.config()) == 0
    (check,) = failed(server, SNOWFLAKE_ROLE="SANDBOX_READER")
    assert check.name == "grants to load"
    assert "GRANT SELECT, INSERT, UPDATE" in check.hint


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
    for name in ("RESOURCES", "REQUESTS", "RESOURCES_LATEST"):
        assert f'IF NOT EXISTS "{name}"' in printed

"""``test-snowflake`` names each grant that is missing, as the statement to run.

The sandbox knows two roles only. A proxy before it refuses one privilege after the other as
Snowflake does: 003001 where the role has some right on the object, 002003 where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.checks import Check
from stages.load import commands
from stages.load.checks import run_checks
from tests.acceptance.chaos.proxy import HOST
from tests.contract import SNOWFLAKE_CHECKS
from tests.integration.snowflake_fixture import SnowflakeServer, running, server
from tests.standins import snowflake_answers as answers
from tests.standins.snowflake_answers import Refusal, insufficient
from tests.standins.snowflake_proxy import SnowflakeProxy

__all__ = ["server"]

HERE = "AZURE.COLLECTOR"
TO = "TO ROLE SANDBOX;"
RECORD = "AZURE_COLLECTOR_MIGRATIONS"
SCHEMA = insufficient("schema 'COLLECTOR'")
TABLE = insufficient("table 'RESOURCES'")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnowflakeServer]:
    """A server whose schema stays empty."""
    with running(tmp_path_factory.mktemp("fresh")) as started:
        yield started


@pytest.fixture(scope="module")
def filled(server: SnowflakeServer) -> SnowflakeServer:
    """A server with the tables."""
    assert commands.init_snowflake(server.config()) == 0
    return server


def checks_with(
    server: SnowflakeServer, refused: dict[str, Refusal], **changes: str
) -> tuple[list[Check], SnowflakeProxy]:
    """Run all checks while statements are refused; those that say so."""
    with SnowflakeProxy(HOST, server.port) as proxy:
        for says, refusal in refused.items():
            proxy.refuse_statement(refusal, says, first=None)
        config = server.config(SNOWFLAKE_PORT=str(proxy.port), **changes)
        return list(run_checks(config)), proxy


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.hint for check in checks if not check.ok}


# What is refused, the check that says so, and the statement it names.
MISSING = {
    "temporary table": (
        {"^CREATE OR REPLACE TEMPORARY TABLE .AZURE_COLLECTOR_CHECK": SCHEMA},
        "temporary table",
        f"GRANT CREATE TABLE ON SCHEMA {HERE} {TO}",
    ),
    "stage": (
        {"^CREATE TEMPORARY STAGE": SCHEMA},
        "temporary stage",
        f"GRANT CREATE STAGE ON SCHEMA {HERE} {TO}",
    ),
    "read": (
        {"^EXPLAIN SELECT.*RESOURCES": TABLE},
        "grants RESOURCES",
        f"GRANT SELECT ON TABLE {HERE}.RESOURCES {TO}",
    ),
    "insert": (
        {"^EXPLAIN INSERT INTO .RESOURCES": TABLE},
        "grants RESOURCES",
        f"GRANT INSERT ON TABLE {HERE}.RESOURCES {TO}",
    ),
    "insert into the ledger": (
        {"^EXPLAIN INSERT INTO .REQUESTS": TABLE},
        "grants REQUESTS",
        f"GRANT INSERT ON TABLE {HERE}.REQUESTS {TO}",
    ),
    "update the ledger": (
        {"^EXPLAIN UPDATE .REQUESTS": TABLE},
        "grants REQUESTS",
        f"GRANT UPDATE ON TABLE {HERE}.REQUESTS {TO}",
    ),
    "both": (
        {"^EXPLAIN (INSERT INTO|UPDATE) .REQUESTS": TABLE},
        "grants REQUESTS",
        f"GRANT INSERT, UPDATE ON TABLE {HERE}.REQUESTS {TO}",
    ),
    "rejected rows": (
        {"^EXPLAIN INSERT INTO .REJECTED_ROWS": TABLE},
        "grants REJECTED_ROWS",
        f"GRANT INSERT ON TABLE {HERE}.REJECTED_ROWS {TO}",
    ),
    "record": (
        {f'FROM "{RECORD}"': insufficient(f"table '{RECORD}'")},
        "grants migrations",
        f"GRANT SELECT ON TABLE {HERE}.{RECORD} {TO}",
    ),
    "record, no right at all": (
        {f'(FROM|TABLE) "{RECORD}"': answers.TABLE_NOT_THERE},
        "grants migrations",
        f"GRANT SELECT ON TABLE {HERE}.{RECORD} {TO}",
    ),
}


@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_grant_is_named_and_nothing_else(missing: str, filled: SnowflakeServer) -> None:
    refused, name, grant = MISSING[missing]
    checks, proxy = checks_with(filled, refused)
    assert failed(checks) == {name: grant}
    assert sum(proxy.answered.values()) >= 1
    assert proxy.stages_left == set()


def test_no_right_on_a_table_at_all(filled: SnowflakeServer) -> None:
    """Snowflake says the same of a table that is not there."""
    refused = {'(FROM|INTO|TABLE|UPDATE) "RESOURCES"': answers.TABLE_NOT_THERE}
    checks, _ = checks_with(filled, refused)
    assert failed(checks) == {
        "tables": "azure-collector init-snowflake, if it was dropped",
        "grants RESOURCES": f"GRANT SELECT, INSERT ON TABLE {HERE}.RESOURCES {TO}",
    }


def test_all_that_is_missing_is_told_in_one_run(filled: SnowflakeServer) -> None:
    refused = {
        "^CREATE TEMPORARY STAGE": SCHEMA,
        "^EXPLAIN INSERT INTO .RE(SOURCES|QUESTS)": TABLE,
        "^EXPLAIN UPDATE": TABLE,
    }
    checks, _ = checks_with(filled, refused)
    assert list(failed(checks)) == ["temporary stage", "grants RESOURCES", "grants REQUESTS"]
    assert set(SNOWFLAKE_CHECKS) - {check.name for check in checks} == {
        "write_pandas",
        "merge",
        "load",
    }


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_what_it_takes_to_make_the_tables(kind: str, fresh: SnowflakeServer) -> None:
    checks, proxy = checks_with(fresh, {f"^CREATE (TRANSIENT )?{kind}": SCHEMA})
    grant = f"GRANT CREATE {kind} ON SCHEMA {HERE} {TO}"
    assert failed(checks) == {f"create {kind.lower()}": grant}
    assert proxy.answered == {"003001": 1}


def test_a_role_that_only_loads_need_not_make_tables(filled: SnowflakeServer) -> None:
    """Whatever it would be refused, it is not asked to: the tables are up to date."""
    refused = {"^CREATE (TRANSIENT )?(TABLE|VIEW)": SCHEMA}
    checks, proxy = checks_with(filled, refused)
    assert failed(checks) == {}
    assert proxy.answered == {}


def test_retention_needs_one_grant_more(filled: SnowflakeServer) -> None:
    refused = {"^EXPLAIN DELETE": TABLE}
    assert failed(checks_with(filled, refused)[0]) == {}
    checks, _ = checks_with(filled, refused, RETENTION_DAYS="30")
    assert failed(checks) == {
        f"grants {table}": f"GRANT DELETE ON TABLE {HERE}.{table} {TO}"
        for table in ("RESOURCES", "REQUESTS", "REJECTED_ROWS")
    }


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (answers.NO_WAREHOUSE, "GRANT USAGE ON WAREHOUSE LOADING TO ROLE SANDBOX;"),
        (answers.NO_RESUME, "resource monitor"),
    ],
)
def test_a_warehouse_that_cannot_run(refusal: Refusal, said: str, filled: SnowflakeServer) -> None:
    """It is in force, and what needs it is refused: suspended, or gone since the login."""
    names = {"SNOWFLAKE_WAREHOUSE": "SANDBOX_WH", "SNOWFLAKE_ROLE": "SANDBOX"}
    checks, _ = checks_with(filled, {"^COPY INTO": refusal}, **names)
    assert list(failed(checks)) == ["write_pandas"]
    assert said.replace("LOADING", "SANDBOX_WH") in failed(checks)["write_pandas"]


def test_a_load_that_is_refused_though_all_grants_are_there(filled: SnowflakeServer) -> None:
    """A masking or row access policy, say: the words are Snowflake's."""
    checks, _ = checks_with(filled, {"^\\s*MERGE INTO .RESOURCES": TABLE}, SNOWFLAKE_ROLE="SANDBOX")
    assert failed(checks) == {"load": "grant role SANDBOX what is named here"}

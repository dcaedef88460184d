"""What ``azure-collector test-snowflake`` tries, one step after the other."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pyarrow as pa

from pipeline import tables
from pipeline.checks import Check, timed
from pipeline.config import Config
from pipeline.errors import DependencyError, Unauthorised
from stages.load import context, merge, migrations, schema, staging
from stages.load.failures import WHAT
from stages.load.reach import reach
from stages.load.session import Session, connect

_SCRATCH = "AZURE_COLLECTOR_CHECK"
_ROW = pa.table(
    {
        "ID": pa.array([1], pa.int64()),
        "BODY": pa.array(['{"checked": {"by": "azure-collector"}}']),
        "AT": pa.array([datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)], tables.TIMESTAMP),
    }
)


def run_checks(config: Config) -> Iterator[Check]:
    """Try all that a load needs; nothing is left behind and no row is written to the tables.

    Yields:
        Each step's result as soon as it is known. It stops where the next steps need what failed.

    Raises:
        ConfigError: a setting is missing.
    """
    check = timed("network", lambda: reach(config))
    yield check
    if not check.ok:
        return
    opened: list[Session] = []
    check = timed("login", lambda: _login(config, opened))
    yield check
    if not check.ok:
        return
    with opened[0] as session:
        yield from _session_checks(config, session)


def _login(config: Config, opened: list[Session]) -> str:
    session = connect(config)
    opened.append(session)
    user, role = session.run("SELECT CURRENT_USER(), CURRENT_ROLE()")[0]
    return f"user {user}, role {role}"


def _session_checks(config: Config, session: Session) -> Iterator[Check]:
    role = str(session.value("SELECT CURRENT_ROLE()") or "<role>")
    steps: list[tuple[str, Callable[[], str]]] = [
        ("warehouse", lambda: context.warehouse(config, session)),
        ("database and schema", lambda: context.database_and_schema(config, session)),
    ]
    checks = [timed(name, probe) for name, probe in steps]
    yield from checks
    if not all(check.ok for check in checks):
        return
    for name, probe in (
        ("scratch table", lambda: _scratch(session, role)),
        ("tables", lambda: _tables(session, role)),
        ("grants to load", lambda: _grants(session, role)),
    ):
        check = timed(name, probe)
        yield check
        if not check.ok:
            return


def _scratch(session: Session, role: str) -> str:
    """``write_pandas``, PARSE_JSON and times to the microsecond, in a temporary table."""
    name = f"{_SCRATCH}_{secrets.token_hex(4).upper()}"
    try:
        staging.stage_rows(session, name, _ROW)
    except Unauthorised as error:
        grant = f"GRANT CREATE TABLE, CREATE STAGE ON SCHEMA {_here(session)} TO ROLE {role};"
        raise Unauthorised(WHAT, error.problem, grant) from error
    body, moment = session.run(f'SELECT PARSE_JSON("BODY"), "AT" FROM "{name}"')[0]  # noqa: S608
    session.run(f'DROP TABLE IF EXISTS "{name}"')
    if json.loads(body) != json.loads(_ROW["BODY"][0].as_py()) or moment != _ROW["AT"][0].as_py():
        raise DependencyError(WHAT, f"wrote one row and read another: {body}, {moment}")
    return "written, read back and dropped"


def _tables(session: Session, role: str) -> str:
    absent = schema.missing(session)
    if not absent:
        if behind := migrations.outstanding(migrations.applied(session)):
            names = ", ".join(f"{one.version} ({one.name})" for one in behind)
            return f"all there, not up to date: init-snowflake applies migration {names}"
        schema.check(session)
        return "all there"
    # A table that is made and dropped again: what init-snowflake and the first load would do.
    name = f"{_SCRATCH}_{secrets.token_hex(4).upper()}"
    try:
        session.run(f'CREATE TRANSIENT TABLE "{name}" ("ID" INTEGER)')
        session.run(f'DROP TABLE IF EXISTS "{name}"')
    except Unauthorised as error:
        here = _here(session)
        problem = f"missing or not granted: {', '.join(absent)}; {error.problem}"
        hint = (
            f"azure-collector init-snowflake as another role, then GRANT SELECT, INSERT, UPDATE ON "
            f"ALL TABLES IN SCHEMA {here} TO ROLE {role}; or: GRANT CREATE TABLE, CREATE VIEW ON "
            f"SCHEMA {here} TO ROLE {role};"
        )
        raise Unauthorised(WHAT, problem, hint) from error
    return f"not there yet: {', '.join(absent)}; the role can create them (init-snowflake)"


def _grants(session: Session, role: str) -> str:
    """The MERGEs of a load, over no rows: Snowflake checks grants before it looks at rows."""
    if set(schema.missing(session)) & {"RESOURCES", "REQUESTS"}:
        return "the role will own the tables that it creates"
    if not schema.fits(session):
        # Nothing is added by that: it only shows whether the first load may bring them up to date.
        session.run('ALTER TABLE "RESOURCES" ADD COLUMN IF NOT EXISTS "ROW_KEY" VARCHAR')
        return "the role may bring the tables up to date"
    for name, columns in (
        (merge.STAGED_RESOURCES, tables.RESOURCES),
        (merge.STAGED_REQUESTS, tables.REQUESTS),
    ):
        session.run(staging.table_sql(name, columns))
    try:
        session.run("BEGIN TRANSACTION")
        session.run(merge.merge_resources(None))
        session.run(merge.merge_requests(None))
    except Unauthorised as error:
        here = _here(session)
        grant = ", ".join(f"{here}.{table}" for table in ("RESOURCES", "REQUESTS"))
        hint = f"GRANT SELECT, INSERT, UPDATE ON TABLE … TO ROLE {role}; for {grant}"
        raise Unauthorised(WHAT, error.problem, hint) from error
    finally:
        session.run("ROLLBACK")
    return "the role may merge into RESOURCES and REQUESTS"


def _here(session: Session) -> str:
    return ".".join(map(str, session.run("SELECT CURRENT_DATABASE(), CURRENT_SCHEMA()")[0]))

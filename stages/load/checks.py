"""What ``azure-collector test-snowflake`` tries, one step after the other."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from pipeline import tables
from pipeline.checks import Check, timed
from pipeline.config import Config
from pipeline.errors import DependencyError, NotThere, Unauthorised
from stages.load import context, merge, migrations, schema, staging
from stages.load.failures import GRANT_HINT, WHAT
from stages.load.privileges import Names, on_tables
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

Steps = list[tuple[str, Callable[[], str]]]


def run_checks(config: Config) -> Iterator[Check]:
    """Try all that a load needs; nothing is left behind and no row is written to the tables.

    Yields:
        Each step's result as soon as it is known. What needs something that failed is not tried;
        everything else is, so that one run tells all the grants that are missing.

    Raises:
        ConfigError: a setting is missing.
    """
    for check in _all_checks(config):
        yield replace(check, hint=_filled(check.hint, config))


def _all_checks(config: Config) -> Iterator[Check]:
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
        in_force: Steps = [
            ("role", lambda: context.role(config, session)),
            ("warehouse", lambda: context.warehouse(config, session)),
            ("database", lambda: context.database(config, session)),
            ("schema", lambda: context.schema(config, session)),
        ]
        checks = []
        for name, probe in in_force:
            checks.append(timed(name, probe))
            yield checks[-1]
            if name == "database" and not checks[-1].ok:
                break  # no schema without it
        if all(check.ok for check in checks):
            names = Names(*(check.detail for check in checks))
            yield from _scratch_checks(session, names)
            yield from _table_checks(config, session, names)


def _login(config: Config, opened: list[Session]) -> str:
    session = connect(config)
    opened.append(session)
    return f"user {session.value('SELECT CURRENT_USER()')}"


def _filled(hint: str, config: Config) -> str:
    """A hint with the settings' names in the place of its blanks."""
    if hint == GRANT_HINT:  # whose own words are in the problem, and this is the command it names
        hint = "grant role <role> what is named here"
    blanks = {
        "<role>": config.snowflake_role,
        "<user>": config.snowflake_user,
        "<warehouse>": config.snowflake_warehouse,
    }
    for blank, name in blanks.items():
        hint = hint.replace(blank, name or blank)
    return hint


# ── what a load makes for itself ─────────────────────────────────────────────────────────────────


def _scratch_checks(session: Session, names: Names) -> Iterator[Check]:
    table = f"{_SCRATCH}_{secrets.token_hex(4).upper()}"
    steps: Steps = [
        ("temporary table", lambda: _temporary_table(session, names, table)),
        ("temporary stage", lambda: _temporary_stage(session, names, table)),
    ]
    made = [timed(name, probe) for name, probe in steps]
    yield from made
    if not all(check.ok for check in made):
        return
    check = timed("write_pandas", lambda: _round_trip(session, table))
    yield check
    if check.ok:
        yield timed("merge", lambda: _merge(session, table))


def _temporary_table(session: Session, names: Names, table: str) -> str:
    _granted(session, staging.table_sql(table, _ROW.schema), names.create("TABLE"))
    return "made"


def _temporary_stage(session: Session, names: Names, stage: str) -> str:
    _granted(session, f'CREATE TEMPORARY STAGE "{stage}"', names.create("STAGE"))
    session.run(f'DROP STAGE IF EXISTS "{stage}"')
    return "made and dropped"


def _round_trip(session: Session, table: str) -> str:
    """``write_pandas``, PARSE_JSON and times to the microsecond."""
    staging.stage_rows(session, table, _ROW)
    body, moment = session.run(f'SELECT PARSE_JSON("BODY"), "AT" FROM "{table}"')[0]  # noqa: S608
    if json.loads(body) != json.loads(_ROW["BODY"][0].as_py()) or moment != _ROW["AT"][0].as_py():
        raise DependencyError(WHAT, f"wrote one row and read another: {body}, {moment}")
    return "one row written and read back"


def _merge(session: Session, table: str) -> str:
    """A row that is there is changed, and one that is not is added."""
    session.run(f"""
MERGE INTO "{table}" AS t
USING (SELECT 1 AS "ID", 'changed' AS "BODY" UNION ALL SELECT 2 AS "ID", 'new' AS "BODY") AS s
ON t."ID" = s."ID"
WHEN MATCHED THEN UPDATE SET "BODY" = s."BODY"
WHEN NOT MATCHED THEN INSERT ("ID", "BODY") VALUES (s."ID", s."BODY")""")  # noqa: S608
    found = session.run(f'SELECT "ID", "BODY" FROM "{table}" ORDER BY "ID"')  # noqa: S608
    session.run(f'DROP TABLE IF EXISTS "{table}"')
    if found != [(1, "changed"), (2, "new")]:
        raise DependencyError(WHAT, f"a MERGE made of one row and a new one: {found}")
    return "one row changed, one added, all dropped"


# ── the tables ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Found:
    """What is there of what the migrations make, for this role to see.

    Attributes:
        absent: tables that are not, or that the role has no right on at all.
        outstanding: migrations that are not recorded, each as text.
        can_load: the tables that no load can do without are there.
    """

    absent: list[str]
    outstanding: list[str]
    can_load: bool


def _table_checks(config: Config, session: Session, names: Names) -> Iterator[Check]:
    found = _look(session)
    steps: Steps = [
        ("tables", lambda: _tables(session, found)),
        ("create table", lambda: _create(session, names, "TABLE", found)),
        ("create view", lambda: _create(session, names, "VIEW", found)),
    ]
    for table, statements in on_tables(config).items():
        said = "migrations" if table == migrations.RECORD else table
        step = partial(_privileges, session, names, table, statements, found)
        steps.append((f"grants {said}", step))
    checks = []
    for name, probe in steps:
        checks.append(timed(name, probe))
        yield checks[-1]
    if all(check.ok for check in checks):
        yield timed("load", lambda: _load(config, session, found))


def _look(session: Session) -> _Found:
    absent = [
        table
        for table in (*schema.TABLES, migrations.RECORD)
        if not _answers(session, f'DESCRIBE TABLE "{table}"')
    ]
    try:
        done = migrations.applied(session)
    except Unauthorised:
        done = set()
    outstanding = [f"{one.version} ({one.name})" for one in migrations.outstanding(done)]
    return _Found(absent, outstanding, not set(absent) & set(schema.NEEDED))


def _answers(session: Session, sql: str) -> bool:
    try:
        session.run(sql)
    except (NotThere, Unauthorised):
        return False
    return True


def _tables(session: Session, found: _Found) -> str:
    absent = [name for name in found.absent if name != migrations.RECORD]
    if absent and not found.outstanding:
        problem = f"{', '.join(absent)}: not there, or the role has no right on it"
        raise NotThere(WHAT, problem, "azure-collector init-snowflake, if it was dropped")
    if absent:
        return f"not there yet: {', '.join(absent)}; init-snowflake, or the first load, makes them"
    if found.outstanding:
        return f"all there; init-snowflake applies migration {', '.join(found.outstanding)}"
    schema.check(session)
    return "all there, and up to date"


def _create(session: Session, names: Names, kind: str, found: _Found) -> str:
    """What init-snowflake and the first load do: something is made and dropped again."""
    if not found.outstanding:
        return "not needed: the tables are up to date"
    name = f"{_SCRATCH}_{secrets.token_hex(4).upper()}"
    what = '("ID" INTEGER)' if kind == "TABLE" else 'AS SELECT 1 AS "ID"'
    transient = "TRANSIENT " if kind == "TABLE" else ""
    try:
        _granted(session, f'CREATE {transient}{kind} "{name}" {what}', names.create(kind))
    except Unauthorised:
        if not found.can_load:
            raise
        return "not granted, and not needed to load: another role may run init-snowflake"
    session.run(f'DROP {kind} IF EXISTS "{name}"')
    return "made and dropped"


def _privileges(
    session: Session, names: Names, table: str, statements: dict[str, str], found: _Found
) -> str:
    grant = names.table(table, list(statements))
    if table in found.absent:
        # Where tables are, so is the record of what made them: only a right can be missing then.
        if found.outstanding and not (table == migrations.RECORD and found.can_load):
            return "the role will own it once it has made it"
        raise Unauthorised(WHAT, "not there, or the role has no right on it", grant)
    missing = [kind for kind, sql in statements.items() if not _answers(session, sql)]
    if missing:
        problem = f"not granted: {', '.join(missing)}"
        raise Unauthorised(WHAT, problem, names.table(table, missing))
    return ", ".join(statements)


def _load(config: Config, session: Session, found: _Found) -> str:
    """The statements of a load, over no rows: Snowflake checks grants before it looks at rows."""
    if not found.can_load or found.outstanding:
        return "tried once the tables are up to date"
    for name, columns in merge.STAGED.items():
        session.run(staging.table_sql(name, columns))
    appends = config.write_mode == "append"
    try:
        session.run("BEGIN TRANSACTION")
        session.run(merge.append_resources(None, None) if appends else merge.merge_resources(None))
        session.run(merge.merge_rejected(None))
        session.run(merge.merge_requests(None))
    finally:
        session.run("ROLLBACK")
    return f"{config.write_mode}, tried over no rows"


def _granted(session: Session, sql: str, grant: str) -> None:
    """Run a statement; say which GRANT is missing if it is refused."""
    try:
        session.run(sql)
    except Unauthorised as error:
        raise Unauthorised(WHAT, error.problem, grant) from error

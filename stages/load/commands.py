"""``azure-collector init-snowflake`` and ``azure-collector test-snowflake``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime

from pipeline.audit import AuditLog, open_audit, snowflake_identity
from pipeline.config import Config
from pipeline.errors import EXIT_DEPENDENCY, EXIT_DONE
from stages.load import context, migrations, retention, schema
from stages.load.checks import run_checks
from stages.load.grants import reader_grants
from stages.load.session import Session, connect


def init_snowflake(config: Config, print_only: bool = False, reader_role: str | None = None) -> int:
    """Create the tables and views that are missing, and bring those that are there up to date.

    Args:
        config: the SNOWFLAKE settings; with ``print_only`` not even these are needed.
        print_only: show the SQL and connect to nothing.
        reader_role: a role that is to read all of it, also what later versions make.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: a setting is missing.
        DependencyError: Snowflake cannot be reached or refuses.
    """
    if print_only:
        if config.snowflake_database and config.snowflake_schema:
            print(f"USE SCHEMA {config.snowflake_database}.{config.snowflake_schema};\n")
        print(migrations.script(), end="")
        print("\n" + _readers(config, reader_role))
        return EXIT_DONE
    with closing(open_audit(config, "init-snowflake")) as audit, connect(config) as session:
        context.require(config, session)
        absent = schema.missing(session)
        done = migrations.applied(session)
        # Told before: a statement that fails leaves what those before it have made.
        _tell_init(audit, config, absent, done, reader_role)
        if not migrations.is_newer(done):
            # Those that are recorded too: somebody may have dropped a view since.
            schema.update(session, migrations.migrations())
        schema.check(session)
        _grant(config, session, reader_role)
    if migrations.is_newer(done):
        print(f"nothing done: the tables are of a newer version ({max(done)}) than this program")
        return EXIT_DONE
    for name in schema.OBJECTS:
        print(f"{name:<20} {'created' if name in absent else 'was there'}")
    for one in migrations.migrations():
        name = f"migration {one.version}"
        print(f"{name:<20} {'was there' if one.version in done else 'applied'} ({one.name})")
    return EXIT_DONE


def prune(config: Config, *, dry_run: bool = False) -> int:
    """Delete the history that RETENTION_DAYS lets go, and print what went from each table.

    Args:
        config: RETENTION_DAYS, DEDUPE_WINDOW and the SNOWFLAKE settings.
        dry_run: only count.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: RETENTION_DAYS is 0, or a setting is missing.
        DependencyError: Snowflake cannot be reached or refuses; what was deleted stays so.
    """
    limit = retention.limit_of(datetime.now(UTC), config.retention_days, config.dedupe_window)
    rows: Counter[str] = Counter()
    days: dict[str, set[date]] = defaultdict(set)
    with closing(open_audit(config, "prune")) as audit, connect(config) as session:
        context.require(config, session)
        try:
            for step in retention.plan(session, limit):
                table = step.sweep.table
                rows[table] += step.rows if dry_run else retention.delete(session, step)
                days[table].add(step.start.date())
        finally:
            # Also after a failure: what was deleted stays so.
            if not dry_run:
                _tell_pruned(audit, config, limit, rows)
    print(f"older than {limit:%Y-%m-%d %H:%M} UTC:")
    for table in dict.fromkeys(sweep.table for sweep in retention.SWEEPS):
        said = "would be deleted" if dry_run else "deleted"
        span = f" of {len(days[table])} days, from {min(days[table])}" if days[table] else ""
        print(f"{table:<17} {rows[table]:,} rows {said}{span}")
    return EXIT_DONE


def _tell_init(
    audit: AuditLog, config: Config, absent: Sequence[str], done: set[int], reader_role: str | None
) -> None:
    newer = migrations.is_newer(done)
    todo = [] if newer else [one.version for one in migrations.migrations()]
    audit.tell(
        "snowflake_init",
        "making the tables and views that are missing, and bringing the others up to date",
        identity=snowflake_identity(config),
        database=config.snowflake_database,
        schema=config.snowflake_schema,
        missing=[] if newer else sorted(absent),
        migrations=[version for version in todo if version not in done],
        reader_role=reader_role,
    )


def _tell_pruned(audit: AuditLog, config: Config, limit: datetime, rows: Counter[str]) -> None:
    audit.tell(
        "history_pruned",
        "old history was deleted",
        identity=snowflake_identity(config),
        database=config.snowflake_database,
        schema=config.snowflake_schema,
        older_than=limit.isoformat(timespec="seconds"),
        rows=dict(rows),
    )


def _grant(config: Config, session: Session, role: str | None) -> None:
    if role is not None:
        where = (config.required("snowflake_database"), config.required("snowflake_schema"))
        for statement in reader_grants(role, *where):
            session.run(statement)


def _readers(config: Config, role: str | None) -> str:
    """The grants as SQL text; as a comment where no role is named."""
    where = (config.snowflake_database or "<database>", config.snowflake_schema or "<schema>")
    lines = [f"{statement};" for statement in reader_grants(role or "<role>", *where)]
    if role is None:
        head = ["For a role that only reads (--reader-role NAME writes its name in):", *lines]
        lines = [f"-- {line}" for line in head]
    return "\n".join(lines)


def test_snowflake(config: Config) -> int:
    """Try all that a load needs and print each step.

    Returns:
        Exit code: 0 if every step passes, else 3.

    Raises:
        ConfigError: a setting is missing.
    """
    passed = True
    for check in run_checks(config):
        print(check.line(), flush=True)
        passed = passed and check.ok
    return EXIT_DONE if passed else EXIT_DEPENDENCY

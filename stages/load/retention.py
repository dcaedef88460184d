"""Old history is deleted, in small steps: RETENTION_DAYS.

A slice of time at a time, oldest first, so that Snowflake looks at few partitions and a load that
waits for the table waits for one of them only. Deleting what is gone does nothing, so any number of
collectors may do it at once.
"""
# ruff: noqa: S608 - names and literals come from here and from the clock, none from data

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipeline.errors import ConfigError
from stages.load.session import Session

# Rows that one DELETE takes, at most, unless a single hour has more; and it is never of two days.
STEP_ROWS = 1_000_000
# How long a DELETE may wait for another collector's MERGE: nothing is lost with one given up.
LOCK_LIMIT_S = 60

_HOUR = timedelta(hours=1)

# The newest row of each resource, by what RESOURCES_LATEST knows it by. Rows as new as the newest
# are all kept.
_NEWEST = """(
    SELECT LOWER("RESOURCE_ID") AS "IDENTITY", MAX("COLLECTED_AT") AS "NEWEST"
    FROM "RESOURCES"
    WHERE "RESOURCE_ID" IS NOT NULL{since}
    GROUP BY LOWER("RESOURCE_ID")
) AS n"""


class Sweep(NamedTuple):
    """Rows of a table that go for the same reason.

    Attributes:
        table: its name.
        time: the column that says how old a row is.
        only: a further condition, or "".
        superseded: only rows whose resource has a newer one.
    """

    table: str
    time: str
    only: str = ""
    superseded: bool = False


SWEEPS = (
    Sweep("RESOURCES", "COLLECTED_AT", superseded=True),
    # Answers that are no resource have no newest row: they go by their age alone.
    Sweep("RESOURCES", "COLLECTED_AT", '"RESOURCE_ID" IS NULL'),
    Sweep("REQUESTS", "COMPLETED_AT"),
    Sweep("REJECTED_ROWS", "REJECTED_AT"),
)


class Step(NamedTuple):
    """What one DELETE takes.

    Attributes:
        sweep: of which rows.
        start: the oldest that go.
        end: from here on they stay.
        rows: how many there were when they were counted.
    """

    sweep: Sweep
    start: datetime
    end: datetime
    rows: int


def limit_of(now: datetime, retention_days: int, dedupe_window_s: float) -> datetime:
    """Rows older than this may go; a full hour.

    Args:
        now: aware.
        retention_days: RETENTION_DAYS, at least 1.
        dedupe_window_s: DEDUPE_WINDOW in seconds. What a load still looks for stays: else a message
            that comes again would bring back what was deleted. 0, the whole table, adds nothing:
            no window that ends could.

    Raises:
        ConfigError: RETENTION_DAYS is 0.
    """
    if retention_days <= 0:
        raise ConfigError(
            ["RETENTION_DAYS is 0, which keeps everything; takes a number of days, e.g. 400"]
        )
    kept = max(timedelta(days=retention_days), timedelta(seconds=dedupe_window_s))
    return (now.astimezone(UTC) - kept).replace(minute=0, second=0, microsecond=0)


def steps_of(
    sweep: Sweep, hours: Sequence[tuple[datetime, int]], step_rows: int = STEP_ROWS
) -> Iterator[Step]:
    """Hours joined to steps, each of one day and of few rows.

    Args:
        sweep: what is counted.
        hours: start of each hour that has such rows, and how many, oldest first.
        step_rows: of one step, unless a single hour has more.
    """
    made: Step | None = None
    for hour, rows in hours:
        fits = made is not None and made.rows + rows <= step_rows
        if made is not None and fits and made.start.date() == hour.date():
            made = made._replace(end=hour + _HOUR, rows=made.rows + rows)
            continue
        if made is not None:
            yield made
        made = Step(sweep, hour, hour + _HOUR, rows)
    if made is not None:
        yield made


def plan(session: Session, limit: datetime) -> list[Step]:
    """Everything that may go, in the order in which it should.

    One statement a table, each reading two of its columns.

    Args:
        session: any; what it may wait for a lock is shortened.
        limit: of :func:`limit_of`.

    Raises: as :meth:`stages.load.session.Session.run`.
    """
    session.run(f"ALTER SESSION SET LOCK_TIMEOUT = {LOCK_LIMIT_S}")
    steps: list[Step] = []
    for sweep in SWEEPS:
        counted = session.run(count_sql(sweep, limit))
        hours = [(_utc(hour), int(rows)) for hour, rows in counted]
        steps += steps_of(sweep, hours)
    return steps


def delete(session: Session, step: Step) -> int:
    """Take one step.

    Returns:
        Rows that were deleted: fewer than were counted where another collector did it meanwhile.

    Raises: as :meth:`stages.load.session.Session.run`.
    """
    return int(session.value(delete_sql(step)))


def count_sql(sweep: Sweep, limit: datetime) -> str:
    """How many rows older than ``limit`` would go, by the hour."""
    table, time = sweep.table, f't."{sweep.time}"'
    newest = ""
    conditions = [f"{time} < {_literal(limit)}"]
    if sweep.superseded:
        newest = f'\nJOIN {_NEWEST.format(since="")}\nON LOWER(t."RESOURCE_ID") = n."IDENTITY"'
        conditions.append(f'{time} < n."NEWEST"')
    if sweep.only:
        conditions.append(f"t.{sweep.only}")
    return f"""
SELECT DATE_TRUNC('HOUR', {time}) AS "HOUR", COUNT(*) AS "COUNTED"
FROM "{table}" AS t{newest}
WHERE {" AND ".join(conditions)}
GROUP BY DATE_TRUNC('HOUR', {time})
ORDER BY "HOUR\""""


def delete_sql(step: Step) -> str:
    """The DELETE of one step."""
    sweep = step.sweep
    table, time = f'"{sweep.table}"', f'"{sweep.table}"."{sweep.time}"'
    using = ""
    conditions = [f"{time} >= {_literal(step.start)}", f"{time} < {_literal(step.end)}"]
    if sweep.superseded:
        since = f' AND "COLLECTED_AT" >= {_literal(step.start)}'
        using = f"\nUSING {_NEWEST.format(since=since)}"
        conditions.append(f'LOWER({table}."RESOURCE_ID") = n."IDENTITY"')
        conditions.append(f'{time} < n."NEWEST"')
    if sweep.only:
        conditions.append(f"{table}.{sweep.only}")
    return f"DELETE FROM {table}{using}\nWHERE {' AND '.join(conditions)}"


def _literal(moment: datetime) -> str:
    # Snowflake prunes partitions by a literal before it runs the statement.
    return f"'{moment.isoformat()}'::TIMESTAMP_TZ"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

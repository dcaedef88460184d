"""The tables and views in Snowflake: that they are there, and fit what is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from pipeline import tables
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.logs import log
from stages.load import migrations, unfit
from stages.load.failures import WHAT
from stages.load.session import Session

# No load can do without these.
NEEDED = ("RESOURCES", "REQUESTS")
TABLES = (*NEEDED, "REJECTED_ROWS")
OBJECTS = (
    *TABLES,
    "RESOURCES_UNIQUE",
    "RESOURCES_LATEST",
    "RESOURCES_HISTORY",
    "REQUESTS_INCOMPLETE",
    "COLLECTION_HEALTH",
)

# Of each table, what is loaded into it.
COLUMNS = {
    "RESOURCES": tables.RESOURCES,
    # Staged to bound the look-back; the ledger itself does not have it.
    "REQUESTS": tables.REQUESTS.remove(tables.REQUESTS.get_field_index("ENQUEUED_AT")),
    "REJECTED_ROWS": unfit.COLUMNS,
}
# JSON travels as text and is parsed in the MERGE.
_JSON = {("RESOURCES", "BODY")}

# As DESCRIBE TABLE names types, with a size or precision behind: the first is what we create.
_TEXT = ("VARCHAR", "TEXT", "STRING", "CHAR")
_NUMBER = ("NUMBER", "DECIMAL", "NUMERIC", "INTEGER", "INT", "BIGINT")
_TIME = ("TIMESTAMP_TZ", "TIMESTAMP_LTZ")
_BOOLEAN = ("BOOLEAN",)
_VARIANT = ("VARIANT",)


def missing(session: Session) -> list[str]:
    """Which of the tables and views are not there, or not for this role to read."""
    absent = []
    for name in OBJECTS:
        try:
            session.run(f'SELECT 1 FROM "{name}" LIMIT 0')  # noqa: S608 - a constant
        except NotThere:
            absent.append(name)
    return absent


def ensure(session: Session) -> None:
    """Bring the tables up to date, and see that they fit.

    Raises:
        Unauthorised: the role may not create or alter what has to be.
        DependencyError: a table was altered in a way that does not fit.
        NotThere, Unreachable: as :func:`stages.load.migrations.apply`.
    """
    done = migrations.applied(session)
    if migrations.is_newer(done):
        log.bind(action="newer_schema", version=max(done)).info(
            "the tables are of a newer version than this program, and are left as they are"
        )
        check(session)
        return
    # A role that may not make REJECTED_ROWS may still load: rows that fit do not wait for others.
    update(session, migrations.outstanding(done), NEEDED)
    try:
        check(session)
    except NotThere:
        # Somebody has dropped a table since; what is recorded does not say so.
        update(session, migrations.migrations(), NEEDED)
        check(session, NEEDED)


def update(
    session: Session,
    wanted: Sequence[migrations.Migration],
    enough: Sequence[str] = TABLES,
) -> None:
    """Apply these migrations, where the tables are not as they make them already.

    Args:
        session: an open one.
        wanted: in their order.
        enough: tables that have to fit if the role may not apply them.

    Raises:
        as :func:`ensure`.
    """
    try:
        migrations.apply(session, wanted)
    except Unreachable:
        raise
    except Unauthorised:
        # A role that only loads need not see what is recorded, if there is nothing to be done.
        if not fits(session, enough):
            raise
    except DependencyError:
        # A view cannot be made of a column that is gone: that says it more clearly.
        check(session)
        raise


def fits(session: Session, names: Sequence[str] = TABLES) -> bool:
    """Whether what is loaded fits these tables as they are; there may still lack a view.

    Raises:
        Unreachable: nobody knows.
    """
    try:
        check(session, names)
    except Unreachable:
        raise
    except DependencyError:
        return False
    return True


def check(session: Session, names: Sequence[str] = TABLES) -> None:
    """See that each column that is loaded into these tables is there and takes what it gets.

    Raises:
        DependencyError: it names each column that does not fit, and the statements that mend it.
        NotThere: a table is missing.
    """
    misfits: list[_Misfit] = []
    absent: list[NotThere] = []
    for table in names:
        try:
            misfits += _misfits(table, COLUMNS[table], _described(session, table))
        except NotThere as error:
            absent.append(error)
    if misfits:
        problem = "; ".join(misfit.problem for misfit in misfits)
        raise DependencyError(WHAT, problem, " ".join(misfit.mend for misfit in misfits))
    if absent:
        raise absent[0]


@dataclass(frozen=True)
class _Column:
    """One line of DESCRIBE TABLE."""

    type: str
    nullable: bool
    has_default: bool


class _Misfit(NamedTuple):
    problem: str
    mend: str


def _described(session: Session, table: str) -> dict[str, _Column]:
    names, rows = session.table(f'DESCRIBE TABLE "{table}"')
    at = {name.lower(): place for place, name in enumerate(names)}
    return {
        str(row[at["name"]]): _Column(
            type=str(row[at["type"]]),
            nullable=str(row[at["null?"]]).upper() != "N",
            has_default=row[at["default"]] is not None,
        )
        for row in rows
    }


def _misfits(table: str, wanted: pa.Schema, found: dict[str, _Column]) -> Iterator[_Misfit]:
    alter = f'ALTER TABLE "{table}"'
    for field in wanted:
        name = field.name
        takes = _VARIANT if (table, name) in _JSON else _types_for(field.type)
        add = f'{alter} ADD COLUMN "{name}" {takes[0]};'
        column = found.get(name)
        if column is None:
            yield _Misfit(f"{table} has no column {name}", add)
        elif re.split(r"[( ]", column.type.upper())[0] not in takes:
            rename = f'{alter} RENAME COLUMN "{name}" TO "{name}_BEFORE";'
            if not column.nullable:
                rename += f' {alter} ALTER COLUMN "{name}_BEFORE" DROP NOT NULL;'
            yield _Misfit(f"{table}.{name} is {column.type}; takes {takes[0]}", f"{rename} {add}")
        elif field.nullable and not column.nullable:
            mend = f'{alter} ALTER COLUMN "{name}" DROP NOT NULL;'
            yield _Misfit(f"{table}.{name} is NOT NULL, and has nulls to take", mend)
    for name, column in found.items():
        if name not in wanted.names and not column.nullable and not column.has_default:
            yield _Misfit(
                f"{table}.{name} is none of the collector's, and NOT NULL without a default",
                f'{alter} ALTER COLUMN "{name}" DROP NOT NULL;',
            )


def _types_for(kind: pa.DataType) -> tuple[str, ...]:
    if pa.types.is_timestamp(kind):
        return _TIME
    if pa.types.is_boolean(kind):
        return _BOOLEAN
    return _NUMBER if pa.types.is_integer(kind) else _TEXT

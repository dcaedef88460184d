"""The tables and the view in Snowflake: their SQL, and making sure that they are there."""

from __future__ import annotations

from importlib.resources import files

from pipeline.errors import NotThere
from stages.load.session import Session

OBJECTS = ("RESOURCES", "REQUESTS", "RESOURCES_LATEST")

_FILE = "schema.sql"


def schema_sql() -> str:
    """The SQL that creates what is missing, as it stands in the package."""
    return files("stages.load").joinpath(_FILE).read_text("utf-8")


def statements(sql: str) -> list[str]:
    """The single statements of a SQL text whose every statement ends with ``;`` at a line's end."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def missing(session: Session) -> list[str]:
    """Which of the tables and the view are not there, or not for this role to read."""
    absent = []
    for name in OBJECTS:
        try:
            session.run(f'SELECT 1 FROM "{name}" LIMIT 0')  # noqa: S608 - a constant
        except NotThere:
            absent.append(name)
    return absent


def apply(session: Session) -> None:
    """Create what is missing.

    Raises:
        Unauthorised: the role may not create tables or views in the schema.
        NotThere: the session has no database or schema.
        Unreachable: the way or the session was lost.
    """
    for statement in statements(schema_sql()):
        session.run(statement)


def ensure(session: Session) -> None:
    """Create what is missing, and nothing where nothing is: a role that only loads needs no more.

    Raises:
        Unauthorised, NotThere, Unreachable: as :func:`apply`.
    """
    if missing(session):
        apply(session)

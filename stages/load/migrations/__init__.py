"""What the tables in Snowflake went through: SQL files, each applied once, in their order.

There is no lock around them. Every statement may be run again, and by two collectors at once,
without harm (IF NOT EXISTS, OR REPLACE), so whoever comes second merely does it again; and
what is done is recorded by a MERGE, which takes each version once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import pipeline
from pipeline.errors import NotThere, Unauthorised
from stages.load import failures
from stages.load.session import Session

RECORD = "AZURE_COLLECTOR_MIGRATIONS"

_FILE = re.compile(r"(\d{4})_(\w+)\.sql")
_HINT = (
    "run `azure-collector init-snowflake` as a role that may, or have an administrator run what "
    "`azure-collector init-snowflake --print` prints"
)


class Migration(NamedTuple):
    """One file.

    Attributes:
        version: its number, from 1.
        name: what it is about.
        sql: statements that each end with ``;`` at a line's end.
    """

    version: int
    name: str
    sql: str


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """All that this version knows, in their order."""
    found = []
    for file in files(__name__).iterdir():
        if name := _FILE.fullmatch(file.name):
            found.append(Migration(int(name[1]), name[2], file.read_text("utf-8")))
    return tuple(sorted(found))


def script() -> str:
    """All of them as one SQL text that may be run as it stands, any number of times."""
    parts = [f"{one.sql.strip()}\n\n{_recording(one)};\n" for one in migrations()]
    return "\n".join(parts)


def statements(sql: str) -> list[str]:
    """The single statements of a SQL text whose every statement ends with ``;`` at a line's end."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def applied(session: Session) -> set[int]:
    """Versions that are recorded; none where nothing is, or not for this role to read."""
    try:
        return {int(row[0]) for row in session.run(f'SELECT "VERSION" FROM "{RECORD}"')}  # noqa: S608
    except NotThere as error:
        if failures.code_of(error) not in failures.NO_SUCH_OBJECT:
            raise  # no warehouse, say: that tells nothing
        return set()


def is_newer(done: set[int]) -> bool:
    """A newer program has been here: its tables have all that this one needs, its views more."""
    return max(done, default=0) > migrations()[-1].version


def outstanding(done: set[int]) -> list[Migration]:
    """Those that are not among the recorded ones; none after a newer program."""
    return [] if is_newer(done) else [one for one in migrations() if one.version not in done]


def apply(session: Session, wanted: Sequence[Migration]) -> None:
    """Apply these and record each.

    Raises:
        Unauthorised: the role may not.
        NotThere: the session has no database or schema.
        Unreachable: the way or the session was lost; what was done stays done.
    """
    # Two that start together with different versions: a view may stay as the older one makes it
    # until `init-snowflake` of the newer one is run; no table and no row is touched by that.
    for one in wanted:
        try:
            for statement in statements(one.sql):
                session.run(statement)
            session.run(_recording(one))
        except Unauthorised as error:
            problem = f"migration {one.version} ({one.name}): {error.problem}"
            raise Unauthorised(failures.WHAT, problem, _HINT) from error


def _recording(one: Migration) -> str:
    # Numbers and names are of our own files.
    return f"""MERGE INTO "{RECORD}" AS t
USING (
    SELECT
        {one.version} AS "VERSION", '{one.name}' AS "NAME",
        CURRENT_TIMESTAMP()::TIMESTAMP_TZ AS "APPLIED_AT",
        '{pipeline.__version__}' AS "APPLIED_BY"
) AS s
ON t."VERSION" = s."VERSION"
WHEN NOT MATCHED THEN INSERT ("VERSION", "NAME", "APPLIED_AT", "APPLIED_BY")
VALUES (s."VERSION", s."NAME", s."APPLIED_AT", s."APPLIED_BY")"""  # noqa: S608

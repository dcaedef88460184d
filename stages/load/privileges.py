"""What a role has to be granted, each with a statement that needs it, and the GRANT itself."""
# ruff: noqa: S608 - names come from the schema, none from data

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.config import Config
from stages.load import migrations

_UPPER = re.compile(r"[A-Z_][A-Z0-9_$]*")


class Names(NamedTuple):
    """What is in force in a session, as Snowflake spells it.

    Attributes:
        role, warehouse, database, schema: names; empty where there is none.
    """

    role: str
    warehouse: str
    database: str
    schema: str

    @property
    def here(self) -> str:
        """Database and schema, as SQL takes them."""
        return f"{exact(self.database)}.{exact(self.schema)}"

    def create(self, kind: str) -> str:
        """The GRANT to create something in the schema.

        Args:
            kind: e.g. ``TABLE``.
        """
        return f"GRANT CREATE {kind} ON SCHEMA {self.here} TO ROLE {exact(self.role)};"

    def table(self, name: str, kinds: list[str]) -> str:
        """The GRANT of privileges on a table.

        Args:
            name: of the table.
            kinds: e.g. ``INSERT``.
        """
        what = ", ".join(kinds)
        return f"GRANT {what} ON TABLE {self.here}.{exact(name)} TO ROLE {exact(self.role)};"


def exact(name: str) -> str:
    """A name that Snowflake has told, as SQL takes it: without quotes it would be upper case."""
    return name if _UPPER.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def on_tables(config: Config) -> dict[str, dict[str, str]]:
    """The privileges on each table, each with a statement that Snowflake refuses without it.

    EXPLAIN checks privileges as the statement itself does, runs no warehouse and takes no lock.
    """
    delete = {"DELETE"} if config.retention_days else set()
    wanted = {
        "RESOURCES": {"SELECT", "INSERT"} | delete,
        "REQUESTS": {"SELECT", "INSERT", "UPDATE"} | delete,
        "REJECTED_ROWS": {"SELECT", "INSERT"} | delete,
        migrations.RECORD: {"SELECT"},
    }
    return {
        table: {kind: sql for kind, sql in _statements(table).items() if kind in kinds}
        for table, kinds in wanted.items()
    }


def _statements(table: str) -> dict[str, str]:
    column = '"VERSION"' if table == migrations.RECORD else '"BATCH_ID"'
    return {
        "SELECT": f'EXPLAIN SELECT {column} FROM "{table}"',
        "INSERT": f'EXPLAIN INSERT INTO "{table}" ({column}) SELECT NULL WHERE FALSE',
        "UPDATE": f'EXPLAIN UPDATE "{table}" SET {column} = NULL WHERE FALSE',
        "DELETE": f'EXPLAIN DELETE FROM "{table}" WHERE FALSE',
    }

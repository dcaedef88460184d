"""What a role needs that only reads: the tables and views that are there, and those to come."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_KINDS = ("TABLES", "VIEWS")


def reader_grants(role: str, database: str, schema: str) -> list[str]:
    """The statements, for the owner of database and schema to run; again is no harm.

    Args:
        role: as the settings write names: in any case, unless it needs quotes.
        database: of the tables.
        schema: of the tables.
    """
    to = f"TO ROLE {quoted(role)}"
    where = f"{quoted(database)}.{quoted(schema)}"
    return [
        f"GRANT USAGE ON DATABASE {quoted(database)} {to}",
        f"GRANT USAGE ON SCHEMA {where} {to}",
        *(
            f"GRANT SELECT ON {which} {kind} IN SCHEMA {where} {to}"
            for kind in _KINDS
            for which in ("ALL", "FUTURE")
        ),
    ]


def quoted(name: str) -> str:
    """A name as SQL takes it: with quotes only where it needs them, for they keep its case."""
    if _PLAIN.fullmatch(name) or re.fullmatch(r"<\w+>", name):
        return name
    return '"' + name.strip('"').replace('"', '""') + '"'

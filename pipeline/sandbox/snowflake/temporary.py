"""Statements about temporary tables and stages: in Snowflake they lock nothing of other sessions.

A temporary table belongs to one session, and a stage is written by nobody's transaction.
"""

from __future__ import annotations

from sqlglot import exp

# Where fakesnow keeps its list of stages; CREATE STAGE and DROP STAGE are rows of it.
_STAGES = "_fs_stages"


class TemporaryTables:
    """The temporary tables of one session, by what it has run.

    DuckDB is not asked: a question within a transaction would fix what the transaction sees, before
    the session has its turn to write.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """Of those that are there."""
        return frozenset(self._names)

    def concerned(self, statement: exp.Expression) -> bool:
        """Whether a statement changes nothing but what is this session's own.

        Args:
            statement: one that writes or defines, transformed for DuckDB.
        """
        if is_stage(statement) or _creates(statement):
            return True
        return not isinstance(statement, exp.Create) and _target(statement) in self._names

    def note(self, statement: exp.Expression) -> None:
        """Keep in mind what a statement has created or dropped."""
        name = _target(statement)
        if name and _creates(statement):
            self._names.add(name)
        elif name and isinstance(statement, exp.Drop):
            self._names.discard(name)


def is_stage(statement: exp.Expression) -> bool:
    """Whether it was CREATE STAGE or DROP STAGE before it was transformed."""
    if statement.args.get("create_stage_name"):
        return True
    return isinstance(statement, exp.Delete) and _name(statement) == _STAGES


def _creates(statement: exp.Expression) -> bool:
    return isinstance(statement, exp.Create) and statement.find(exp.TemporaryProperty) is not None


def _target(statement: exp.Expression) -> str:
    """The table it is about, if that may be a temporary one: DuckDB knows those without schema."""
    table = statement.find(exp.Table)
    return "" if table is None or table.db else table.name


def _name(statement: exp.Expression) -> str:
    table = statement.find(exp.Table)
    return "" if table is None else table.name

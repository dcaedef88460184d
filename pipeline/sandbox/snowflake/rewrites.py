"""Statements that fakesnow does not take as the connector and the collector send them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from fakesnow.transforms import SUCCESS_NOP, stage
from sqlglot import exp, parse_one

# Answers of a session about itself: the function in SQL, then the attribute that holds it.
_CONTEXT: dict[type[exp.Expression], str] = {
    exp.CurrentAccount: "account",
    exp.CurrentSession: "session",
    exp.CurrentUser: "user",
    exp.CurrentRole: "role",
    exp.CurrentWarehouse: "warehouse",
    exp.CurrentDatabase: "database",
    exp.CurrentSchema: "schema",
}


def explained(statement: exp.Expression) -> exp.Expression | None:
    """The statement within an ``EXPLAIN``, which is text to the parser; None for any other.

    Raises:
        sqlglot.errors.ParseError: it is no SQL.
    """
    if not isinstance(statement, exp.Command) or str(statement.this).upper() != "EXPLAIN":
        return None
    inner = parse_one(statement.expression.name, dialect="snowflake")
    return inner if isinstance(inner, exp.Expression) else None


def no_plan() -> exp.Expression:
    """What an ``EXPLAIN`` that was let is answered with: DuckDB's plan would mean nothing here."""
    return exp.select(exp.alias_(exp.Literal.string("GlobalStats"), "operation", quoted=True))


def stage_reference(statement: exp.Expression) -> exp.Expression:
    """``write_pandas``'s COPY as fakesnow reads it.

    ``FROM '@"STAGE"'`` becomes the bare reference. Columns (``$1:"AT"``) become quoted names,
    because fakesnow takes the quotes off, and some names are words of DuckDB's SQL.
    """
    if isinstance(statement, exp.Copy):
        for table in statement.find_all(exp.Table):
            if isinstance(table.this, exp.Literal) and table.name.startswith("@"):
                table.set("this", exp.Var(this=table.name))
        for column in list(statement.find_all(exp.JSONExtract)):
            key = column.expression.find(exp.JSONPathKey)
            if isinstance(column.this, exp.Parameter) and key is not None:
                column.replace(exp.column(exp.to_identifier(key.this, quoted=True)))
    return statement


def parsed_json(statement: exp.Expression) -> exp.Expression:
    """``PARSE_JSON`` as a cast, which keeps digits: DuckDB's ``json()`` makes numbers double."""
    for parse in list(statement.find_all(exp.ParseJSON)):
        if not parse.args.get("safe"):
            parse.replace(exp.cast(parse.this, "JSON"))
    return statement


def session_functions(
    statement: exp.Expression, context: Callable[[str], str | None]
) -> exp.Expression:
    """``CURRENT_WAREHOUSE()`` and its like as what they are in this session.

    Args:
        context: gives the session's ``account``, ``session``, ``user``, ``role``, ``warehouse``,
            ``database`` or ``schema``; None where there is none.
    """
    for function in list(statement.find_all(*_CONTEXT)):
        value = context(_CONTEXT[type(function)])
        literal = exp.Null() if value is None else exp.Literal.string(value)
        name = function.sql(dialect="snowflake")
        cast = exp.cast(literal, "VARCHAR")
        bare = isinstance(function.parent, exp.Select)
        function.replace(exp.alias_(cast, name, quoted=True) if bare else cast)
    return statement


def session_parameters(statement: exp.Expression) -> exp.Expression:
    """``ALTER SESSION SET QUERY_TAG = …``: taken, and of no effect here."""
    if isinstance(statement, exp.Alter) and statement.args.get("kind") == "SESSION":
        names = {item.this.this.name.upper() for item in statement.find_all(exp.SetItem)}
        if names and "AUTOCOMMIT" not in names:
            nothing: exp.Expression = SUCCESS_NOP.copy()
            return nothing
    return statement


def grant(statement: exp.Expression) -> exp.Expression:
    """``GRANT``: taken, and of no effect here; some of its forms are text to the parser."""
    text = isinstance(statement, exp.Command) and str(statement.this).upper() == "GRANT"
    if text or isinstance(statement, exp.Grant):
        nothing: exp.Expression = SUCCESS_NOP.copy()
        return nothing
    return statement


def drop_stage(
    statement: exp.Expression, database: str | None, schema: str | None
) -> exp.Expression:
    """``DROP STAGE``: its row in fakesnow's list of stages, and its files."""
    if not (isinstance(statement, exp.Drop) and statement.args.get("kind") == "STAGE"):
        return statement
    table = statement.find(exp.Table)
    assert table is not None
    names = (table.catalog or database, table.db or schema, table.name)
    shutil.rmtree(stage.internal_dir(".".join(map(str, names))), ignore_errors=True)
    columns = ("database_name", "schema_name", "name")
    condition = exp.and_(
        *(
            exp.column(column).eq(exp.Literal.string(name))
            for column, name in zip(columns, names, strict=True)
        )
    )
    return exp.delete("_fs_global._fs_information_schema._fs_stages", where=condition)

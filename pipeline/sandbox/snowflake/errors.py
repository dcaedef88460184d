"""What DuckDB raises, as Snowflake would say it.

fakesnow maps the errors it knows and answers HTTP 500 to the others; the connector takes a 500 for
a passing fault and repeats the statement for minutes. So everything else is mapped here.
"""

from __future__ import annotations

import duckdb
import snowflake.connector.errors as sf

from pipeline.sandbox.snowflake.turns import LockTimeout, TransactionAborted

# DuckDB's class, then the code and SQLSTATE that Snowflake gives for the same mistake. First match.
_BY_CLASS: tuple[tuple[type[Exception], int, str], ...] = (
    (duckdb.ConstraintException, 100072, "22000"),  # NULL result in a non-nullable column
    (duckdb.OutOfRangeException, 100038, "22003"),  # numeric value out of range
    (LockTimeout, 625, "57014"),
    (TransactionAborted, 628, "40000"),
    (duckdb.InterruptException, 604, "57014"),  # SQL execution was cancelled
    (duckdb.TransactionException, 625, "57014"),  # lost against another transaction
    (duckdb.CatalogException, 2003, "42S02"),  # does not exist or not authorised
    (duckdb.SyntaxException, 1003, "42000"),
    (duckdb.NotImplementedException, 2040, "0A000"),
)
_JSON = (100069, "22P02")  # Error parsing JSON
_CAST_TO_JSON = "Malformed JSON"
_NO_SUCH_OBJECT = (2043, "02000")
# Snowflake's own bug number: "SQL execution internal error".
_INTERNAL = (603, "XX000")


def as_snowflake(error: Exception) -> sf.Error:
    """The error that Snowflake's client is to see for this one."""
    if isinstance(error, sf.Error):
        if "SET schema: No catalog" in str(
            error.msg
        ):  # USE of a database or schema that is not there
            return _error(
                "Object does not exist, or operation cannot be performed.", _NO_SUCH_OBJECT
            )
        if _CAST_TO_JSON in str(error.msg):
            return _error(f"Error parsing JSON: {error.msg}", _JSON)
        return error
    text = str(error).partition("\n")[0] or type(error).__name__
    if _CAST_TO_JSON in text or (
        isinstance(error, duckdb.InvalidInputException) and "JSON" in text
    ):
        return _error(f"Error parsing JSON: {text}", _JSON)
    for kind, errno, sqlstate in _BY_CLASS:
        if isinstance(error, kind):
            return _error(text, (errno, sqlstate))
    return _error(f"SQL execution internal error: {type(error).__name__}: {text}", _INTERNAL)


def _error(message: str, code: tuple[int, str]) -> sf.ProgrammingError:
    return sf.ProgrammingError(msg=message, errno=code[0], sqlstate=code[1])

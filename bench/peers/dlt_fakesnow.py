"""dlt's Snowflake destination, made to work with fakesnow, which is not Snowflake in two things.

It takes one statement at a time, and the words of PUT and COPY without quotes and commas. The text
of those statements is changed on its way to the real connector; everything else is dlt's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.destinations.impl.snowflake.sql_client import SnowflakeSqlClient

_QUOTED_STAGE = re.compile(r"'(@[^'\s]+)'")
_QUOTED_FOLDER = re.compile(r'/"([^"]+)"')

_QUOTED_OPTION = re.compile(r"=\s*'(\w+)'")

_execute_query = SnowflakeSqlClient.execute_query


def taken(statement: str) -> str:
    """A statement as fakesnow takes it."""
    if "'@" in statement:
        statement = _QUOTED_STAGE.sub(lambda stage: _QUOTED_FOLDER.sub(r"/\1", stage[1]), statement)
    if statement.startswith("COPY INTO"):
        statement = _QUOTED_OPTION.sub(r"= \1", statement).replace(", ", " ")
    return statement


@contextmanager
def _rewritten(self: SnowflakeSqlClient, query: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
    with _execute_query(self, taken(query), *args, **kwargs) as cursor:
        yield cursor


def destination(credentials: str) -> Any:
    """dlt's Snowflake destination.

    Args:
        credentials: its connection string.
    """
    SnowflakeSqlClient.execute_query = _rewritten  # type: ignore[assignment, method-assign]
    return dlt.destinations.snowflake(credentials=credentials, supports_multiple_statements=False)

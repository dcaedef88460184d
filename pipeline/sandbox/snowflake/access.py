"""Who may log in to the sandbox, and what each role may do: so that what is wrong is told apart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import snowflake.connector.errors as sf
from sqlglot import exp

from pipeline.sandbox.snowflake import ACCOUNT, READER_ROLE, ROLE, USER, WAREHOUSE

# What a warehouse runs, besides a SELECT from something.
_COMPUTING = (exp.Merge, exp.Insert, exp.Update, exp.Delete, exp.Copy)
# What a reader is refused; temporary tables and stages need no grant in Snowflake either.
_WRITING = (exp.Merge, exp.Insert, exp.Update, exp.Delete, exp.Alter, exp.TruncateTable)


class Refused(Exception):
    """A login that Snowflake would refuse.

    Args:
        code: Snowflake's code, e.g. ``390100``; empty where there is no such account.
        message: what Snowflake says.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Access:
    """The sandbox's one account.

    Attributes:
        password: the user's; None takes any.
    """

    password: str | None = None

    def login(self, data: dict[str, Any], role: str | None) -> str:
        """Check a login.

        Args:
            data: the connector's login request.
            role: the role asked for.

        Returns:
            The role in force.

        Raises:
            Refused: wrong account, user, password or role.
        """
        if str(data.get("ACCOUNT_NAME", "")).upper() != ACCOUNT:
            raise Refused("", "no such account")
        known = str(data.get("LOGIN_NAME", "")).upper() == USER
        by_password = str(data.get("AUTHENTICATOR", "SNOWFLAKE")).upper() == "SNOWFLAKE"
        if by_password and self.password is not None:
            known = known and data.get("PASSWORD") == self.password
        if not known:
            raise Refused("390100", "Incorrect username or password was specified.")
        role = (role or ROLE).upper()
        if role not in (ROLE, READER_ROLE):
            raise Refused(
                "390189",
                f"Role '{role}' specified in the connect string does not exist or not authorized. "
                "Contact your local system administrator, or attempt to login with another role.",
            )
        return role


def warehouse(name: str | None) -> str | None:
    """The warehouse in force: the user's default if none is named, none if there is none such."""
    return WAREHOUSE if not name or name.upper() == WAREHOUSE else None


def need_warehouse(statement: exp.Expression, current: str | None) -> None:
    """Refuse what a warehouse must run where none is in force.

    Raises:
        snowflake.connector.errors.ProgrammingError: 000606.
    """
    if current is None and (isinstance(statement, _COMPUTING) or statement.find(exp.From)):
        raise sf.ProgrammingError(
            msg="No active warehouse selected in the current session. Select an active warehouse "
            "with the 'use warehouse' command.",
            errno=606,
            sqlstate="57P03",
        )


def check(
    statement: exp.Expression, role: str, schema: str | None, own: Collection[str] = ()
) -> None:
    """Refuse what the role has no grant for.

    Args:
        statement: as the client sent it.
        role: in force.
        schema: in force.
        own: temporary tables of the session: it may do with them what it likes.

    Raises:
        snowflake.connector.errors.ProgrammingError: 003001, as Snowflake says it.
    """
    if role != READER_ROLE:
        return
    table = statement.find(exp.Table)
    if table is not None and table.name in own:
        return
    if isinstance(statement, _WRITING) and statement.args.get("kind") != "SESSION":
        target = f"table '{table.name if table else ''}'"
    elif isinstance(statement, exp.Create) and not _temporary(statement):
        target = f"schema '{schema}'"
    else:
        return
    raise sf.ProgrammingError(
        msg=f"SQL access control error:\nInsufficient privileges to operate on {target}.",
        errno=3001,
        sqlstate="42501",
    )


def _temporary(create: exp.Create) -> bool:
    return create.find(exp.TemporaryProperty) is not None

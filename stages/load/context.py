"""Role, warehouse, database and schema of a session: a login succeeds without most of them.

Snowflake says so only at the first statement that needs one, and not which one was asked for.
"""

from __future__ import annotations

from pipeline.config import Config
from pipeline.errors import NotThere, Unauthorised
from stages.load.failures import WHAT
from stages.load.session import Session


def require(config: Config, session: Session) -> None:
    """Make sure that the session has what the settings name.

    Raises:
        NotThere: all that is missing, and what to do about each.
    """
    found = []
    for probe in (warehouse, database_and_schema):
        try:
            probe(config, session)
        except NotThere as error:
            found.append(error)
    if found:
        problem = "; ".join(error.problem for error in found)
        raise NotThere(WHAT, problem, " - ".join(error.hint for error in found))


def role(config: Config, session: Session) -> str:
    """The role in force.

    Raises:
        Unauthorised: none is.
    """
    current = session.value("SELECT CURRENT_ROLE()")
    if current:
        return str(current)
    user = config.snowflake_user or "<user>"
    hint = f"set SNOWFLAKE_ROLE, or: ALTER USER {user} SET DEFAULT_ROLE = …;"
    raise Unauthorised(WHAT, "the user has no role that could be taken", hint)


def warehouse(config: Config, session: Session) -> str:
    """The warehouse in force.

    Raises:
        NotThere: none is.
    """
    role, current = session.run("SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE()")[0]
    if current:
        return str(current)
    wanted = config.snowflake_warehouse
    if wanted is None:
        hint = f"set SNOWFLAKE_WAREHOUSE, or: ALTER USER {config.snowflake_user or '<user>'} SET "
        raise NotThere(WHAT, "the user has no default warehouse", f"{hint}DEFAULT_WAREHOUSE = …;")
    problem = f"no warehouse {wanted}, or role {role} may not use it"
    hint = f"check SNOWFLAKE_WAREHOUSE, or: GRANT USAGE ON WAREHOUSE {wanted} TO ROLE {role};"
    raise NotThere(WHAT, problem, hint)


def database_and_schema(config: Config, session: Session) -> str:
    """Database and schema in force, with a dot between them.

    Raises:
        NotThere: one of them is not.
    """
    return f"{database(config, session)}.{schema(config, session)}"


def database(config: Config, session: Session) -> str:
    """The database in force.

    Raises:
        NotThere: none is.
    """
    role, current = session.run("SELECT CURRENT_ROLE(), CURRENT_DATABASE()")[0]
    if current:
        return str(current)
    wanted = config.snowflake_database
    problem = f"no database {wanted}, or role {role} may not use it"
    hint = f"check SNOWFLAKE_DATABASE, or: GRANT USAGE ON DATABASE {wanted} TO ROLE {role};"
    raise NotThere(WHAT, problem, hint)


def schema(config: Config, session: Session) -> str:
    """The schema in force.

    Raises:
        NotThere: none is.
    """
    role, current = session.run("SELECT CURRENT_ROLE(), CURRENT_SCHEMA()")[0]
    if current:
        return str(current)
    name = f"{config.snowflake_database}.{config.snowflake_schema}"
    problem = f"no schema {name}, or role {role} may not use it"
    hint = f"CREATE SCHEMA {name}; or: GRANT USAGE ON SCHEMA {name} TO ROLE {role};"
    raise NotThere(WHAT, problem, hint)

"""A session with Snowflake: opened with bounded waits, its errors told apart."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.https import KEEP_ALIVE
from stages.load import connector, failures
from stages.load.credentials import login_arguments
from stages.load.reach import reach
from stages.load.rotation import ROTATION
from stages.load.tag import query_tag, tag_sql

# No login is tried again after this; one attempt takes LOGIN_SOCKET_LIMIT_S at most.
LOGIN_LIMIT_S = 10
LOGIN_SOCKET_LIMIT_S = 15
# Snowflake answers a long statement with "in progress" after 45 s: less would cut statements off.
STATEMENT_SOCKET_LIMIT_S = 60
# How long the connector repeats a request that fails on the way. It has no end by default.
NETWORK_LIMIT_S = 60
# To say that a session is over. It ends by itself too, and the next one is not to wait for it.
CLOSE_SOCKET_LIMIT_S = 5
# The longest a statement may run, and wait for a lock, in Snowflake itself (there 2 days and 12 h).
STATEMENT_LIMIT_S = 1800
LOCK_LIMIT_S = 600

# The connector has no setting for it, and one list for all of its connections.
connector.HTTPConnection.default_socket_options.extend(KEEP_ALIVE)
# Its warnings say again what its exceptions say, on standard error and without our ids.
logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)


class Session:
    """One open session. Not for more than one thread.

    Args:
        connection: the connector's connection, logged in.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @property
    def session_id(self) -> int | None:
        """Snowflake's id of the session, as the login has told it; None if it has not."""
        told = str(self.connection.session_id)
        return int(told) if told.isdigit() else None

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement and fetch all it answers.

        Raises:
            Unreachable: the way, the session or the turn was lost; try again on a new session.
            Unauthorised, NotThere, DependencyError: it was refused.
        """
        return self.table(sql)[1]

    def table(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one statement; return column names and rows. Raises as :meth:`run`."""
        try:
            with self.connection.cursor() as cursor:
                rows = list(cursor.execute(sql).fetchall())
                return [column.name for column in cursor.description], rows
        except Exception as error:
            if not failures.is_connector_error(error):
                raise
            raise failures.statement_error(error) from error

    def value(self, sql: str) -> Any:
        """The first column of the first row."""
        return self.run(sql)[0][0]

    def tag(self, batch_ids: Sequence[str]) -> None:
        """Name the batches that what follows is for. Raises as :meth:`run`."""
        self.run(tag_sql(query_tag(batch_ids)))

    def alive(self) -> bool:
        """Whether Snowflake answers and knows the session. No warehouse runs for it."""
        return bool(self.connection.is_valid())

    def close(self) -> None:
        """End the session; what it has not committed is rolled back. Never fails."""
        # The server ends a session it hears nothing of anyway.
        with contextlib.suppress(Exception):
            self.connection._socket_timeout = CLOSE_SOCKET_LIMIT_S
            self.connection.close(retry=False)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(config: Config) -> Session:
    """Log in to Snowflake; once more if the secret is refused and the vault has a newer one.

    Returns:
        A session in autocommit mode. A database, schema or warehouse that does not exist is no
        error of the login: it shows at the first statement that needs it.

    Raises:
        ConfigError: a setting is missing or the private key cannot be read.
        Unreachable: no answer.
        NotThere: no such host or account.
        Unauthorised: the identity, its role or this host's address is refused.
    """
    config = ROTATION.newest(config)
    try:
        return _log_in(config)
    except failures.SecretRefused:
        newer = ROTATION.read_again(config, time.monotonic())
        if newer is None:
            raise
    return _log_in(newer)


def _log_in(config: Config) -> Session:
    try:
        arguments = _arguments(config)
    except ConfigError as error:
        if not ROTATION.proven:
            raise
        # It could be read before: somebody is replacing it. What waits to be loaded can wait.
        hint = "put it right: it is read again at the next login"
        raise failures.SecretRefused(failures.WHAT, str(error), hint) from error
    reach(config)
    try:
        connection = connector.connect(**arguments)
    except Exception as error:
        if not failures.is_connector_error(error):
            raise
        raise failures.login_error(error) from error
    ROTATION.proven = True
    connection.telemetry_enabled = False
    # The login's limit is shorter than a statement's, and the connector has one setting for both.
    connection._socket_timeout = STATEMENT_SOCKET_LIMIT_S
    connection._cancel_query = _not_cancelled
    return Session(connection)


def _not_cancelled(*_: Any) -> dict[str, Any]:
    """Let a statement run on.

    The connector takes ``network_timeout`` for two things: how long a failing request is repeated,
    and after how long a statement that runs well is aborted. A load that takes longer, or waits
    that long for another one's MERGE, would be aborted each time it is tried. Snowflake itself has
    our limits for statements.
    """
    return {}


def _arguments(config: Config) -> dict[str, Any]:
    wanted = {
        "user": config.snowflake_user,
        "role": config.snowflake_role,
        "warehouse": config.snowflake_warehouse,
        "database": config.required("snowflake_database"),
        "schema": config.required("snowflake_schema"),
        "host": config.snowflake_host,
        "port": config.snowflake_port,
        "protocol": config.snowflake_protocol,
    }
    return {
        **{name: value for name, value in wanted.items() if value is not None},
        **login_arguments(config),
        "account": config.required("snowflake_account"),
        "application": "azure_collector",
        "autocommit": True,
        "login_timeout": LOGIN_LIMIT_S,
        "socket_timeout": LOGIN_SOCKET_LIMIT_S,
        "network_timeout": NETWORK_LIMIT_S,
        "client_session_keep_alive": False,
        # Else each login asks three clouds' metadata services where it runs, for telemetry.
        "platform_detection_timeout_seconds": 0.0,
        "log_imported_packages_in_telemetry": False,
        "session_parameters": {
            "QUERY_TAG": query_tag(),
            "CLIENT_TELEMETRY_ENABLED": False,
            # Times are staged without a zone's name; the session's would be taken for it.
            "TIMEZONE": "UTC",
            "STATEMENT_TIMEOUT_IN_SECONDS": STATEMENT_LIMIT_S,
            "LOCK_TIMEOUT": LOCK_LIMIT_S,
            # A statement whose client is gone ends by itself instead of holding the table.
            "ABORT_DETACHED_QUERY": True,
        },
    }

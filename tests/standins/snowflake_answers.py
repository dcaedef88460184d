"""What Snowflake answers when it refuses a statement or a session, as clients see it on the wire.

All but one come with HTTP status 200; ``success`` and ``code`` tell. Codes of sessions are the
connector's own constants (``snowflake/connector/network.py``, 4.8); those of statements and the
others of logins are from Snowflake's documentation and from what its users have reported, e.g.
dbt_artifacts #431 for 000625 and appsmith #39303 for the words of 090073. The fields are those that
the connectors for Python and Go read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

QUERY_ID = "01b43b22-0509-2fce-0003-29019743c13b"


@dataclass(frozen=True)
class Refusal:
    """One answer that is none.

    Attributes:
        code: Snowflake's, six digits.
        sqlstate: of statements; sessions have none.
        message: what Snowflake says.
        ends: what is over with it: nothing, the ``token`` of the session, which the master token
            renews, or the ``session`` and with it its transaction and temporary objects.
        status: of HTTP.
    """

    code: str
    message: str
    sqlstate: str = ""
    ends: Literal["", "token", "session"] = ""
    status: int = 200

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        data: dict[str, Any] | None = None
        if not self.ends:
            data = {
                "internalError": False,
                "errorCode": self.code,
                "age": 0,
                "sqlState": self.sqlstate,
                "queryId": QUERY_ID,
                "line": -1,
                "pos": -1,
                "type": "COMPILATION",
            }
        return {
            "data": data,
            "code": self.code,
            "message": self.message,
            "success": False,
            "headers": None,
        }


def _session(code: str, message: str) -> Refusal:
    return Refusal(code, message, ends="session")


SESSION_TOKEN_EXPIRED = Refusal(
    "390112", "Your session has expired. Please login again.", ends="token"
)
SESSION_TOKEN_INVALID = _session("390104", "Session token is invalid.")
SESSION_GONE = _session(
    "390111", "Session no longer exists. New login required to access the service."
)
MASTER_TOKEN_EXPIRED = _session(
    "390114", "Authentication token has expired. The user must authenticate again."
)
# What a gateway says in its place; the connector makes 290401 of it.
NOT_LOGGED_IN = Refusal("390101", "Authorization header not found.", ends="session", status=401)

WRONG_PASSWORD = Refusal("390100", "Incorrect username or password was specified.")
JWT_INVALID = Refusal("390144", "JWT token is invalid.")
OAUTH_TOKEN_INVALID = Refusal("390303", "Invalid OAuth access token.")
OAUTH_TOKEN_EXPIRED = Refusal("390318", "OAuth access token expired.")
PAT_INVALID = Refusal("394400", "Programmatic access token is invalid.")
NETWORK_POLICY = Refusal(
    "390422",
    "Incoming request with IP/Token 203.0.113.9 is not allowed to access Snowflake. Contact your "
    "account administrator.",
)

CANCELLED = Refusal("000604", "SQL execution canceled", "57014")
NO_WAREHOUSE = Refusal(
    "000606",
    "No active warehouse selected in the current session. Select an active warehouse with the "
    "'use warehouse' command.",
    "57P03",
)
TOO_MANY_WAITERS = Refusal(
    "000625",
    f"Statement '{QUERY_ID}' has locked table 'RESOURCES' in transaction 1715330074481000000 and "
    f"this lock has not yet been released.\nYour statement '{QUERY_ID}' was aborted because the "
    "number of waiters for this lock exceeds the 20 statements limit.",
    "57014",
)
STATEMENT_TIMEOUT = Refusal(
    "000630",
    "Statement reached its statement or warehouse timeout of 1,800 second(s) and was canceled.",
    "57014",
)
NO_RESUME = Refusal(
    "090073",
    "Warehouse 'LOADING' cannot be resumed because resource monitor 'LIMIT' has exceeded its "
    "quota.",
    "22000",
)
TABLE_NOT_THERE = Refusal(
    "002003",
    "SQL compilation error:\nObject 'RESOURCES' does not exist or not authorized.",
    "42S02",
)


def insufficient(target: str) -> Refusal:
    """A missing privilege.

    Args:
        target: as Snowflake names it, e.g. ``schema 'COLLECTOR'``.
    """
    message = f"SQL access control error:\nInsufficient privileges to operate on {target}."
    return Refusal("003001", message, "42501")


def renewed(session_token: str, master_token: str) -> dict[str, Any]:
    """The answer to ``/session/token-request``, by which a session token is renewed."""
    return {
        "data": {
            "sessionToken": session_token,
            "validityInSecondsST": 3600,
            "masterToken": master_token,
            "validityInSecondsMT": 14400,
        },
        "message": None,
        "code": None,
        "success": True,
    }

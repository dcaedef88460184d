"""What the connector raises, as the collector's errors: who can mend it, and how.

``Unreachable`` is worth another try on a new session; the others need a person. Codes are
Snowflake's, from its documentation and the connector's own constants (``network.py``, 4.8).
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.disk import is_full
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from stages.load.connector import RequestException
from stages.load.connector import errors as sf

WHAT = "Snowflake"

# A row's JSON that PARSE_JSON does not take.
NOT_JSON = 100069
# It does not exist, or is not for this role to see.
NO_SUCH_OBJECT = (2003, 2043)
# "No active warehouse selected in the current session."
NO_WAREHOUSE = 606

_TEXT_LIMIT_CHARS = 400


class SecretRefused(Unauthorised):
    """A login whose key, token or password is not, or no longer, the right one."""


class _Meaning(NamedTuple):
    kind: type[DependencyError]
    hint: str


_ACCOUNT = _Meaning(
    NotThere, "there is no such account here: check SNOWFLAKE_ACCOUNT and SNOWFLAKE_HOST"
)
_IDENTITY = _Meaning(
    SecretRefused,
    "check SNOWFLAKE_USER and its key, token or password; a public key is set with "
    "ALTER USER … SET RSA_PUBLIC_KEY = '…'",
)
_EXPIRED = _Meaning(
    SecretRefused, "the token has expired or was revoked: get a new SNOWFLAKE_TOKEN"
)
_NETWORK_POLICY = _Meaning(
    Unauthorised, "a network policy of the account refuses this host's address"
)
_ROLE = _Meaning(Unauthorised, "check SNOWFLAKE_ROLE, or: GRANT ROLE <role> TO USER <user>;")
GRANT_HINT = "the role lacks a grant: azure-collector test-snowflake says which"
_GRANT = _Meaning(Unauthorised, GRANT_HINT)
_OBJECT = _Meaning(
    NotThere,
    "check SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA, and that the role has USAGE on both; "
    "azure-collector init-snowflake creates the tables",
)
_WAREHOUSE = _Meaning(
    NotThere,
    "check SNOWFLAKE_WAREHOUSE, or: GRANT USAGE ON WAREHOUSE <warehouse> TO ROLE <role>;",
)
_NO_RESUME = _Meaning(
    NotThere, "raise the quota of its resource monitor, or name another SNOWFLAKE_WAREHOUSE"
)
_SESSION = _Meaning(Unreachable, "the session has ended; a new one is opened")
# The one thing that is created without OR REPLACE or IF NOT EXISTS is write_pandas's stage, and its
# name is random.
_REPEATED = _Meaning(Unreachable, "a statement was repeated as its answer was lost; it begins anew")
_BUSY = _Meaning(Unreachable, "other statements hold the table; it is tried again")
_CUT_OFF = _Meaning(Unreachable, "Snowflake has ended the statement; it is tried again")

_LOGIN_CODES: dict[int, _Meaning] = {
    290404: _ACCOUNT,
    390189: _ROLE,
    390186: _ROLE,
    390422: _NETWORK_POLICY,
    390420: _NETWORK_POLICY,
    **dict.fromkeys((390303, 390318, 394301, 394302, 394303, 394400), _EXPIRED),
    **dict.fromkeys((390100, 390101, 390144, 394300, 394304, 394305, 394306), _IDENTITY),
    **dict.fromkeys((251005, 251006, 251008, 251018), _IDENTITY),
}
# Where Snowflake's codes of refused logins and tokens are.
_REFUSED_LOGINS = range(390000, 396000)
_STATEMENT_CODES: dict[int, _Meaning] = {
    # 390112 is renewed by the connector; when it is seen here, that failed.
    **dict.fromkeys(
        (390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195, 390303, 390318, 290401),
        _SESSION,
    ),
    **dict.fromkeys((625, 626, 628), _BUSY),
    **dict.fromkeys((603, 604, 630), _CUT_OFF),
    2002: _REPEATED,
    **dict.fromkeys((3001, 3041), _GRANT),
    90073: _NO_RESUME,
    NO_WAREHOUSE: _WAREHOUSE,
    **dict.fromkeys((*NO_SUCH_OBJECT, 90105, 90106), _OBJECT),
}
_NO_ANSWER = _Meaning(Unreachable, "check the network, proxy and SNOWFLAKE_HOST")
_FULL_DISK = _Meaning(Unreachable, "the disk for temporary files is full: make room, or set TMPDIR")
_OTHER = _Meaning(DependencyError, "")


def login_error(error: Exception) -> DependencyError:
    """What a failed login means."""
    if isinstance(error, sf.ForbiddenError):  # Snowflake's front end knows no such account
        return _ACCOUNT.kind(WHAT, _text(error), _ACCOUNT.hint)
    code = code_of(error)
    # The connector's class says that the connection failed; the code, that there was an answer.
    if code in _REFUSED_LOGINS and code not in _LOGIN_CODES:
        return Unauthorised(WHAT, _text(error), "Snowflake refuses the login")
    return _as(error, _LOGIN_CODES)


def statement_error(error: Exception) -> DependencyError:
    """What a failed statement or upload means."""
    return _as(error, _STATEMENT_CODES)


def is_connector_error(error: Exception) -> bool:
    """Whether it is about Snowflake or the way there, rather than a bug of ours."""
    return isinstance(error, (sf.Error, RequestException, OSError))


def code_of(error: BaseException | None) -> int | None:
    """Snowflake's code of an error, also of one that was raised from a connector's."""
    while error is not None:
        if isinstance(error, sf.Error):
            return error.errno if isinstance(error.errno, int) else None
        error = error.__cause__
    return None


def _as(error: Exception, codes: dict[int, _Meaning]) -> DependencyError:
    kind, hint = codes.get(code_of(error) or 0) or _by_kind(error)
    return kind(WHAT, _text(error), hint)


def _by_kind(error: Exception) -> _Meaning:
    if isinstance(error, OSError) and is_full(error):  # write_pandas writes Parquet files
        return _FULL_DISK
    state = str(getattr(error, "sqlstate", "") or "")
    if state == "28000":
        return _IDENTITY
    no_answer = (sf.OperationalError, sf.InterfaceError, RequestException, OSError)
    if isinstance(error, no_answer) or state.startswith("08"):
        return _NO_ANSWER
    # HTTP errors that the connector gave up on; ProgrammingError and its like are statements.
    if isinstance(error, sf.Error) and not isinstance(error, sf.DatabaseError):
        return _NO_ANSWER
    return _OTHER


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:_TEXT_LIMIT_CHARS] or type(error).__name__

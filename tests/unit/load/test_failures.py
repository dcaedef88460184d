"""Snowflake's codes as the collector's errors: retryable, or for a person with a hint."""

from __future__ import annotations

import pickle

import pytest
import snowflake.connector.errors as sf
from snowflake.connector.vendored.requests.exceptions import ConnectTimeout

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from stages.load.failures import (
    SecretRefused,
    code_of,
    is_connector_error,
    login_error,
    statement_error,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sf.HttpError(msg="404", errno=290404, sqlstate="08001"), NotThere),
        (sf.ForbiddenError(msg="verify the account name", errno=250001), NotThere),
        (sf.DatabaseError(msg="no", errno=390100, sqlstate="28000"), SecretRefused),
        (sf.DatabaseError(msg="jwt", errno=390144, sqlstate="28000"), SecretRefused),
        (sf.DatabaseError(msg="token", errno=394400, sqlstate="08001"), SecretRefused),
        (sf.DatabaseError(msg="role", errno=390189, sqlstate="08001"), Unauthorised),
        (sf.DatabaseError(msg="expired", errno=390318, sqlstate="08001"), SecretRefused),
        (sf.DatabaseError(msg="policy", errno=390422, sqlstate="08001"), Unauthorised),
        (sf.DatabaseError(msg="new reason", errno=390999, sqlstate="08001"), Unauthorised),
        (sf.DatabaseError(msg="new code", errno=399999, sqlstate="28000"), SecretRefused),
        (sf.OperationalError(msg="no", errno=250001), Unreachable),
        (OSError("broken"), Unreachable),
    ],
)
def test_a_login_error(error: Exception, kind: type[DependencyError]) -> None:
    meant = login_error(error)
    assert type(meant) is kind
    assert meant.hint


@pytest.mark.parametrize("code", [390104, 390111, 390112, 390114, 390115, 390195, 390318, 290401])
def test_a_lost_session_is_retryable(code: int) -> None:
    assert statement_error(sf.ProgrammingError(msg="gone", errno=code)).retryable


@pytest.mark.parametrize(
    "error",
    [
        sf.InternalServerError(errno=500),
        sf.ServiceUnavailableError(errno=503),
        sf.OperationalError(msg="time-out", errno=250003),
        sf.InterfaceError(msg="no answer", errno=250003),
        sf.DatabaseError(msg="closed", errno=250002, sqlstate="08003"),
        sf.ProgrammingError(msg="too many waiters", errno=625, sqlstate="57014"),
        sf.ProgrammingError(msg="timed out", errno=630, sqlstate="57014"),
        sf.ProgrammingError(msg="internal error", errno=603, sqlstate="XX000"),
        ConnectTimeout("upload"),
        TimeoutError("upload"),
    ],
)
def test_a_lost_way_or_turn_is_retryable(error: Exception) -> None:
    assert type(statement_error(error)) is Unreachable


@pytest.mark.parametrize(
    ("code", "state", "kind"),
    [
        (3001, "42501", Unauthorised),
        (3041, "42710", Unauthorised),
        (90073, "22000", NotThere),
        (606, "57P03", NotThere),
        (2003, "42S02", NotThere),
        (2043, "02000", NotThere),
        (90105, "22000", NotThere),
        (90106, "22000", NotThere),
        (1003, "42000", DependencyError),
        (100072, "22000", DependencyError),
    ],
)
def test_a_refusal_is_not_tried_again(code: int, state: str, kind: type[DependencyError]) -> None:
    meant = statement_error(sf.ProgrammingError(msg="no", errno=code, sqlstate=state))
    assert type(meant) is kind
    assert not meant.retryable


def test_a_bug_is_not_taken_for_an_error_of_snowflake() -> None:
    assert not is_connector_error(KeyError("x"))
    assert is_connector_error(sf.ProgrammingError(msg="no", errno=1003))


def test_the_code_is_found_behind_our_own_error() -> None:
    error = sf.ProgrammingError(msg="not JSON", errno=100069)
    with pytest.raises(DependencyError) as caught:
        raise statement_error(error) from error
    assert code_of(caught.value) == 100069
    assert code_of(ValueError("x")) is None


def test_a_text_is_one_line_of_bounded_length_and_survives_pickling() -> None:
    meant = statement_error(sf.ProgrammingError(msg="a\nb " * 1000, errno=1003, sqlstate="42000"))
    assert "\n" not in meant.problem
    assert len(meant.problem) <= 400
    assert str(pickle.loads(pickle.dumps(meant))) == str(meant)

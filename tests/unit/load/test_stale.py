"""Which transactions a lost session has left, and what needs no new look."""

from __future__ import annotations

import pytest

from stages.load.note import Noted
from stages.load.proof import PROOF_LIMIT_S, fingerprint, holds
from stages.load.stale import transactions_of
from tests.unit.config_read import read

COLUMNS = ["id", "user", "session", "name", "started_on", "state", "scope"]
NOW_S = 1_795_408_606.0


def row(transaction: int | str, session: int | str) -> list[object]:
    return [transaction, "COLLECTOR", session, "a-name", None, "running", 0]


def test_only_transactions_of_exactly_these_sessions() -> None:
    rows = [row(1, 10), row(2, 100), row(3, 20), row(4, 10)]
    assert transactions_of(COLUMNS, rows, (10, 20)) == [1, 3, 4]
    assert transactions_of(COLUMNS, rows, (1, 4)) == []
    assert transactions_of(COLUMNS, [], (10,)) == []


def test_columns_are_found_by_name_and_numbers_may_be_text() -> None:
    assert transactions_of(["SESSION", "ID"], [["10", "1"], ["11", "2"]], (10,)) == [1]


def test_an_answer_of_another_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="session"):
        transactions_of(["id"], [[1]], (10,))


@pytest.mark.parametrize(
    ("checked", "age_s", "good"),
    [
        ("same", 0.0, True),
        ("same", PROOF_LIMIT_S, True),
        ("same", PROOF_LIMIT_S + 1, False),
        ("same", -1.0, False),
        ("other", 0.0, False),
        ("", 0.0, False),
    ],
)
def test_a_check_holds_for_a_while_and_for_its_settings(
    checked: str, age_s: float, good: bool
) -> None:
    noted = Noted(checked=checked, proven_s=NOW_S - age_s)
    assert holds(noted, "same", NOW_S) is good


def test_other_settings_are_another_matter() -> None:
    settings = {"SNOWFLAKE_ACCOUNT": "a", "SNOWFLAKE_DATABASE": "d", "SNOWFLAKE_SCHEMA": "s"}
    same = fingerprint(read(settings))
    assert same == fingerprint(read(settings | {"BATCH_SIZE": "7"}))
    for name in ("ACCOUNT", "DATABASE", "SCHEMA", "ROLE", "WAREHOUSE", "USER", "HOST"):
        assert same != fingerprint(read(settings | {f"SNOWFLAKE_{name}": "other"}))

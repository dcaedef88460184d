"""A check's line and what becomes of an error in it."""

from __future__ import annotations

import pytest

from pipeline.checks import timed
from pipeline.errors import ConfigError, NotThere


def test_a_check_that_passes() -> None:
    check = timed("login", lambda: "user U")
    assert (check.name, check.ok, check.detail, check.hint) == ("login", True, "user U", "")
    assert check.elapsed_s >= 0
    assert check.line().startswith("ok     login ")


def test_a_failed_dependency_gives_its_hint() -> None:
    def probe() -> str:
        raise NotThere("Snowflake", "no warehouse W", "GRANT USAGE …")

    check = timed("warehouse", probe)
    assert (check.ok, check.detail, check.hint) == (False, "no warehouse W", "GRANT USAGE …")
    assert check.line().splitlines()[1] == "       -> GRANT USAGE …"


def test_a_wrong_setting_fails_the_check() -> None:
    def probe() -> str:
        raise ConfigError(["X: not set"])

    check = timed("login", probe)
    assert (check.ok, check.detail) == (False, "X: not set")


def test_a_bug_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        timed("login", lambda: str(1 / 0))

"""How long an answer asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.execute.waits import (
    MAX_RETRY_AFTER_S,
    backoff_s,
    quota_reset_s,
    retry_after_s,
    whole_number,
)

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0.0),
        ("17", 17.0),
        ("1.5", 1.5),
        (" 5 ", 5.0),
        ("99999999", MAX_RETRY_AFTER_S),
        ("Sun, 22 Nov 2026 08:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 07:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 08:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2099 08:00:30 GMT", MAX_RETRY_AFTER_S),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Sun, 99 Nov 2026 08:00:30 GMT", None),
        ("Sun, 22 Nov 99999999999999999999 08:00:30 GMT", None),
        ("\xb2", None),
    ],
)
def test_retry_after(value: str, wait_s: float | None) -> None:
    assert retry_after_s({"retry-after": value}, NOW) == wait_s


@pytest.mark.parametrize("name", ["retry-after-ms", "x-ms-retry-after-ms"])
def test_milliseconds_go_first(name: str) -> None:
    assert retry_after_s({name: "250", "retry-after": "9"}, NOW) == 0.25
    assert retry_after_s({name: "x", "retry-after": "9"}, NOW) == 9.0


def test_no_header_no_wait() -> None:
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("00:00:05", 5.0),
        ("00:01:01", 61.0),
        ("99:00:00", MAX_RETRY_AFTER_S),
        ("5", None),
        ("00:05", None),
        ("a:b:c", None),
        ("00:00:-5", None),
        ("00:00:\xb2", None),
        ("00:00:" + "9" * 5000, None),
    ],
)
def test_quota_reset(value: str, wait_s: float | None) -> None:
    assert quota_reset_s({"x-ms-user-quota-resets-after": value}) == wait_s


@given(st.text(max_size=40))
def test_no_header_value_raises(value: str) -> None:
    headers = {"retry-after": value, "x-ms-user-quota-resets-after": value}
    for wait_s in (retry_after_s(headers, NOW), quota_reset_s(headers)):
        assert wait_s is None or 0.0 <= wait_s <= MAX_RETRY_AFTER_S
    whole_number(value)


@given(st.lists(st.integers(0, 10**12).map(str) | st.sampled_from(["Nov", "Sun,", "GMT", "+99999999999", ":"]), max_size=9))  # fmt: skip  # noqa: E501
def test_no_date_raises(words: list[str]) -> None:
    retry_after_s({"retry-after": " ".join(words)}, NOW)


@given(st.integers(1, 100), st.floats(0, 3600))
def test_back_off_stays_between_zero_and_its_end(retry: int, initial_s: float) -> None:
    assert 0.0 <= backoff_s(initial_s, retry, 30.0) <= min(30.0, initial_s * 2.0 ** (retry - 1))

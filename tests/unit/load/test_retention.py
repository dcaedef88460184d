"""Which history goes, and in which steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from stages.load.retention import SWEEPS, Step, count_sql, delete_sql, limit_of, steps_of

NOW = datetime(2026, 11, 20, 12, 30, 45, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY_S = 86_400
SWEEP = SWEEPS[0]


def hour(day: int, of_day: int) -> datetime:
    return datetime(2026, 1, day, of_day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "window_s", "limit"),
    [
        (30, 7 * DAY_S, datetime(2026, 10, 21, 12, tzinfo=UTC)),
        (3, 7 * DAY_S, datetime(2026, 11, 13, 12, tzinfo=UTC)),
        (3, 0, datetime(2026, 11, 17, 12, tzinfo=UTC)),
        (1, 2 * DAY_S + 1_800, datetime(2026, 11, 18, 12, tzinfo=UTC)),
        (1, 2 * DAY_S + 3_600, datetime(2026, 11, 18, 11, tzinfo=UTC)),
    ],
)
def test_what_a_load_still_looks_for_stays_however_few_days_are_kept(
    days: int, window_s: float, limit: datetime
) -> None:
    assert limit_of(NOW, days, window_s) == limit


def test_nothing_goes_unless_days_are_given() -> None:
    with pytest.raises(ConfigError, match="RETENTION_DAYS is 0"):
        limit_of(NOW, 0, DAY_S)


def test_hours_are_joined_within_a_day_up_to_so_many_rows() -> None:
    hours = [(hour(1, 0), 4), (hour(1, 5), 4), (hour(1, 6), 4), (hour(2, 0), 1), (hour(3, 1), 99)]
    assert list(steps_of(SWEEP, hours, 10)) == [
        Step(SWEEP, hour(1, 0), hour(1, 6), 8),
        Step(SWEEP, hour(1, 6), hour(1, 7), 4),
        Step(SWEEP, hour(2, 0), hour(2, 1), 1),
        Step(SWEEP, hour(3, 1), hour(3, 2), 99),
    ]
    assert list(steps_of(SWEEP, [])) == []


@given(st.dictionaries(st.integers(0, 24 * 60), st.integers(1, 20)), st.integers(1, 40))
def test_every_hour_is_in_one_step_and_steps_go_forward(
    counted: dict[int, int], step_rows: int
) -> None:
    hours = [(hour(1, 0) + HOUR * at, rows) for at, rows in sorted(counted.items())]
    steps = list(steps_of(SWEEP, hours, step_rows))
    assert sum(step.rows for step in steps) == sum(counted.values())
    for start, _ in hours:
        assert sum(step.start <= start and start + HOUR <= step.end for step in steps) == 1
    for one, after in pairwise(steps):
        assert one.end <= after.start
    for step in steps:
        assert step.end - step.start <= timedelta(days=1)
        assert step.rows <= step_rows or step.end - step.start == HOUR


@pytest.mark.parametrize("sweep", SWEEPS, ids=str)
def test_each_statement_is_bounded_in_time(sweep: object) -> None:
    assert "< '2026-01-01T00:00:00+00:00'::TIMESTAMP_TZ" in count_sql(sweep, hour(1, 0))
    deleting = delete_sql(Step(sweep, hour(1, 0), hour(1, 3), 1))
    assert ">= '2026-01-01T00:00:00+00:00'::TIMESTAMP_TZ" in deleting
    assert "< '2026-01-01T03:00:00+00:00'::TIMESTAMP_TZ" in deleting

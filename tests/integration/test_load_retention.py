"""Old history goes, with the real connector; the newest row of each resource stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.errors import ConfigError
from stages.load import commands, retention
from stages.load.loader import Loader
from stages.load.pruning import EVERY_S, NAME, Pruning
from stages.load.session import Session, connect
from tests.integration.snowflake_fixture import SnowflakeServer, batch, request, resource, server

__all__ = ["server"]

NOW = datetime.now(UTC)
DAYS = 30
# Rows of a resource, by key: how many days old. Those in KEPT stay.
VMS = {
    "/VM/1": {"a-90": 90.0, "a-60": 60.0, "a-1": 1.0},
    "/vm/1": {"a-40": 40.0},
    "/vm/gone": {"b-91": 91.0, "b-90": 90.0},
    "/vm/twice": {"c-80": 80.0, "c-80-too": 80.0},
    "/vm/new": {"d-29": 29.0, "d-0": 0.0},
}
NAMELESS = {"n-50": 50.0, "n-2": 2.0}
GONE = {"a-90", "a-60", "a-40", "b-91", "n-50"}
KEPT = {key for rows in (*VMS.values(), NAMELESS) for key in rows} - GONE


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def session(server: SnowflakeServer, tmp_path: Path) -> Iterator[Session]:
    """Tables with these rows."""
    commands.init_snowflake(server.config())
    with connect(server.config()) as session:
        for table in ("RESOURCES", "REQUESTS", "REJECTED_ROWS"):
            session.run(f'DELETE FROM "{table}"')
        rows = [
            resource(key, RESOURCE_ID=name, ENQUEUED_AT=ago(days), COLLECTED_AT=ago(days))
            for name, keys in [*VMS.items(), (None, NAMELESS)]
            for key, days in keys.items()
        ]
        ledger = [
            request(f"m-{days}", ENQUEUED_AT=ago(days), COMPLETED_AT=ago(days))
            for days in (90, 31, 29, 0)
        ]
        loader = Loader(server.config(SPOOL_DIR=str(tmp_path)))
        loader.load([batch(rows, ledger)])
        loader.close()
        yield session


def settings(server: SnowflakeServer, folder: Path, **changes: str) -> Config:
    given = {"RETENTION_DAYS": str(DAYS), "SPOOL_DIR": str(folder), **changes}
    return server.config(**given)


def keys(session: Session) -> set[str]:
    return {str(row[0]) for row in session.run('SELECT "ROW_KEY" FROM "RESOURCES"')}


def messages(session: Session) -> list[str]:
    return sorted(str(row[0]) for row in session.run('SELECT "MESSAGE_ID" FROM "REQUESTS"'))


def latest(session: Session) -> list[tuple[Any, ...]]:
    return session.run(
        'SELECT LOWER("RESOURCE_ID"), "ROW_KEY" FROM "RESOURCES_LATEST" ORDER BY 1, 2'
    )


def test_a_dry_run_counts_and_deletes_nothing_then_the_command_does_it(
    session: Session, server: SnowflakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, config = latest(session), settings(server, tmp_path)
    assert commands.prune(config, dry_run=True) == 0
    said = capsys.readouterr().out
    assert "RESOURCES         5 rows would be deleted of 5 days" in said
    assert "REQUESTS          2 rows would be deleted of 2 days" in said
    assert keys(session) == KEPT | GONE
    assert commands.prune(config) == 0
    assert "RESOURCES         5 rows deleted" in capsys.readouterr().out
    assert keys(session) == KEPT
    assert messages(session) == ["m-0", "m-29"]
    assert latest(session) == before
    assert commands.prune(config) == 0
    assert "RESOURCES         0 rows deleted\n" in capsys.readouterr().out


def test_the_window_in_which_rows_are_looked_for_is_kept_too(
    session: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    commands.prune(settings(server, tmp_path, DEDUPE_WINDOW=str(70 * 86_400)))
    assert GONE & keys(session) == {"a-60", "a-40", "n-50"}
    assert messages(session) == ["m-0", "m-29", "m-31"]


def test_nothing_is_asked_of_snowflake_unless_days_are_given(
    server: SnowflakeServer, tmp_path: Path
) -> None:
    config = settings(server, tmp_path, RETENTION_DAYS="0", SNOWFLAKE_PORT="1")
    with pytest.raises(ConfigError, match="RETENTION_DAYS is 0"):
        commands.prune(config)
    assert not Pruning(config).due(time.time())


def test_two_collectors_at_once_do_no_harm(
    session: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    before = latest(session)
    both = [Pruning(settings(server, tmp_path / name)) for name in ("a", "b")]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    now_s = time.time()
    while any(one.due(now_s) for one in both):
        for one in both:
            if one.due(now_s):
                one.step(now_s)
    assert keys(session) == KEPT
    assert latest(session) == before


def test_a_collector_does_it_once_a_day_one_small_step_at_a_time(
    session: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    config, now_s, left = settings(server, tmp_path), time.time(), [len(GONE)]
    pruning = Pruning(config)
    while pruning.due(now_s):
        pruning.step(now_s)
        left.append(len(keys(session) & GONE))
    assert left == sorted(left, reverse=True)
    assert (left[1], left[-1]) == (len(GONE), 0), "the first step only counts"
    assert len(set(left)) >= 4
    assert (tmp_path / NAME).exists()
    # Neither does the next process of this collector, until a day is over.
    assert not Pruning(config).due(now_s + 60)
    assert Pruning(config).due(now_s + EVERY_S + 60)
    assert Pruning(config).due(now_s - 7 * EVERY_S), "a clock that was set back does not end it"


def test_one_that_is_stopped_takes_no_further_step(
    session: Session, server: SnowflakeServer, tmp_path: Path
) -> None:
    pruning = Pruning(settings(server, tmp_path))
    pruning.step(time.time())
    assert pruning.due(time.time())
    pruning.stop()
    assert not pruning.due(time.time())
    pruning.close()
    assert not (tmp_path / NAME).exists(), "the rest is for the next start"


def test_an_error_waits_for_the_next_day_and_disturbs_nobody(
    server: SnowflakeServer, tmp_path: Path
) -> None:
    pruning = Pruning(settings(server, tmp_path, SNOWFLAKE_PORT="1"))
    now_s = time.time()
    pruning.step(now_s)
    assert not pruning.due(now_s + 60)
    assert pruning.due(now_s + EVERY_S)


def test_a_step_finds_what_another_has_deleted_gone(session: Session) -> None:
    limit = retention.limit_of(NOW, DAYS, 0)
    steps = retention.plan(session, limit)
    assert sum(step.rows for step in steps) == len(GONE) + 2
    assert sum(retention.delete(session, step) for step in steps) == len(GONE) + 2
    assert sum(retention.delete(session, step) for step in steps) == 0
    assert retention.plan(session, limit) == []

"""A load that dies in its transaction keeps no other waiting."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Unreachable
from pipeline.logs import log
from pipeline.sandbox.snowflake.turns import IDLE_ROLLBACK_S
from stages.load import loader as loader_module
from stages.load import note
from stages.load import session as session_module
from stages.load.loader import Loader
from stages.load.session import Session, connect
from tests.acceptance.chaos.proxy import HOST, FaultProxy
from tests.integration.snowflake_fixture import SnowflakeServer, batch, request, resource, server

__all__ = ["server"]

ROOT = Path(__file__).parents[2]
# Far from the time after which the sandbox gives a silent transaction up by itself.
LIMIT_S = IDLE_ROLLBACK_S / 2
ROWS = 3

# A load that dies of SIGKILL as it comes to the statement that is named.
DIE = """
import os, signal, sys
from pipeline import config
from stages.load.loader import Loader
from stages.load.session import Session
from tests.integration.test_load_left_open import rows_of
run = Session.run
def until_then(self, sql):
    if sql.lstrip().startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return run(self, sql)
Session.run = until_then
Loader(config.load(needs=("snowflake",))).load([rows_of(sys.argv[1])])
"""


def rows_of(name: str) -> Any:
    """A batch whose rows are the same for the same name."""
    return batch([resource(f"{name}-{n}") for n in range(ROWS)], [request(f"{name}-m")])


def die(server: SnowflakeServer, spool: Path, name: str, before: str = "COMMIT") -> None:
    """Load this batch in a process that is killed by SIGKILL before a statement."""
    spool.mkdir(exist_ok=True)
    died = subprocess.run(
        [sys.executable, "-c", DIE, name, before],
        env={**os.environ, **server.environ(SPOOL_DIR=str(spool))},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


def loader_of(server: SnowflakeServer, spool: Path, **changes: str) -> Loader:
    spool.mkdir(exist_ok=True)
    return Loader(server.config(SPOOL_DIR=str(spool), **changes))


def load_in_time(loader: Loader, name: str) -> None:
    """Load the same batch, without waiting for what was left open."""
    began_s = time.monotonic()
    loaded = loader.load([rows_of(name)])
    took_s = time.monotonic() - began_s
    print(f"loaded after {took_s:.2f} s")
    assert loaded.resources == ROWS
    assert took_s < LIMIT_S


def running(session: Session) -> list[int]:
    """Sessions with a transaction."""
    names, rows = session.table("SHOW TRANSACTIONS")
    return [row[names.index("session")] for row in rows]


def noted(spool: Path) -> tuple[int, ...]:
    own = note.Note(spool)
    assert own.take()
    own.leave()
    return own.noted.sessions


@pytest.fixture
def session(server: SnowflakeServer) -> Iterator[Session]:
    """To look at the tables; by itself it begins nothing."""
    with connect(server.config()) as opened:
        yield opened


def found(session: Session, name: str) -> tuple[Any, ...]:
    sql = f'COUNT(*), COUNT(DISTINCT "ROW_KEY") FROM "RESOURCES" WHERE "ROW_KEY" LIKE \'{name}-%\''
    return session.run(f"SELECT {sql}")[0]


def test_the_next_load_does_not_wait_for_the_transaction_of_one_that_was_killed(
    server: SnowflakeServer, session: Session, tmp_path: Path
) -> None:
    die(server, tmp_path, "killed")
    assert stat.S_IMODE((tmp_path / note.NAME).stat().st_mode) == 0o600
    assert running(session) == list(noted(tmp_path))
    loader = loader_of(server, tmp_path)
    load_in_time(loader, "killed")
    assert running(session) == []
    assert found(session, "killed") == (ROWS, ROWS)
    loader.close()
    assert list(tmp_path.iterdir()) == []


def test_other_hosts_wait_no_longer_either(server: SnowflakeServer, tmp_path: Path) -> None:
    die(server, tmp_path / "dead", "elsewhere")
    next_one, other = loader_of(server, tmp_path / "dead"), loader_of(server, tmp_path / "other")
    next_one.open()
    load_in_time(other, "elsewhere")
    next_one.close()
    other.close()


def test_nor_does_a_collector_that_adopts_the_batches_of_one_that_is_gone(
    server: SnowflakeServer, session: Session, tmp_path: Path
) -> None:
    die(server, tmp_path / "1", "adopted")
    loader = loader_of(server, tmp_path / "0")
    load_in_time(loader, "adopted")
    assert found(session, "adopted") == (ROWS, ROWS)
    assert list((tmp_path / "1").iterdir()) == []
    loader.close()


def test_transactions_of_other_sessions_are_let_be(
    server: SnowflakeServer, session: Session, tmp_path: Path
) -> None:
    die(server, tmp_path, "mine")
    (dead,) = noted(tmp_path)
    with connect(server.config()) as other:
        other.run("BEGIN TRANSACTION")
        loader = loader_of(server, tmp_path)
        loader.open()
        assert running(session) == [other.session_id]
        assert dead != other.session_id
        other.run("COMMIT")
    loader.close()


def test_what_a_living_process_has_open_is_not_aborted(
    server: SnowflakeServer,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its COMMIT would be no error, and it would take its rows for committed."""
    monkeypatch.setattr(loader_module, "PREDECESSOR_LIMIT_S", 0.1)
    living, other = loader_of(server, tmp_path), loader_of(server, tmp_path)
    living.open()
    assert living._session is not None
    living._session.run("BEGIN TRANSACTION")
    living._session.run('DELETE FROM "REQUESTS" WHERE "MESSAGE_ID" = \'none\'')
    other.open()
    assert running(session) == [living._session.session_id]
    living._session.run("COMMIT")
    living.close()
    # Now the note is free, and the next load takes it.
    load_in_time(other, "after-the-living")
    assert len(noted_by(other)) == 1
    other.close()
    assert list(tmp_path.iterdir()) == []


def noted_by(loader: Loader) -> tuple[int, ...]:
    return loader._note.noted.sessions


@pytest.mark.parametrize("left", [b"", b"{", b'{"sessions":[1,2,3]}', b"\x00" * 64])
def test_a_note_of_sessions_that_are_gone_and_one_that_says_nothing_change_nothing(
    server: SnowflakeServer, session: Session, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / note.NAME).write_bytes(left)
    loader = loader_of(server, tmp_path)
    name = f"gone{len(left)}"
    load_in_time(loader, name)
    assert found(session, name) == (ROWS, ROWS)
    loader.close()


def test_a_session_that_was_lost_in_its_transaction_is_no_hindrance(
    server: SnowflakeServer, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the answer to MERGE nor the end of the session comes through."""
    monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 0)
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 1)
    with FaultProxy(HOST, server.port) as proxy:
        loader = loader_of(server, tmp_path, SNOWFLAKE_PORT=str(proxy.port))
        loader.open()
        proxy.fault("answer_lost", first=1, says="MERGE INTO .{1,2}REQUESTS")
        proxy.fault("reset", path="^/session")
        with pytest.raises(Unreachable):
            loader.load([rows_of("lost")])
        assert proxy.counts["answer_lost"] == 1
        assert proxy.counts["reset"] >= 1
        assert running(session) == list(noted_by(loader))
        proxy.heal()
        load_in_time(loader, "lost")
        loader.close()
    assert found(session, "lost") == (ROWS, ROWS)


def test_that_it_cannot_be_aborted_is_said_and_keeps_no_load_from_loading(
    server: SnowflakeServer, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / note.NAME).write_bytes(b'{"sessions":[7]}')
    lines: list[Any] = []
    sink = log.add(lambda message: lines.append(message.record), level="WARNING")
    with FaultProxy(HOST, server.port) as proxy:
        loader = loader_of(server, tmp_path, SNOWFLAKE_PORT=str(proxy.port))
        with monkeypatch.context() as patched:
            patched.setattr(session_module, "NETWORK_LIMIT_S", 0)
            proxy.fault("status_5xx", first=1, says="SHOW TRANSACTIONS")
            loader.open()
        log.remove(sink)
        assert proxy.counts == {"status_5xx": 1}
        assert [line["extra"]["action"] for line in lines] == ["stale_transaction"]
        # It is kept in mind for the next session.
        assert noted_by(loader)[0] == 7
        load_in_time(loader, "not-aborted")
        loader.close()
    assert noted(tmp_path) == (7,)


def test_without_its_folder_it_loads_and_makes_none(
    server: SnowflakeServer, tmp_path: Path
) -> None:
    loader = Loader(server.config(SPOOL_DIR=str(tmp_path / "gone")))
    load_in_time(loader, "no-folder")
    loader.close()
    assert list(tmp_path.iterdir()) == []


def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run from now on."""
    seen: list[str] = []
    run = Session.table

    def told(session: Session, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        seen.append(sql)
        return run(session, sql)

    monkeypatch.setattr(Session, "table", told)
    return seen


def test_what_was_found_good_a_moment_ago_is_not_looked_at_again(
    server: SnowflakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(server, tmp_path, "proof")
    seen = statements(monkeypatch)
    loader = loader_of(server, tmp_path)
    loader.open()
    assert [sql.split("(")[0] for sql in seen] == [
        "SHOW TRANSACTIONS",
        "SELECT SYSTEM$ABORT_TRANSACTION",
    ]
    loader.close()
    seen.clear()
    loader.open()  # an orderly end leaves no note: all is looked at, and nothing is to be aborted
    assert [sql for sql in seen if "TRANSACTION" in sql] == []
    assert len([sql for sql in seen if sql.startswith("EXPLAIN")]) == 3
    loader.close()


def test_tables_that_are_gone_since_are_made_again(server: SnowflakeServer, tmp_path: Path) -> None:
    schema = {"SNOWFLAKE_SCHEMA": "SHORT_LIVED"}
    with connect(server.config()) as admin:
        admin.run("CREATE SCHEMA SHORT_LIVED")
    first = loader_of(server, tmp_path, **schema)
    first.load([rows_of("before")])
    first._note.leave()  # as a death would
    with connect(server.config(**schema)) as admin:
        admin.run('DROP VIEW "RESOURCES_LATEST"')
        admin.run('DROP TABLE "RESOURCES"')
        second = loader_of(server, tmp_path, **schema)
        assert second.load([rows_of("after")]).resources == ROWS
        assert second._trusting is False
        assert found(admin, "after") == (ROWS, ROWS)
    second.close()
    first.close()

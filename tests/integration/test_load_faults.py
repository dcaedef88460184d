"""What a load does when the way to Snowflake breaks, statement by statement."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from snowflake.connector.time_util import TimeoutBackoffCtx

from pipeline.errors import Unreachable
from stages.load import session as session_module
from stages.load.loader import Loaded, Loader
from stages.load.session import Session, connect
from tests.acceptance.chaos.proxy import HOST, FaultProxy, Kind
from tests.integration.snowflake_fixture import (
    SnowflakeServer,
    batch,
    request,
    resource,
    server,
    session,
)

__all__ = ["server", "session"]

ROWS = 3
# The statements of a load in their order, by what they say.
STATEMENTS = {
    "staging table": "CREATE OR REPLACE TEMPORARY TABLE",
    "stage": "CREATE (SCOPED )?TEMP",
    "COPY": "COPY INTO",
    "dropped stage": "DROP STAGE",
    "BEGIN": "BEGIN TRANSACTION",
    "first MERGE": "MERGE INTO .{1,2}RESOURCES",
    "second MERGE": "MERGE INTO .{1,2}REQUESTS",
    "COMMIT": "COMMIT",
}
TELLING = ("COPY", "first MERGE", "COMMIT")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 1)
    # The connector waits a second and more before it repeats a request.
    monkeypatch.setattr(TimeoutBackoffCtx, "current_sleep_time", 0)


@pytest.fixture
def proxy(server: SnowflakeServer) -> Iterator[FaultProxy]:
    with FaultProxy(HOST, server.port) as standing:
        yield standing


class Found(NamedTuple):
    """Of one batch in the tables."""

    rows: int
    keys: int
    requests: int


def found(session: Session, name: str) -> Found:
    like = f"LIKE '{name}-%'"
    rows, keys = session.run(
        f'SELECT COUNT(*), COUNT(DISTINCT "ROW_KEY") FROM "RESOURCES" WHERE "ROW_KEY" {like}'
    )[0]
    requests = session.value(f'SELECT COUNT(*) FROM "REQUESTS" WHERE "MESSAGE_ID" {like}')
    return Found(rows, keys, requests)


def load_until_it_is_in(loader: Loader, name: str, tries: int) -> tuple[Loaded, int]:
    """Load a batch as the stage does: again when the way was lost; how often it was."""
    one = batch([resource(f"{name}-{n}") for n in range(ROWS)], [request(f"{name}-m")])
    for lost in range(tries):
        try:
            return loader.load([one]), lost
        except Unreachable:
            continue
    raise AssertionError(f"not loaded in {tries} tries")


@pytest.mark.parametrize(
    ("kind", "repeats", "statements"),
    [
        ("answer_lost", True, STATEMENTS),
        ("half_open", False, TELLING),
        ("status_5xx", True, TELLING),
        pytest.param("answer_lost", False, STATEMENTS, marks=pytest.mark.soak),
        pytest.param("reset_in_answer", False, TELLING, marks=pytest.mark.soak),
        pytest.param("half_open", True, TELLING, marks=pytest.mark.soak),
        pytest.param("status_5xx", False, TELLING, marks=pytest.mark.soak),
    ],
)
def test_a_fault_at_any_statement_neither_doubles_nor_loses_a_row(
    kind: Kind,
    repeats: bool,
    statements: Sequence[str],
    server: SnowflakeServer,
    proxy: FaultProxy,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connector repeats the request, or gives up and the load begins anew.

    Snowflake knows a repeated request by its id; the sandbox runs the statement once more.
    """
    if not repeats:
        monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 0)
    loader = Loader(server.config(SNOWFLAKE_PORT=str(proxy.port)))
    for number, statement in enumerate(statements):
        loader.open()
        proxy.fault(kind, first=1, says=STATEMENTS[statement])
        name = f"{kind}-{repeats}-{number}"
        _, lost = load_until_it_is_in(loader, name, tries=2)
        assert proxy.counts == {kind: number + 1}, statement
        assert found(session, name) == (ROWS, ROWS, 1), statement
        assert repeats or lost == 1, statement
    loader.close()


def test_what_was_committed_is_found_and_what_was_not_is_loaded(
    server: SnowflakeServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 0)
    loader = Loader(server.config(SNOWFLAKE_PORT=str(proxy.port)))
    for says, new in (("MERGE INTO", ROWS), ("COMMIT", 0)):
        proxy.fault("answer_lost", first=1, says=says)
        loaded, lost = load_until_it_is_in(loader, f"lost-{says.split()[0]}", tries=2)
        assert (loaded.resources, lost) == (new, 1)
    loader.close()


@pytest.mark.parametrize("kind", ["answer_lost", "half_open", "status_5xx", "reset"])
def test_a_fault_at_the_login(
    kind: Kind, server: SnowflakeServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LOGIN_SOCKET_LIMIT_S", 1)
    proxy.fault(kind, first=1, path="login-request")
    with connect(server.config(SNOWFLAKE_PORT=str(proxy.port))) as session:
        assert session.value("SELECT 1") == 1
    assert proxy.counts == {kind: 1}


def test_a_connection_that_was_forgotten_costs_one_read_limit(
    server: SnowflakeServer, proxy: FaultProxy, session: Session
) -> None:
    loader = Loader(server.config(SNOWFLAKE_PORT=str(proxy.port)))
    loader.open()
    assert proxy.forget() > 0
    began_s = time.monotonic()
    load_until_it_is_in(loader, "forgotten", tries=2)
    assert time.monotonic() - began_s < 10 * session_module.STATEMENT_SOCKET_LIMIT_S
    assert found(session, "forgotten") == (ROWS, ROWS, 1)
    assert proxy.counts["forgotten"] > 0
    loader.close()


def test_a_statement_that_takes_longer_than_the_network_limit_is_not_aborted(
    server: SnowflakeServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connector means by one setting both how long it repeats and how long a query may run."""
    monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 1)
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 5)
    with connect(server.config(SNOWFLAKE_PORT=str(proxy.port))) as session:
        proxy.fault("latency", first=1, says="SELECT", latency_s=1.5)
        assert session.value("SELECT 1") == 1
    assert proxy.counts == {"latency": 1}
    assert [asked for asked in proxy.requests if "abort" in asked] == []


def test_to_end_a_session_that_nobody_answers_takes_no_longer_than_its_own_limit(
    server: SnowflakeServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 60)
    monkeypatch.setattr(session_module, "CLOSE_SOCKET_LIMIT_S", 1)
    session = connect(server.config(SNOWFLAKE_PORT=str(proxy.port)))
    proxy.fault("half_open")
    began_s = time.monotonic()
    session.close()
    assert time.monotonic() - began_s < 20
    assert proxy.counts["half_open"] >= 1

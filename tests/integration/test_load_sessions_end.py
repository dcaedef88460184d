"""Every way a session, its warehouse or its turn ends within a load: the batch is in once.

The sandbox never ends a session. A proxy before it answers in its place as Snowflake does; what it
says, and from where that is known, stands in ``tests/standins/snowflake_answers.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from snowflake.connector.time_util import TimeoutBackoffCtx

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from stages.load import session as session_module
from stages.load.loader import Loaded, Loader
from stages.load.session import Session, connect
from tests.acceptance.chaos.proxy import HOST
from tests.integration.snowflake_fixture import SnowflakeServer, batch, request, resource, server
from tests.standins import snowflake_answers as answers
from tests.standins.snowflake_answers import Refusal
from tests.standins.snowflake_proxy import SnowflakeProxy

__all__ = ["server"]

ROWS = 3
TRIES = 4
# Where a load can be hit, by what the statement says.
STATEMENTS = {
    "staging table": "^CREATE OR REPLACE TEMPORARY TABLE",
    "stage": "^CREATE (SCOPED )?TEMP(ORARY)? STAGE",
    "COPY": "^COPY INTO",
    "dropped stage": "^DROP STAGE",
    "BEGIN": "^BEGIN TRANSACTION",
    "first MERGE": r"MERGE INTO .{1,2}RESOURCES",
    "second MERGE": r"MERGE INTO .{1,2}REQUESTS",
    "COMMIT": "^COMMIT",
}
TELLING = ("COPY", "first MERGE", "COMMIT")
# The codes that are left are one line of a table with these: a unit test holds it.
OTHER_ENDS = (answers.SESSION_GONE, answers.SESSION_TOKEN_INVALID, answers.NOT_LOGGED_IN)
# Each with what it is to the collector, and where it comes.
REFUSALS: tuple[tuple[Refusal, type[DependencyError], tuple[str, ...]], ...] = (
    (answers.TOO_MANY_WAITERS, Unreachable, ("first MERGE", "second MERGE")),
    (answers.STATEMENT_TIMEOUT, Unreachable, ("COPY",)),
    (answers.CANCELLED, Unreachable, ("COMMIT",)),
    (answers.NO_WAREHOUSE, NotThere, ("first MERGE",)),
    (answers.NO_RESUME, NotThere, ("COPY",)),
    (answers.insufficient("table 'RESOURCES'"), Unauthorised, ("first MERGE",)),
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "STATEMENT_SOCKET_LIMIT_S", 5)
    # The connector waits a second and more before it repeats a request.
    monkeypatch.setattr(TimeoutBackoffCtx, "current_sleep_time", 0)


@pytest.fixture(scope="module")
def standing(server: SnowflakeServer) -> Iterator[SnowflakeProxy]:
    with SnowflakeProxy(HOST, server.port) as made:
        yield made


@pytest.fixture(scope="module")
def loading(
    server: SnowflakeServer, standing: SnowflakeProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loader]:
    spool = tmp_path_factory.mktemp("spool")
    made = Loader(server.config(SNOWFLAKE_PORT=str(standing.port), SPOOL_DIR=str(spool)))
    yield made
    made.close()


@pytest.fixture
def proxy(standing: SnowflakeProxy) -> SnowflakeProxy:
    """One that counts from nothing."""
    standing.forget_all()
    return standing


@pytest.fixture
def loader(loading: Loader) -> Loader:
    """One with a session that is good."""
    loading.open()
    return loading


@pytest.fixture(scope="module")
def session(server: SnowflakeServer) -> Iterator[Session]:
    """One without a fault, to look at the tables."""
    with connect(server.config()) as opened:
        yield opened


def load(loader: Loader, name: str) -> tuple[Loaded, list[DependencyError]]:
    """Load a batch as the stage does, again and again; what it has met on the way."""
    one = batch([resource(f"{name}-{n}") for n in range(ROWS)], [request(f"{name}-m")])
    met: list[DependencyError] = []
    for _ in range(TRIES):
        try:
            return loader.load([one]), met
        except DependencyError as error:
            met.append(error)
    raise AssertionError(f"not loaded in {TRIES} tries: {met}")


def assert_in_once(session: Session, name: str) -> None:
    like = f"LIKE '{name}-%'"
    rows = session.run(f'SELECT "ROW_KEY" FROM "RESOURCES" WHERE "ROW_KEY" {like} ORDER BY 1')
    assert [key for (key,) in rows] == [f"{name}-{n}" for n in range(ROWS)], name
    requests = f'SELECT COUNT(*) FROM "REQUESTS" WHERE "MESSAGE_ID" {like}'
    assert session.value(requests) == 1, name


@pytest.mark.parametrize(
    ("end", "statements"),
    [
        (answers.MASTER_TOKEN_EXPIRED, tuple(STATEMENTS)),
        *((end, ("COMMIT",)) for end in OTHER_ENDS),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_a_session_that_ends_at_a_statement(
    end: Refusal,
    statements: Sequence[str],
    proxy: SnowflakeProxy,
    loader: Loader,
    session: Session,
) -> None:
    for number, statement in enumerate(statements):
        name = f"end-{end.code}-{number}"
        logins = len(proxy.logins)
        proxy.refuse_statement(end, STATEMENTS[statement])
        _, met = load(loader, name)
        assert [type(error) for error in met] == [Unreachable], (statement, met)
        assert len(proxy.logins) == logins + 1, statement
        assert_in_once(session, name)
        assert proxy.stages_left == set(), statement
    assert proxy.answered[end.code] >= len(statements)


def test_an_expired_session_token_is_renewed_within_the_load(
    proxy: SnowflakeProxy, loader: Loader, session: Session
) -> None:
    """The connector renews it by the master token; transaction and staged rows live on."""
    for number, statement in enumerate(("stage", *TELLING)):
        name = f"renewed-{number}"
        proxy.refuse_statement(answers.SESSION_TOKEN_EXPIRED, STATEMENTS[statement])
        loaded, met = load(loader, name)
        assert (loaded.resources, met) == (ROWS, []), statement
        assert proxy.renewals == number + 1
        assert_in_once(session, name)
        assert proxy.stages_left == set(), statement
    assert proxy.logins == []


def test_a_session_whose_token_and_master_token_have_expired(
    proxy: SnowflakeProxy, loader: Loader, session: Session
) -> None:
    proxy.master_expired = True
    proxy.refuse_statement(answers.SESSION_TOKEN_EXPIRED, STATEMENTS["COMMIT"])
    _, met = load(loader, "both")
    assert [type(error) for error in met] == [Unreachable]
    assert_in_once(session, "both")
    assert proxy.stages_left == set()
    for code in (answers.SESSION_TOKEN_EXPIRED.code, answers.MASTER_TOKEN_EXPIRED.code):
        assert proxy.answered[code] >= 1
    assert proxy.renewals == 0


@pytest.mark.parametrize(
    ("refusal", "kind", "hit"), REFUSALS, ids=lambda value: getattr(value, "code", "")
)
def test_a_statement_that_is_refused_for_a_while(
    refusal: Refusal,
    kind: type[DependencyError],
    hit: Sequence[str],
    proxy: SnowflakeProxy,
    loader: Loader,
    session: Session,
) -> None:
    """No warehouse, a suspended one, a locked table, a time-out, a right taken away and given back.

    The session that was refused is left, and what it has staged with it.
    """
    for number, statement in enumerate(hit):
        name = f"refused-{refusal.code}-{number}"
        # Twice: what a session finds that was good a moment ago is tried again at once.
        proxy.refuse_statement(refusal, STATEMENTS[statement], first=2)
        _, met = load(loader, name)
        assert {type(error) for error in met} == {kind}, (statement, met)
        assert_in_once(session, name)
        assert proxy.stages_left == set(), statement
    assert proxy.answered == {refusal.code: 2 * len(hit)}


@pytest.mark.parametrize(
    ("statement", "new"), [("COPY", ROWS), ("first MERGE", ROWS), ("COMMIT", 0)]
)
def test_an_answer_that_is_lost_and_a_session_that_is_gone_when_it_is_asked_for_again(
    statement: str,
    new: int,
    proxy: SnowflakeProxy,
    loader: Loader,
    session: Session,
) -> None:
    """Nobody can tell whether it was done: the batch is loaded again, and what is in stays once."""
    end = answers.MASTER_TOKEN_EXPIRED
    name = f"lost-{statement.split()[-1]}"
    proxy.fault("answer_lost", first=1, says=STATEMENTS[statement].lstrip("^"))
    proxy.refuse_statement(end, STATEMENTS[statement], skip=1)
    loaded, met = load(loader, name)
    assert [type(error) for error in met] == [Unreachable]
    assert loaded.resources == new
    assert_in_once(session, name)
    assert proxy.counts == {"answer_lost": 1}
    assert proxy.answered[end.code] >= 1
    assert proxy.stages_left == set()


def test_a_committed_batch_whose_session_is_said_to_be_gone_is_found(
    proxy: SnowflakeProxy, loader: Loader, session: Session
) -> None:
    proxy.refuse_statement(answers.SESSION_GONE, STATEMENTS["COMMIT"], runs=True)
    loaded, met = load(loader, "told-gone")
    assert (loaded.resources, len(met)) == (0, 1)
    assert_in_once(session, "told-gone")


def test_stages_of_refused_loads_are_seen_by_the_proxy(
    proxy: SnowflakeProxy, loader: Loader
) -> None:
    """That no stage is left is worth something only if one would be seen."""
    proxy.refuse_statement(answers.CANCELLED, STATEMENTS["dropped stage"])
    assert loader._session is not None
    opened = loader._session
    opened.close = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        loader.load([batch([resource("seen")])])
    assert len(proxy.stages_left) == 1
    opened.connection.close()
    assert proxy.stages_left == set()

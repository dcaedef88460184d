"""Batches that have killed the process before, loaded in pieces by the one after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.errors import Unreachable
from pipeline.messages import LeaseRef, Part
from pipeline.spool import Spool
from stages.load.isolation import ASIDE_AT, GIVE_UP_AT, PROVE_AT, Suspicion, Trial
from stages.load.loader import Loader
from stages.load.loads import UNOPENED_LIMIT, Done, Loads
from stages.load.schema import TABLES
from stages.load.session import Session
from stages.load.under_way import NAME
from stages.load.unfit import KILLS, ROW_REJECTED
from tests.integration.snowflake_fixture import (
    SnowflakeServer,
    batch,
    request,
    resource,
    server,
    session,
)

__all__ = ["server", "session"]

KEYS = [f"k{number}" for number in range(6)]
# Its rows of RESOURCES, then its one row of REQUESTS.
RESOURCES, ALL = len(KEYS), len(KEYS) + 1
PARTS = [Part(LeaseRef(1, 1, "q", "qid", "pop", "m-1", None, 5, 1, 1), 0, RESOURCES, RESOURCES)]


@pytest.fixture(params=["merge", "append"])
def loader(
    request: pytest.FixtureRequest, server: SnowflakeServer, session: Session, tmp_path: Path
) -> Iterator[Loader]:
    made = Loader(server.config(WRITE_MODE=request.param, SPOOL_DIR=str(tmp_path)))
    made.open()
    for table in TABLES:
        session.run(f'DELETE FROM "{table}"')
    yield made
    made.close()


def sealed(folder: Path, **changes: str) -> str:
    """A batch of one list in the spool; its id. Changes are bodies by key."""
    rows = [resource(key, **({"BODY": changes[key]} if key in changes else {})) for key in KEYS]
    made = batch(rows, [request("m-1", ROWS=RESOURCES)])
    Spool(folder).seal(made.batch_id, made.resources, made.requests, PARTS)
    return made.batch_id


def after(folder: Path, loader: Loader, left: Suspicion) -> Loads:
    """The loads of a process whose predecessor left this note."""
    (folder / NAME).write_bytes(msgspec.json.encode(left))
    loads = Loads(Spool(folder), loader)
    loads.take_over(Spool(folder).list())
    return loads


def to_the_end(loads: Loads) -> list[Done]:
    done = []
    while loads.suspects:
        done.append(loads.apart())
    return done


def pieces(batch_id: str, *rows: tuple[int, int]) -> tuple[Trial, ...]:
    return tuple(Trial((batch_id,), one) for one in rows)


def keys(session: Session) -> list[str]:
    return [row[0] for row in session.run('SELECT "ROW_KEY" FROM "RESOURCES" ORDER BY 1')]


def ledger(session: Session) -> list[tuple[object, ...]]:
    return session.run('SELECT "OUTCOME", "ERROR_CODE", "ROWS" FROM "REQUESTS"')


def test_a_row_that_kills_is_left_out_and_owned_up_to(
    tmp_path: Path, loader: Loader, session: Session
) -> None:
    one = sealed(tmp_path)
    deadly = Trial((one,), (2, 3), ASIDE_AT)
    around = pieces(one, (0, 2), (3, RESOURCES), (RESOURCES, ALL))
    loads = after(tmp_path, loader, Suspicion(trials=(around[0], deadly, *around[1:])))
    done = to_the_end(loads)
    assert keys(session) == [key for key in KEYS if key != "k2"]
    assert ledger(session) == [("failed", ROW_REJECTED, RESOURCES - 1)]
    rejected = session.run(
        'SELECT "ROW_KEY", "REASON", "BODY_START", "RESOURCE_ID" FROM "REJECTED_ROWS"'
    )
    assert rejected == [("k2", KILLS, "", None)]
    # The receipt comes with the last piece, for all of the batch.
    assert [len(one.receipts) for one in done] == [0, 0, 0, 1]
    assert done[-1].receipts[0].parts == PARTS
    assert sum(one.killing for one in done) == 1


def test_a_request_that_kills_is_told_without_its_texts(
    tmp_path: Path, loader: Loader, session: Session
) -> None:
    one = sealed(tmp_path)
    deadly = Trial((one,), (RESOURCES, ALL), ASIDE_AT)
    loads = after(tmp_path, loader, Suspicion(trials=(*pieces(one, (0, RESOURCES)), deadly)))
    to_the_end(loads)
    assert keys(session) == KEYS
    found = session.run('SELECT "OUTCOME", "URL", "ERROR_MESSAGE", "STATUS_CODE" FROM "REQUESTS"')
    assert found == [("failed", "", KILLS, None)]


def test_what_snowflake_refused_is_owned_up_to_by_another_process(
    tmp_path: Path, loader: Loader, session: Session, server: SnowflakeServer
) -> None:
    one = sealed(tmp_path, k1='{"cut": ')
    trials = pieces(one, (0, 3), (3, RESOURCES), (RESOURCES, ALL))
    after(tmp_path, loader, Suspicion(trials=trials)).apart()
    left = msgspec.json.decode((tmp_path / NAME).read_bytes(), type=Suspicion)
    assert [*left.aside[one]] == [1]
    loader.close()
    with_no_memory = Loader(server.config(SPOOL_DIR=str(tmp_path)))
    to_the_end(after(tmp_path, with_no_memory, left))
    with_no_memory.close()
    assert keys(session) == [key for key in KEYS if key != "k1"]
    assert ledger(session) == [("failed", ROW_REJECTED, RESOURCES - 1)]


def test_a_process_shows_that_it_can_load_before_more_deaths_are_counted(
    tmp_path: Path, loader: Loader, session: Session
) -> None:
    one = sealed(tmp_path)
    left = Suspicion(trying=True, trials=(Trial((one,)),), deaths=PROVE_AT - 1)
    loads = after(tmp_path, loader, left)
    proof = loads.apart()
    assert (proof.proved, proof.receipts, proof.loaded) == (PROVE_AT, [], None)
    assert keys(session) == [], "the proof is rolled back"
    (done,) = to_the_end(loads)
    assert len(done.receipts) == 1
    assert keys(session) == KEYS
    assert ledger(session) == [("complete", None, RESOURCES)]


def test_nothing_is_loaded_in_pieces_that_cannot_be_noted(
    tmp_path: Path, loader: Loader, session: Session
) -> None:
    one = sealed(tmp_path)
    trials = pieces(one, (0, RESOURCES), (RESOURCES, ALL))
    loads = after(tmp_path, loader, Suspicion(trials=trials))
    in_the_way = tmp_path / f"{NAME}.new"
    in_the_way.mkdir()
    with pytest.raises(Unreachable, match="noted"):
        loads.apart()
    assert keys(session) == []
    in_the_way.rmdir()
    to_the_end(loads)
    assert keys(session) == KEYS


def test_what_kills_whatever_is_left_out_is_given_up_unopened(
    tmp_path: Path, loader: Loader
) -> None:
    one = sealed(tmp_path)
    Spool(tmp_path).path(one).write_bytes(b"not looked at")
    left = Suspicion(trials=(Trial((one,), (RESOURCES, ALL), GIVE_UP_AT),))
    (done,) = to_the_end(after(tmp_path, loader, left))
    assert done.damaged == {one: "it kills the process that loads it"}


def test_a_file_that_cannot_be_opened_holds_up_the_others_for_a_few_tries(
    tmp_path: Path, loader: Loader, session: Session
) -> None:
    Spool(tmp_path).path("20260101T000000000000-000000").mkdir()
    one = sealed(tmp_path)
    loads = Loads(Spool(tmp_path), loader)
    plan = list(Spool(tmp_path).list())
    for _ in range(UNOPENED_LIMIT - 1):
        with pytest.raises(Unreachable, match="cannot be opened"):
            loads.together(plan)
    done = loads.together(plan)
    assert list(done.damaged) == plan[:1]
    assert [receipt.batch_id for receipt in done.receipts] == [one]
    assert keys(session) == KEYS


def test_batches_that_are_gone_are_no_suspects(tmp_path: Path, loader: Loader) -> None:
    one = sealed(tmp_path)
    loads = after(tmp_path, loader, Suspicion(joined=(one,)))
    Spool(tmp_path).remove(one)
    (done,) = to_the_end(loads)
    assert done.gone == {one}

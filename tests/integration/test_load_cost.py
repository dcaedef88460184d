"""What Snowflake is asked for: few loads, each with its name on it, and nothing when idle."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import tables as schemas
from pipeline.config import load
from pipeline.errors import Unreachable
from pipeline.links import DataLink
from pipeline.messages import Begin, Drain, Flush, Receipt, Sealed
from pipeline.spool import Spool, new_batch_id
from stages.load.loader import Loader
from stages.load.session import connect
from stages.load.stage import COMMITTED, Load
from tests.acceptance.chaos.proxy import HOST, FaultProxy
from tests.acceptance.command import Running, collector
from tests.acceptance.stores import queue, request, tables
from tests.integration.snowflake_fixture import SnowflakeServer, resource, server
from tests.processes import until

__all__ = ["server"]

LIMIT_S = 30.0
# Longer than anything that a stage does again and again without a word.
IDLE_S = 5.0
NEVER_S = "600"


@pytest.fixture
def proxy(server: SnowflakeServer) -> Iterator[FaultProxy]:
    with FaultProxy(HOST, server.port) as standing:
        yield standing


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "0").mkdir()
    return Spool(tmp_path / "0")


class Loading:
    """A load stage that runs in the test's loop, with the test in the place of its peers."""

    def __init__(self, stage: Load, link: DataLink, spool: Spool) -> None:
        self.stage = stage
        self._link = link
        self._spool = spool

    async def seal(self) -> str:
        """Seal a batch of one row, and tell the stage."""
        batch_id = new_batch_id()
        row = resource(f"cost-{batch_id}", BATCH_ID=batch_id)
        rows = pa.Table.from_pylist([row], schema=schemas.RESOURCES)
        size_bytes = self._spool.seal(batch_id, rows, schemas.REQUESTS.empty_table(), [])
        await self.stage.on_message("batch", Sealed(batch_id, size_bytes, []))
        return batch_id

    async def receipts(self, count: int) -> list[str]:
        """Wait until so many batches are loaded; their ids."""
        found: list[str] = []
        while len(found) < count:
            messages = await self._link.receive()
            assert messages is not None
            found += [message.batch_id for message in messages if isinstance(message, Receipt)]
        return found

    @property
    def loads(self) -> int:
        """Loads made."""
        return self.stage.counters[COMMITTED]


@asynccontextmanager
async def loading(
    server: SnowflakeServer, spool: Spool, port: int | None = None, **changes: str
) -> AsyncIterator[Loading]:
    """A load stage at work.

    Args:
        server: Snowflake.
        spool: where it finds batches.
        port: of the proxy, if one stands before the server.
        changes: settings.
    """
    settings = server.environ(SNOWFLAKE_PORT=str(port or server.port), **changes)
    config = load(environ={**settings, "SPOOL_DIR": str(spool.folder)}, needs=("snowflake",))
    stage = Load("load", config)
    await stage.start()
    ours, theirs = map(DataLink, socket.socketpair())
    stage.links["fetch"] = theirs
    try:
        async with asyncio.timeout(LIMIT_S):
            await stage.on_begin(Begin())
            yield Loading(stage, ours, spool)
            await come_true(stage.idle)
    finally:
        tasks = list(stage._tasks)
        for task in tasks:
            task.remove_done_callback(stage._task_ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stage.close()
        ours.close()
        theirs.close()


async def come_true(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


# ── how many loads, and when ─────────────────────────────────────────────────────────────────────


def test_batches_wait_for_company_no_longer_than_the_timeout_after_the_first_row(
    server: SnowflakeServer, spool: Spool
) -> None:
    async def go() -> None:
        async with loading(server, spool, BATCH_TIMEOUT="1.5") as running:
            began_s = time.monotonic()
            sealed = [await running.seal() for _ in range(5)]
            assert sorted(await running.receipts(5)) == sorted(sealed)
            assert time.monotonic() - began_s >= 1.4
            assert running.loads == 1

    asyncio.run(go())


def test_what_fills_a_load_is_loaded_at_once(server: SnowflakeServer, spool: Spool) -> None:
    async def go() -> None:
        async with loading(server, spool, BATCH_TIMEOUT=NEVER_S, BATCH_BYTES="1024") as running:
            await running.seal()
            await running.receipts(1)

    asyncio.run(go())


def test_nothing_waits_for_company_or_for_the_cap_once_nothing_more_is_coming(
    server: SnowflakeServer, spool: Spool
) -> None:
    async def go() -> None:
        async with loading(server, spool, BATCH_TIMEOUT=NEVER_S, LOADS_PER_MINUTE="1") as running:
            for _ in range(2):
                await running.seal()
                await running.stage.on_message("batch", Flush())
                await running.receipts(1)
            await running.seal()
            await running.stage.drain(Drain(LIMIT_S))
            await running.receipts(1)
            assert running.loads == 3

    asyncio.run(go())


def test_under_a_cap_loads_are_spaced_and_what_gathers_meanwhile_is_joined(
    server: SnowflakeServer, spool: Spool
) -> None:
    async def go() -> None:
        # One in two seconds, though each batch would be loaded at once.
        async with loading(server, spool, BATCH_TIMEOUT="0.05", LOADS_PER_MINUTE="30") as running:
            await running.seal()
            await running.receipts(1)
            first_s = time.monotonic()
            gathered = [await running.seal() for _ in range(4)]
            assert sorted(await running.receipts(4)) == sorted(gathered)
            # The gap is from beginning to beginning: less what the first load took.
            last_load_s = running.stage.gauges()["last_load_seconds"]
            assert time.monotonic() - first_s >= 2.0 - last_load_s - 1.0
            assert running.loads == 2

    asyncio.run(go())


# ── its name in the account's history ────────────────────────────────────────────────────────────


def test_each_load_names_its_batches_before_its_first_statement(
    server: SnowflakeServer, proxy: FaultProxy, spool: Spool
) -> None:
    async def go() -> None:
        async with loading(server, spool, proxy.port, BATCH_TIMEOUT=NEVER_S) as running:
            for number in range(2):
                batch_id = await running.seal()
                # A fault that does nothing counts what is said.
                proxy.fault("latency", latency_s=0, says=f"QUERY_TAG = .*{batch_id}")
                await running.stage.on_message("batch", Flush())
                await running.receipts(1)
                assert proxy.counts["latency"] == number + 1

    asyncio.run(go())


# ── idle ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_collector_asks_snowflake_nothing_and_works_on_when_there_is_work(
    server: SnowflakeServer, settings: dict[str, str], proxy: FaultProxy, tmp_path: Path
) -> None:
    """A warehouse suspends only where no statement, and a session costs only where one is sent."""
    own = {**settings, **server.environ(SNOWFLAKE_PORT=str(proxy.port))}
    with collector(own, tmp_path / "output") as running:
        running.await_stages()
        collect_one(running, {**own, "SNOWFLAKE_PORT": str(server.port)})
        asked = proxy.requests.total()
        assert asked > 0
        idle_until_s = time.monotonic() + IDLE_S
        while time.monotonic() < idle_until_s:
            assert proxy.requests.total() == asked, proxy.requests
            time.sleep(0.05)
        collect_one(running, {**own, "SNOWFLAKE_PORT": str(server.port)})
        assert proxy.requests.total() > asked
        assert proxy.requests["POST /session/v1/login-request"] == 1


def collect_one(running: Running, settings: dict[str, str]) -> None:
    """Send a message, and wait until it is collected and deleted."""
    message_id = f"idle-{secrets.token_hex(4)}"
    message = {"message_id": message_id, "api_requests": [request("/subscriptions")]}
    with queue(settings) as client, tables(settings) as session:
        client.send_message(json.dumps(message))
        rows = f"SELECT COUNT(*) FROM REQUESTS WHERE MESSAGE_ID = '{message_id}'"
        until(lambda: session.value(rows) == 1, what=running.output)
        until(
            lambda: client.get_queue_properties().approximate_message_count == 0,
            what=running.output,
        )


def test_a_session_that_ended_while_it_was_idle_is_opened_anew(
    server: SnowflakeServer, proxy: FaultProxy, spool: Spool
) -> None:
    async def go() -> None:
        async with loading(server, spool, proxy.port, BATCH_TIMEOUT="0.05") as running:
            await running.seal()
            await running.receipts(1)
            end_session(server, running.stage._loader)
            await running.seal()
            await running.receipts(1)
            assert running.loads == 2
        assert proxy.requests["POST /session/v1/login-request"] == 2

    asyncio.run(go())


def test_a_session_that_ended_is_told_as_such(server: SnowflakeServer) -> None:
    with connect(server.config()) as session:
        end(server, session.connection.rest.token)
        with pytest.raises(Unreachable):
            session.tag(["b-1"])


def end_session(server: SnowflakeServer, loader: Loader) -> None:
    """End a loader's session as Snowflake does after hours without a statement."""
    assert loader._session is not None
    end(server, loader._session.connection.rest.token)


def end(server: SnowflakeServer, token: str) -> None:
    ended = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/session?delete=true",
        method="POST",
        headers={"Authorization": f'Snowflake Token="{token}"'},
    )
    with urllib.request.urlopen(ended, timeout=LIMIT_S) as answer:
        assert answer.status == 200

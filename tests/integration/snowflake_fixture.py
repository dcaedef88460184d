"""The sandbox's Snowflake as a process of its own, for tests that load into it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import config, tables
from pipeline.sandbox import snowflake
from pipeline.spool import SealedBatch, new_batch_id
from stages.load import schema
from stages.load.loader import Loader
from stages.load.session import Session, connect
from tests import secrets_seen

PASSWORD = secrets_seen.secret("open-sesame")
READY_LIMIT_S = 30.0
NOW = datetime(2026, 11, 20, 12, 30, 45, 123456, tzinfo=UTC)


@dataclass
class SnowflakeServer:
    """A running sandbox server."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f"{snowflake.DATABASE}.db"

    def environ(self, **changes: str) -> dict[str, str]:
        return {
            "SNOWFLAKE_ACCOUNT": snowflake.ACCOUNT,
            "SNOWFLAKE_USER": snowflake.USER,
            "SNOWFLAKE_PASSWORD": PASSWORD,
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(self.port),
            "SNOWFLAKE_PROTOCOL": "http",
            "SNOWFLAKE_DATABASE": snowflake.DATABASE,
            "SNOWFLAKE_SCHEMA": snowflake.SCHEMA,
            **changes,
        }

    def config(self, **changes: str) -> config.Config:
        return config.load(environ=self.environ(**changes), needs=("snowflake",))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(folder: Path, port: int = 0, password: str = PASSWORD) -> Iterator[SnowflakeServer]:
    """Start the server on this folder's data; stop it at the end."""
    command = [sys.executable, "-m", "pipeline.sandbox.snowflake"]
    with subprocess.Popen(
        [*command, "--port", str(port), "--data", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, snowflake.PASSWORD_VARIABLE: password},
    ) as process:
        try:
            yield SnowflakeServer(process, _ready_port(process), folder)
        finally:
            process.terminate()
            process.wait(10)


def _ready_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_LIMIT_S)
    line = process.stdout.readline() if readable else ""
    found = re.fullmatch(r"ready http://127\.0\.0\.1:(\d+)\n", line)
    assert found, f"no ready line, but {line!r}"
    return int(found[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnowflakeServer]:
    with running(tmp_path_factory.mktemp("snowflake")) as started:
        yield started


@pytest.fixture
def session(server: SnowflakeServer) -> Iterator[Session]:
    """A session without a fault, to look at the tables."""
    with connect(server.config()) as opened:
        yield opened


@pytest.fixture
def loader(server: SnowflakeServer, session: Session) -> Iterator[Loader]:
    """A loader, with the tables empty."""
    made = Loader(server.config())
    made.open()
    for table in schema.TABLES:
        session.run(f'DELETE FROM "{table}"')
    yield made
    made.close()


def resource(key: str, **changes: Any) -> dict[str, Any]:
    """A row of RESOURCES."""
    row = {
        "ROW_KEY": key,
        "MESSAGE_ID": "m-1",
        "CORRELATION_ID": None,
        "REQUEST_INDEX": 0,
        "SERVICE": "compute",
        "API_VERSION": "2024-07-01",
        "SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
        "RESOURCE_GROUP": "rg",
        "RESOURCE_ID": f"/subscriptions/1/resourceGroups/rg/providers/x/{key}",
        "RESOURCE_TYPE": "Microsoft.Compute/virtualMachines",
        "NAME": key,
        "LOCATION": "westeurope",
        "BODY": '{"properties":{"hardwareProfile":{"vmSize":"Standard_D2s_v5"}}}',
        "BODY_HASH": "00",
        "ENQUEUED_AT": NOW,
        "COLLECTED_AT": NOW + timedelta(seconds=1),
        "BATCH_ID": "",
    }
    return row | changes


def request(message_id: str, index: int = 0, **changes: Any) -> dict[str, Any]:
    """A row of REQUESTS."""
    row = {
        "MESSAGE_ID": message_id,
        "REQUEST_INDEX": index,
        "CORRELATION_ID": None,
        "SERVICE": "compute",
        "METHOD": "GET",
        "API_VERSION": "2024-07-01",
        "URL": "https://management.azure.com/subscriptions/1?api-version=2024-07-01",
        "SUBSCRIPTION_ID": None,
        "OUTCOME": "complete",
        "STATUS_CODE": 200,
        "ERROR_CODE": None,
        "ERROR_MESSAGE": None,
        "PAGES": 1,
        "ROWS": 1,
        "ATTEMPTS": 1,
        "LATENCY_MS": 12,
        "AZURE_REQUEST_ID": None,
        "DEQUEUE_COUNT": 1,
        "STARTED_AT": NOW,
        "COMPLETED_AT": NOW + timedelta(seconds=1),
        "BATCH_ID": "",
        "ENQUEUED_AT": NOW,
    }
    return row | changes


def batch(
    resources: list[dict[str, Any]] | None = None, requests: list[dict[str, Any]] | None = None
) -> SealedBatch:
    """A batch of these rows, as the spool would give it."""
    batch_id = new_batch_id()
    named = [
        [{**row, "BATCH_ID": batch_id} for row in rows]
        for rows in (resources or [], requests or [])
    ]
    made = [
        pa.Table.from_pylist(rows, schema=schema)
        for rows, schema in zip(named, (tables.RESOURCES, tables.REQUESTS), strict=True)
    ]
    return SealedBatch(batch_id, made[0], made[1], [], made[0].nbytes + made[1].nbytes)


__all__ = [
    "NOW",
    "PASSWORD",
    "SnowflakeServer",
    "batch",
    "loader",
    "request",
    "resource",
    "running",
    "server",
    "session",
]

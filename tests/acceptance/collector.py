"""Drives the real command as a user does: a subprocess, its exit code, the tables, the queues."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.storage.queue import QueueClient

from pipeline.config import load
from stages.load.session import Session, connect

# Settings that make a test run quick; everything else is as a user has it.
QUICK = {"BATCH_TIMEOUT": "1", "OPS_PORT": "0", "LOG_FORMAT": "json", "NUM_PROCESSES": "2"}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A clean environment with these settings: none of the machine's own reach the collector."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "AZURE_COLLECTOR_CACHE")
        if name in os.environ
    }
    return {**kept, **QUICK, **settings}


def run(
    arguments: Sequence[str],
    settings: Mapping[str, str],
    *,
    limit_s: float = 120.0,
    stdin: str = "",
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m pipeline`` to its end."""
    root = str(Path(__file__).parents[2])
    env = {"PYTHONPATH": root, **environment(settings)} if cwd else environment(settings)
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        env=env,
        cwd=cwd or root,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def collect(settings: Mapping[str, str], *, limit_s: float = 120.0) -> None:
    """Run the collector until the queue is empty; it has to end with 0."""
    ended = run(["--until-empty"], settings, limit_s=limit_s)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]


@contextmanager
def tables(settings: Mapping[str, str]) -> Iterator[Session]:
    """A session of the real connector on the collector's tables."""
    config = load(None, settings, {}, needs=("snowflake",))
    with connect(config) as session:
        yield session


@contextmanager
def queue(settings: Mapping[str, str], suffix: str = "") -> Iterator[QueueClient]:
    """The collector's queue, or with ``-poison`` its poison queue."""
    with QueueClient.from_connection_string(
        settings["AZURE_QUEUE_CONNECTION_STRING"], settings["AZURE_QUEUE_NAME"] + suffix
    ) as client:
        yield client


def all_messages(client: QueueClient, most: int = 10_000) -> list[str]:
    """Take everything out of a queue."""
    taken = []
    while len(taken) < most:
        page = list(client.receive_messages(messages_per_page=32, max_messages=32))
        if not page:
            return taken
        for message in page:
            taken.append(str(message.content))
            client.delete_message(message)
    raise AssertionError(f"more than {most} messages")


def request(path: str, **fields: Any) -> dict[str, Any]:
    """A GET request for a message."""
    return {
        "service": "custom",
        "api_version": "2024-07-01",
        "method": "GET",
        "resource_path": path,
        **fields,
    }

"""What the collector reads from and writes to: its queues and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.storage.queue import QueueClient

from pipeline.config import load
from stages.load.session import Session, connect


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
    taken: list[str] = []
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

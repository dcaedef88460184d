"""Messages of the benchmarks, and a queue with them in it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from azure.storage.queue import QueueClient

API_VERSION = "2024-07-01"
# Threads that send.
SENDERS = 8


def message(resource_paths: Sequence[str]) -> str:
    """A message that asks Compute for these.

    Args:
        resource_paths: of resources or lists, without a query.
    """
    requests = [
        {
            "service": "compute",
            "api_version": API_VERSION,
            "method": "GET",
            "resource_path": path,
        }
        for path in resource_paths
    ]
    return msgspec.json.encode(
        {"message_id": secrets.token_hex(8), "api_requests": requests}
    ).decode()


def send(settings: Mapping[str, str], texts: Sequence[str]) -> None:
    """Put messages into the queue of these settings, in about their order."""
    with queue_client(settings) as client, ThreadPoolExecutor(SENDERS) as pool:
        for _ in pool.map(client.send_message, texts):
            pass


def queue_client(settings: Mapping[str, str]) -> QueueClient:
    """The queue of these settings."""
    return QueueClient.from_connection_string(
        settings["AZURE_QUEUE_CONNECTION_STRING"],
        settings["AZURE_QUEUE_NAME"],
        use_env_settings=False,  # the sandbox is on loopback, where no proxy finds it
    )

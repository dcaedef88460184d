"""Azure's own management SDK in a pool of 25 threads, ``write_pandas`` for every 1,000 rows.

A thread takes a message and makes its calls one after the other, with a client for each
subscription. A message is deleted when its rows are written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import pandas
import snowflake.connector
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.mgmt.compute import ComputeManagementClient
from azure.storage.queue import QueueClient, QueueMessage
from snowflake.connector.pandas_tools import write_pandas

THREADS = 25
ROWS_PER_WRITE = 1_000
# Messages that are taken from the queue and not done.
MESSAGES_MOST = 2 * THREADS
LEASE_S = 600
TOKEN_S = 86_400
TABLE = (
    "CREATE TABLE IF NOT EXISTS RESOURCES (MESSAGE_ID VARCHAR, RESOURCE_ID VARCHAR, TYPE VARCHAR,"
    " NAME VARCHAR, LOCATION VARCHAR, BODY VARCHAR, COLLECTED_AT TIMESTAMP_TZ)"
)

Row = dict[str, Any]


class GivenToken:
    """A credential that is a token."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """The token, said to be good for a day."""
        return AccessToken(os.environ["AZURE_ACCESS_TOKEN"], int(time.time()) + TOKEN_S)


@cache
def client(subscription: str, api_version: str) -> ComputeManagementClient:
    """The client of a subscription; it may be shared by threads."""
    endpoint = os.environ["AZURE_ARM_ENDPOINT"]
    return ComputeManagementClient(
        GivenToken(),
        subscription,
        base_url=endpoint,
        api_version=api_version,
        authentication_policy=BearerTokenCredentialPolicy(GivenToken(), f"{endpoint}/.default"),
    )


def main() -> None:
    """Collect until the queue is empty."""
    with (
        QueueClient.from_connection_string(
            os.environ["AZURE_QUEUE_CONNECTION_STRING"], os.environ["AZURE_QUEUE_NAME"]
        ) as queue,
        connect() as connection,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        connection.cursor().execute(TABLE)
        rows: list[Row] = []
        done: list[QueueMessage] = []
        pending: set[Future[tuple[QueueMessage, list[Row]]]] = set()

        def take(most: int) -> None:
            """Keep the rows of what has ended, until no more than so many are pending."""
            nonlocal pending
            while len(pending) > most:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    message, collected = future.result()
                    rows.extend(collected)
                    done.append(message)
                if len(rows) >= ROWS_PER_WRITE:
                    write()

        def write() -> None:
            if rows:
                write_pandas(connection, pandas.DataFrame(rows), "RESOURCES", use_logical_type=True)
            list(pool.map(queue.delete_message, done))
            rows.clear()
            done.clear()

        for message in queue.receive_messages(messages_per_page=32, visibility_timeout=LEASE_S):
            pending.add(pool.submit(collect, message))
            take(MESSAGES_MOST)
        take(0)
        write()


def connect() -> snowflake.connector.SnowflakeConnection:
    """A connection to Snowflake."""
    names = ("account", "user", "password", "host", "port", "protocol", "database", "schema")
    return snowflake.connector.connect(
        **{name: os.environ[f"SNOWFLAKE_{name.upper()}"] for name in names}
    )


def collect(message: QueueMessage) -> tuple[QueueMessage, list[Row]]:
    """Make the calls of a message."""
    asked = json.loads(message.content)
    rows = [
        row(asked["message_id"], disk)
        for request in asked["api_requests"]
        for disk in disks(request)
    ]
    return message, rows


def disks(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The disks that a request asks for: one, or all of a subscription.

    Its path is ``/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/N`` or
    ``/subscriptions/S/providers/Microsoft.Compute/disks``.
    """
    parts = request["resource_path"].strip("/").split("/")
    calls = client(parts[1], request["api_version"]).disks
    # The SDK refuses to send a token over plain HTTP unless it is told to.
    plain = os.environ["AZURE_ARM_ENDPOINT"].startswith("http://")
    options: Any = {"enforce_https": False} if plain else {}
    if parts[2].lower() == "resourcegroups":
        yield calls.get(parts[3], parts[7], **options).as_dict()
    else:
        for disk in calls.list(**options):
            yield disk.as_dict()


def row(message_id: str, resource: dict[str, Any]) -> Row:
    """A row of the table."""
    return {
        "MESSAGE_ID": message_id,
        "RESOURCE_ID": resource["id"],
        "TYPE": resource["type"],
        "NAME": resource["name"],
        "LOCATION": resource.get("location"),
        "BODY": json.dumps(resource),
        "COLLECTED_AT": pandas.Timestamp.now("UTC"),
    }


if __name__ == "__main__":
    main()

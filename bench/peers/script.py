"""What people write first: 25 threads with requests, ``write_pandas`` for every 1,000 rows.

A thread takes a message and makes its calls one after the other. A message is deleted when its rows
are written.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import pandas
import requests
import snowflake.connector
from azure.storage.queue import QueueClient, QueueMessage
from requests.adapters import HTTPAdapter
from snowflake.connector.pandas_tools import write_pandas
from urllib3.util import Retry

THREADS = 25
ROWS_PER_WRITE = 1_000
# Messages that are taken from the queue and not done.
MESSAGES_MOST = 2 * THREADS
LEASE_S = 600
TIMEOUT_S = 60
RETRY = Retry(total=10, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))
TABLE = (
    "CREATE TABLE IF NOT EXISTS RESOURCES (MESSAGE_ID VARCHAR, RESOURCE_ID VARCHAR, TYPE VARCHAR,"
    " NAME VARCHAR, LOCATION VARCHAR, BODY VARCHAR, COLLECTED_AT TIMESTAMP_TZ)"
)

Row = dict[str, Any]


def main() -> None:
    """Collect until the queue is empty."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=THREADS, max_retries=RETRY))
    session.headers["Authorization"] = f"Bearer {os.environ['AZURE_ACCESS_TOKEN']}"
    with (
        session,
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
            pending.add(pool.submit(collect, session, message))
            take(MESSAGES_MOST)
        take(0)
        write()


def connect() -> snowflake.connector.SnowflakeConnection:
    """A connection to Snowflake."""
    names = ("account", "user", "password", "host", "port", "protocol", "database", "schema")
    return snowflake.connector.connect(
        **{name: os.environ[f"SNOWFLAKE_{name.upper()}"] for name in names}
    )


def collect(session: requests.Session, message: QueueMessage) -> tuple[QueueMessage, list[Row]]:
    """Make the calls of a message."""
    asked = json.loads(message.content)
    rows: list[Row] = []
    for request in asked["api_requests"]:
        url = (
            f"{os.environ['AZURE_ARM_ENDPOINT']}{request['resource_path']}"
            f"?api-version={request['api_version']}"
        )
        while url:
            response = session.get(url, timeout=TIMEOUT_S)
            response.raise_for_status()
            answer = response.json()
            rows += [row(asked["message_id"], one) for one in answer.get("value", [answer])]
            url = answer.get("nextLink")
    return message, rows


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

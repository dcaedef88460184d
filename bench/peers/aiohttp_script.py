"""The same with asyncio and aiohttp: 50 calls at a time, ``write_pandas`` for every 10,000 rows.

The queue is read with the asynchronous SDK. A message is deleted when its rows are written.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from typing import Any

import aiohttp
import pandas
import snowflake.connector
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient
from snowflake.connector.pandas_tools import write_pandas

CALLS_AT_ONCE = 50
ROWS_PER_WRITE = 10_000
# Messages that are taken from the queue and not done.
MESSAGES_MOST = 100
DELETES_AT_ONCE = 16
LEASE_S = 600
TIMEOUT_S = 60
TRIES = 10
RETRIED = frozenset({429, 500, 502, 503, 504})
TABLE = (
    "CREATE TABLE IF NOT EXISTS RESOURCES (MESSAGE_ID VARCHAR, RESOURCE_ID VARCHAR, TYPE VARCHAR,"
    " NAME VARCHAR, LOCATION VARCHAR, BODY VARCHAR, COLLECTED_AT TIMESTAMP_TZ)"
)

Row = dict[str, Any]


class Collector:
    """What the tasks share.

    Args:
        session: calls ARM.
        queue: gives the messages.
        connection: to Snowflake.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        queue: QueueClient,
        connection: snowflake.connector.SnowflakeConnection,
    ) -> None:
        self._session = session
        self._queue = queue
        self._connection = connection
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._deletes = asyncio.Semaphore(DELETES_AT_ONCE)
        self._rows: list[Row] = []
        self._done: list[QueueMessage] = []

    async def run(self) -> None:
        """Collect until the queue is empty."""
        pending: set[asyncio.Task[None]] = set()
        async for message in self._queue.receive_messages(
            messages_per_page=32, visibility_timeout=LEASE_S
        ):
            pending.add(asyncio.create_task(self._collect(message)))
            if len(pending) >= MESSAGES_MOST:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            if len(self._rows) >= ROWS_PER_WRITE:
                await self._write()
        await asyncio.gather(*pending)
        await self._write()

    async def _collect(self, message: QueueMessage) -> None:
        asked = json.loads(message.content)
        for rows in await asyncio.gather(
            *(self._request(asked["message_id"], one) for one in asked["api_requests"])
        ):
            self._rows += rows
        self._done.append(message)

    async def _request(self, message_id: str, request: dict[str, Any]) -> list[Row]:
        rows: list[Row] = []
        url: str | None = (
            f"{os.environ['AZURE_ARM_ENDPOINT']}{request['resource_path']}"
            f"?api-version={request['api_version']}"
        )
        while url:
            answer = await self._get(url)
            rows += [row(message_id, one) for one in answer.get("value", [answer])]
            url = answer.get("nextLink")
        return rows

    async def _get(self, url: str) -> dict[str, Any]:
        for attempt in range(TRIES):
            async with self._calls, self._session.get(url) as response:
                if response.status not in RETRIED:
                    response.raise_for_status()
                    answer: dict[str, Any] = json.loads(await response.read())
                    return answer
                wait_s = float(response.headers.get("Retry-After", 2**attempt))
            await asyncio.sleep(wait_s)
        raise RuntimeError(f"{url} was refused {TRIES} times")

    async def _write(self) -> None:
        rows, done = self._rows, self._done
        self._rows, self._done = [], []
        if rows:
            await asyncio.to_thread(
                write_pandas,
                self._connection,
                pandas.DataFrame(rows),
                "RESOURCES",
                use_logical_type=True,
            )
        await asyncio.gather(*map(self._delete, done))

    async def _delete(self, message: QueueMessage) -> None:
        async with self._deletes:
            await self._queue.delete_message(message)


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


def connect() -> snowflake.connector.SnowflakeConnection:
    """A connection to Snowflake."""
    names = ("account", "user", "password", "host", "port", "protocol", "database", "schema")
    return snowflake.connector.connect(
        **{name: os.environ[f"SNOWFLAKE_{name.upper()}"] for name in names}
    )


async def main() -> None:
    """Collect until the queue is empty."""
    trusted = ssl.create_default_context(cafile=os.environ.get("REQUESTS_CA_BUNDLE"))
    with connect() as connection:
        connection.cursor().execute(TABLE)
        async with (
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {os.environ['AZURE_ACCESS_TOKEN']}"},
                connector=aiohttp.TCPConnector(limit=CALLS_AT_ONCE, ssl=trusted),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as session,
            QueueClient.from_connection_string(
                os.environ["AZURE_QUEUE_CONNECTION_STRING"], os.environ["AZURE_QUEUE_NAME"]
            ) as queue,
        ):
            await Collector(session, queue, connection).run()


if __name__ == "__main__":
    asyncio.run(main())

"""dlt with its REST source, 25 workers, and its own loading.

dlt works in batches: the messages are all taken first, then their answers are extracted, normalised
and loaded, and then the messages are deleted. The body stays one column, as in the others' table.

It loads with its Snowflake destination, see :mod:`dlt_fakesnow`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import dlt
import dlt_fakesnow  # type: ignore[import-not-found]
from azure.storage.queue import QueueClient, QueueMessage
from dlt.sources.rest_api import rest_api_source

WORKERS = 25
LEASE_S = 3600
COLUMNS: Any = {"body": {"data_type": "json"}, "collected_at": {"data_type": "timestamp"}}


def main() -> None:
    """Collect until the queue is empty."""
    os.environ |= {
        "EXTRACT__WORKERS": str(WORKERS),
        # Pages that wait for their turn; dlt's own default is 20.
        "EXTRACT__MAX_PARALLEL_ITEMS": str(4 * WORKERS),
        "NORMALIZE__WORKERS": str(os.cpu_count()),
        "LOAD__WORKERS": str(WORKERS),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "WARNING",
        # Its own state, for a next run, stays in the folder and out of Snowflake.
        "RESTORE_FROM_DESTINATION": "false",
    }
    with (
        QueueClient.from_connection_string(
            os.environ["AZURE_QUEUE_CONNECTION_STRING"], os.environ["AZURE_QUEUE_NAME"]
        ) as queue,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        messages = list(queue.receive_messages(messages_per_page=32, visibility_timeout=LEASE_S))
        if messages:
            pipeline = dlt.pipeline(
                "azure",
                destination=destination(),
                dataset_name=os.environ["SNOWFLAKE_SCHEMA"].lower(),
                pipelines_dir="dlt",
            )
            pipeline.run(source(messages), loader_file_format="parquet").raise_on_failed_jobs()
        list(pool.map(queue.delete_message, messages))


def source(messages: list[QueueMessage]) -> Any:
    """The answers to what these messages ask for."""

    @dlt.resource(name="asked", selected=False)
    def asked() -> Iterator[list[dict[str, str]]]:
        for message in messages:
            content = json.loads(message.content)
            yield [
                {
                    "message_id": content["message_id"],
                    "path": request["resource_path"].lstrip("/"),
                    "api_version": request["api_version"],
                }
                for request in content["api_requests"]
            ]

    return rest_api_source(
        {
            "client": {
                "base_url": os.environ["AZURE_ARM_ENDPOINT"],
                "auth": {"type": "bearer", "token": os.environ["AZURE_ACCESS_TOKEN"]},
            },
            "resource_defaults": {"write_disposition": "append", "max_table_nesting": 0},
            "resources": [
                asked(),
                {
                    "name": "resources",
                    "columns": COLUMNS,
                    "parallelized": True,
                    "endpoint": {
                        "path": "{resources.asked.path}",
                        # Said here: dlt takes a path that ends in a placeholder for one page.
                        "paginator": {"type": "json_link", "next_url_path": "nextLink"},
                        "params": {"api-version": "{resources.asked.api_version}"},
                        # The whole answer: a resource, or a page of a list.
                        "data_selector": "$",
                    },
                    "include_from_parent": ["message_id"],
                    "processing_steps": [{"yield_map": rows}],
                },
            ],
        },
    )


def rows(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of an answer."""
    for resource in answer.get("value", [answer]):
        yield {
            "message_id": answer["_asked_message_id"],
            "resource_id": resource["id"],
            "type": resource["type"],
            "name": resource["name"],
            "location": resource.get("location"),
            "body": resource,
            "collected_at": datetime.now(UTC),
        }


def destination() -> Any:
    """The Snowflake of these settings."""
    names = ("warehouse", "role", "host", "port", "protocol")
    query = "&".join(f"{name}={os.environ[f'SNOWFLAKE_{name.upper()}']}" for name in names)
    who = f"{os.environ['SNOWFLAKE_USER']}:{os.environ['SNOWFLAKE_PASSWORD']}"
    where = f"{os.environ['SNOWFLAKE_ACCOUNT']}/{os.environ['SNOWFLAKE_DATABASE']}"
    return dlt_fakesnow.destination(f"snowflake://{who}@{where}?{query}")


if __name__ == "__main__":
    main()

"""QUERY_TAG: what Snowflake's QUERY_HISTORY tells of who ran a statement, and for which batches.

JSON, so that the bill can be told apart by a query::

    SELECT PARSE_JSON(QUERY_TAG):batch::STRING, SUM(TOTAL_ELAPSED_TIME)
    FROM SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY WHERE QUERY_TAG LIKE '{"collector":%' GROUP BY 1
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

import pipeline

# Snowflake's limit is 2,000 characters. A host's name is the one part whose length is not ours.
HOST_LIMIT_CHARS = 255


def query_tag(batch_ids: Sequence[str] = (), host: str | None = None) -> str:
    """The tag of a load.

    Args:
        batch_ids: of the load, oldest first; none for what a session runs besides loads. They sort
            by time, so the first and the last one tell which rows are meant.
        host: where the collector runs; this machine's name if not given.

    Returns:
        ``{"collector":"azure-collector@HOST","version":"1.2.3","batch":"ID"}``, with ``"batches"``
        and ``"last_batch"`` if several are joined.
    """
    host = socket.gethostname() if host is None else host
    told: dict[str, str | int] = {
        "collector": f"azure-collector@{host[:HOST_LIMIT_CHARS]}",
        "version": pipeline.__version__,
    }
    if batch_ids:
        told["batch"] = batch_ids[0]
    if len(batch_ids) > 1:
        told |= {"batches": len(batch_ids), "last_batch": batch_ids[-1]}
    return json.dumps(told, separators=(",", ":"))


def tag_sql(tag: str) -> str:
    """The statement that sets the tag: answered by Snowflake's services, without a warehouse."""
    text = tag.replace("\\", "\\\\").replace("'", "''")
    return f"ALTER SESSION SET QUERY_TAG = '{text}'"

"""The SQL that takes staged rows over, each once."""
# ruff: noqa: S608 - names and literals come from the schema and the clock, none from data

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline import tables

STAGED_RESOURCES = "AZURE_COLLECTOR_STAGED_RESOURCES"
STAGED_REQUESTS = "AZURE_COLLECTOR_STAGED_REQUESTS"

_RESOURCE_COLUMNS = tables.RESOURCES.names
# ENQUEUED_AT is staged to bound the look-back; the ledger itself does not have it.
_REQUEST_COLUMNS = [name for name in tables.REQUESTS.names if name != "ENQUEUED_AT"]
_REQUEST_KEY = ("MESSAGE_ID", "REQUEST_INDEX")


def merge_resources(look_back: datetime | None) -> str:
    """Insert the staged resources whose ``ROW_KEY`` is not there.

    Args:
        look_back: only rows enqueued since then are looked at, so that Snowflake reads few
            partitions; None looks at the whole table.
    """
    columns = ", ".join(map(_quoted, _RESOURCE_COLUMNS))
    parsed = ", ".join(
        'PARSE_JSON("BODY") AS "BODY"' if name == "BODY" else _quoted(name)
        for name in _RESOURCE_COLUMNS
    )
    return f"""
MERGE INTO "RESOURCES" AS t
USING (
    SELECT {parsed}
    FROM "{STAGED_RESOURCES}"
    QUALIFY ROW_NUMBER() OVER (PARTITION BY "ROW_KEY" ORDER BY "COLLECTED_AT", "BATCH_ID") = 1
) AS s
ON t."ROW_KEY" = s."ROW_KEY"{_since("ENQUEUED_AT", look_back)}
WHEN NOT MATCHED THEN INSERT ({columns})
VALUES ({_of_source(_RESOURCE_COLUMNS)})"""


def merge_requests(look_back: datetime | None) -> str:
    """Insert the staged outcomes, or replace those that are not ``complete``.

    Args:
        look_back: only outcomes completed since then are looked at; None looks at all.
    """
    columns = ", ".join(map(_quoted, _REQUEST_COLUMNS))
    key = ", ".join(map(_quoted, _REQUEST_KEY))
    same = " AND ".join(f't."{name}" = s."{name}"' for name in _REQUEST_KEY)
    changed = ", ".join(f'"{n}" = s."{n}"' for n in _REQUEST_COLUMNS if n not in _REQUEST_KEY)
    return f"""
MERGE INTO "REQUESTS" AS t
USING (
    SELECT {columns}
    FROM "{STAGED_REQUESTS}"
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY {key}
        ORDER BY IFF("OUTCOME" = 'complete', 0, 1), "COMPLETED_AT" DESC, "BATCH_ID" DESC
    ) = 1
) AS s
ON {same}{_since("COMPLETED_AT", look_back)}
WHEN MATCHED AND t."OUTCOME" <> 'complete' THEN UPDATE SET {changed}
WHEN NOT MATCHED THEN INSERT ({columns})
VALUES ({_of_source(_REQUEST_COLUMNS)})"""


def look_back(oldest: datetime, dedupe_window_s: float) -> datetime | None:
    """From when on rows are compared with the staged ones.

    A request is completed after its message was enqueued, so the same bound serves both tables.

    Args:
        oldest: least ``ENQUEUED_AT`` of the staged rows.
        dedupe_window_s: DEDUPE_WINDOW in seconds; 0 compares with the whole table.
    """
    return oldest - timedelta(seconds=dedupe_window_s) if dedupe_window_s else None


# Which staged rows PARSE_JSON would refuse, and what takes them out.
_REFUSED = '"BODY" IS NOT NULL AND TRY_PARSE_JSON("BODY") IS NULL'
REFUSED_ROWS = (
    'SELECT "ROW_KEY", "MESSAGE_ID", "REQUEST_INDEX", "BATCH_ID" '
    f'FROM "{STAGED_RESOURCES}" WHERE {_REFUSED}'
)
REMOVE_REFUSED_ROWS = f'DELETE FROM "{STAGED_RESOURCES}" WHERE {_REFUSED}'


def _since(column: str, moment: datetime | None) -> str:
    # A literal: Snowflake prunes partitions by it before it runs the statement.
    return "" if moment is None else f" AND t.\"{column}\" >= '{moment.isoformat()}'::TIMESTAMP_TZ"


def _of_source(columns: list[str]) -> str:
    return ", ".join(f's."{name}"' for name in columns)


def _quoted(name: str) -> str:
    return f'"{name}"'

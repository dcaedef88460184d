"""The SQL that takes staged rows over: each once, or (``append``) each batch once."""
# ruff: noqa: S608 - names and literals come from the schema and the clock, none from data

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline import tables
from stages.load import unfit

STAGED_RESOURCES = "AZURE_COLLECTOR_STAGED_RESOURCES"
STAGED_REQUESTS = "AZURE_COLLECTOR_STAGED_REQUESTS"
STAGED_REJECTED = "AZURE_COLLECTOR_STAGED_REJECTED"

# What is staged in each.
STAGED = {
    STAGED_RESOURCES: tables.RESOURCES,
    STAGED_REQUESTS: tables.REQUESTS,
    STAGED_REJECTED: unfit.COLUMNS,
}

_RESOURCE_COLUMNS = tables.RESOURCES.names
# ENQUEUED_AT is staged to bound the look-back; the ledger itself does not have it.
_REQUEST_COLUMNS = [name for name in tables.REQUESTS.names if name != "ENQUEUED_AT"]
_REQUEST_KEY = ("MESSAGE_ID", "REQUEST_INDEX")
_REJECTED_COLUMNS = unfit.COLUMNS.names

# 'd': of an object's equal keys the last one counts, as for most readers of JSON; else it is an
# error (Snowflake's reference, PARSE_JSON).
_PARSED = "PARSE_JSON(\"BODY\", 'd')"
# Of rows with the same key in one load, the first that was collected.
_FIRST = 'ROW_NUMBER() OVER (PARTITION BY "ROW_KEY" ORDER BY "COLLECTED_AT", "BATCH_ID") = 1'


def merge_resources(look_back: datetime | None) -> str:
    """Insert the staged resources whose ``ROW_KEY`` is not there.

    Args:
        look_back: only rows enqueued since then are looked at, so that Snowflake reads few
            partitions; None looks at the whole table.
    """
    columns = ", ".join(map(_quoted, _RESOURCE_COLUMNS))
    parsed = ", ".join(
        f'{_PARSED} AS "BODY"' if name == "BODY" else _quoted(name) for name in _RESOURCE_COLUMNS
    )
    return f"""
MERGE INTO "RESOURCES" AS t
USING (
    SELECT {parsed}
    FROM "{STAGED_RESOURCES}"
    QUALIFY {_FIRST}
) AS s
ON t."ROW_KEY" = s."ROW_KEY"{_since("ENQUEUED_AT", look_back)}
WHEN NOT MATCHED THEN INSERT ({columns})
VALUES ({_of_source(_RESOURCE_COLUMNS)})"""


def append_resources(enqueued: datetime | None, collected: datetime | None) -> str:
    """Insert the staged resources of every batch of which no row is there.

    A batch is committed whole or not at all, so one that is loaded again after its answer was lost
    is known by any of its rows.

    Args:
        enqueued: least ``ENQUEUED_AT`` of the staged rows.
        collected: least ``COLLECTED_AT`` of the staged rows. Rows of the same batches are not
            older than either, so that Snowflake reads few partitions; None looks at all.
    """
    columns = ", ".join(map(_quoted, _RESOURCE_COLUMNS))
    parsed = ", ".join(_PARSED if name == "BODY" else _quoted(name) for name in _RESOURCE_COLUMNS)
    bounds = _since("ENQUEUED_AT", enqueued) + _since("COLLECTED_AT", collected)
    return f"""
INSERT INTO "RESOURCES" ({columns})
SELECT {parsed}
FROM (SELECT {columns} FROM "{STAGED_RESOURCES}" QUALIFY {_FIRST}) AS s
WHERE NOT EXISTS (
    SELECT 1 FROM "RESOURCES" AS t WHERE t."BATCH_ID" = s."BATCH_ID"{bounds}
)"""


def merge_rejected(look_back: datetime | None) -> str:
    """Insert the staged rejected rows whose ``ROW_KEY`` is not there.

    Args:
        look_back: only rows enqueued since then are looked at; None looks at all.
    """
    columns = ", ".join(map(_quoted, _REJECTED_COLUMNS))
    return f"""
MERGE INTO "REJECTED_ROWS" AS t
USING (
    SELECT {columns}
    FROM "{STAGED_REJECTED}"
    QUALIFY ROW_NUMBER() OVER (PARTITION BY "ROW_KEY" ORDER BY "BATCH_ID", "BODY_DIGEST") = 1
) AS s
ON t."ROW_KEY" = s."ROW_KEY"{_since("ENQUEUED_AT", look_back)}
WHEN NOT MATCHED THEN INSERT ({columns})
VALUES ({_of_source(_REJECTED_COLUMNS)})"""


def merge_requests(look_back: datetime | None) -> str:
    """Insert the staged outcomes, or replace those that are not ``complete``.

    The same batch, loaded again, changes nothing: what it said of rows that were set aside stands.

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
WHEN MATCHED AND t."OUTCOME" <> 'complete' AND t."BATCH_ID" <> s."BATCH_ID"
    THEN UPDATE SET {changed}
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


# Which staged rows PARSE_JSON refuses.
REFUSED = '"BODY" IS NOT NULL AND TRY_PARSE_JSON("BODY", \'d\') IS NULL'
# Which staged rows are the largest: a VARIANT can be larger than its text.
LARGEST = f'LENGTH("BODY") = (SELECT MAX(LENGTH("BODY")) FROM "{STAGED_RESOURCES}")'
# What is fetched of them.
DESCRIBED = (*unfit.WHOSE, "BODY")


def staged_rows(which: str) -> str:
    """Fetch :data:`DESCRIBED` of staged resources: :data:`REFUSED` or :data:`LARGEST`."""
    columns = ", ".join(map(_quoted, DESCRIBED))
    return f'SELECT {columns} FROM "{STAGED_RESOURCES}" WHERE {which}'


def remove_staged(which: str) -> str:
    """Take them out."""
    return f'DELETE FROM "{STAGED_RESOURCES}" WHERE {which}'


def _since(column: str, moment: datetime | None) -> str:
    # A literal: Snowflake prunes partitions by it before it runs the statement.
    return "" if moment is None else f" AND t.\"{column}\" >= '{moment.isoformat()}'::TIMESTAMP_TZ"


def _of_source(columns: list[str]) -> str:
    return ", ".join(f's."{name}"' for name in columns)


def _quoted(name: str) -> str:
    return f'"{name}"'

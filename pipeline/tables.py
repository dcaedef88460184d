"""The columns of RESOURCES and REQUESTS as Arrow schemas: what ``batch`` builds, ``load`` loads.

JSON travels as text (``BODY``); it becomes a VARIANT in the MERGE. Times are microseconds in UTC.
The one column a table does not have is REQUESTS' ``ENQUEUED_AT``: it bounds the MERGE's look-back.
"""

from __future__ import annotations

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

RESOURCES = pa.schema(
    [
        pa.field("ROW_KEY", pa.string(), nullable=False),
        pa.field("MESSAGE_ID", pa.string(), nullable=False),
        pa.field("CORRELATION_ID", pa.string()),
        pa.field("REQUEST_INDEX", pa.int32(), nullable=False),
        pa.field("SERVICE", pa.string(), nullable=False),
        pa.field("API_VERSION", pa.string(), nullable=False),
        pa.field("SUBSCRIPTION_ID", pa.string()),
        pa.field("RESOURCE_GROUP", pa.string()),
        pa.field("RESOURCE_ID", pa.string()),
        pa.field("RESOURCE_TYPE", pa.string()),
        pa.field("NAME", pa.string()),
        pa.field("LOCATION", pa.string()),
        pa.field("BODY", pa.string()),
        pa.field("BODY_HASH", pa.string()),
        pa.field("ENQUEUED_AT", TIMESTAMP, nullable=False),
        pa.field("COLLECTED_AT", TIMESTAMP, nullable=False),
        pa.field("BATCH_ID", pa.string(), nullable=False),
        pa.field("SOURCE", pa.string()),
        pa.field("CACHED", pa.bool_()),
    ]
)

REQUESTS = pa.schema(
    [
        pa.field("MESSAGE_ID", pa.string(), nullable=False),
        pa.field("REQUEST_INDEX", pa.int32(), nullable=False),
        pa.field("CORRELATION_ID", pa.string()),
        pa.field("SERVICE", pa.string(), nullable=False),
        pa.field("METHOD", pa.string(), nullable=False),
        pa.field("API_VERSION", pa.string(), nullable=False),
        pa.field("URL", pa.string(), nullable=False),
        pa.field("SUBSCRIPTION_ID", pa.string()),
        pa.field("OUTCOME", pa.string(), nullable=False),
        pa.field("STATUS_CODE", pa.int32()),
        pa.field("ERROR_CODE", pa.string()),
        pa.field("ERROR_MESSAGE", pa.string()),
        pa.field("PAGES", pa.int32(), nullable=False),
        pa.field("ROWS", pa.int64(), nullable=False),
        pa.field("ATTEMPTS", pa.int32(), nullable=False),
        pa.field("LATENCY_MS", pa.int64(), nullable=False),
        pa.field("AZURE_REQUEST_ID", pa.string()),
        pa.field("DEQUEUE_COUNT", pa.int32(), nullable=False),
        pa.field("STARTED_AT", TIMESTAMP, nullable=False),
        pa.field("COMPLETED_AT", TIMESTAMP, nullable=False),
        pa.field("BATCH_ID", pa.string(), nullable=False),
        pa.field("SOURCE", pa.string()),
        pa.field("CACHED", pa.bool_()),
        pa.field("BODY_HASH", pa.string()),
        pa.field("ENQUEUED_AT", TIMESTAMP, nullable=False),
    ]
)


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that another version has written, as this one has them; nothing is copied.

    Args:
        rows: columns that this version does not know are dropped; those that it has beyond theirs
            are null.
        schema: of this version.

    Raises:
        ValueError: a column that is never null is missing or has nulls, or one has another type.
    """
    columns = []
    for field in schema:
        if field.name in rows.column_names:
            column = rows[field.name]
            if column.type != field.type:
                raise ValueError(f"{field.name} is {column.type}, not {field.type}")
            if column.null_count and not field.nullable:
                raise ValueError(f"{field.name} has nulls")
        elif field.nullable:
            column = pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        else:
            raise ValueError(f"{field.name} is missing")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)

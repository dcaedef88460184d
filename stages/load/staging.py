"""Arrow tables into session-temporary tables, with the connector's ``write_pandas``."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.errors import DependencyError, Unreachable
from stages.load import failures
from stages.load.connector import write_pandas
from stages.load.session import Session

# Cheapest to make (a quarter of gzip's processor time), and the way to Snowflake's stage is short.
COMPRESSION = "snappy"
# A COPY reads all of the file, once. Statistics and dictionaries serve those who search it and take
# a third of the time of writing it; without dictionaries these columns are hardly larger. Small
# pages are compressed in memory that was used a moment ago.
PLAIN_PARQUET = {"use_dictionary": False, "write_statistics": False, "data_page_size": 128 * 1024}

# A COPY names its file "<stage, lower case>/file0.txt"; the stage's name is the connector's own.
_STAGE_OF_FILE = re.compile(r"([a-z0-9_]+)/")


def stage_rows(session: Session, name: str, rows: pa.Table) -> None:
    """Put rows into a fresh temporary table.

    Args:
        session: the table is seen in this session only, and ends with it.
        name: of the temporary table. What it held before is gone.
        rows: JSON as text. Nothing is copied on the way to pandas.

    Raises:
        Unreachable: the way or the session was lost.
        DependencyError: Snowflake refused, or took another number of rows.
    """
    # Created anew, so that no row of an earlier attempt is left. Before BEGIN: DDL commits.
    session.run(table_sql(name, rows.schema))
    frame = rows.to_pandas(types_mapper=pd.ArrowDtype)
    try:
        loaded, _chunks, count, files = write_pandas(
            session.connection,
            frame,
            name,
            compression=COMPRESSION,
            use_logical_type=True,  # else times with a zone arrive as numbers
            **PLAIN_PARQUET,
        )
    except IndexError as error:
        # It counts on a row for each file, and COPY says otherwise when it finds none. There was
        # one: the answer to a COPY was lost, and the connector has sent it again.
        problem = f"COPY into {name} was repeated and found its file taken"
        raise Unreachable(failures.WHAT, problem, "the batch is loaded again") from error
    except Exception as error:
        if not failures.is_connector_error(error):
            raise
        raise failures.statement_error(error) from error
    if not loaded or count != rows.num_rows:
        problem = f"COPY took {count} of {rows.num_rows} rows of {name}"
        raise DependencyError(failures.WHAT, problem)
    for stage in sorted(stages_of(files)):
        session.run(f'DROP STAGE IF EXISTS "{stage}"')


def table_sql(name: str, schema: pa.Schema) -> str:
    """The statement that makes an empty temporary table for rows of this schema."""
    columns = ", ".join(f'"{field.name}" {_type(field.type)}' for field in schema)
    return f'CREATE OR REPLACE TEMPORARY TABLE "{name}" ({columns}) DATA_RETENTION_TIME_IN_DAYS = 0'


def stages_of(files: Any) -> set[str]:
    """The temporary stages that ``write_pandas`` left, from what its COPY answered.

    It makes one for each call, and none is dropped before the session ends.
    """
    names = (_STAGE_OF_FILE.match(str(file[0])) for file in files)
    return {name[1].upper() for name in names if name}


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_TZ"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    return "INTEGER" if pa.types.is_integer(kind) else "VARCHAR"

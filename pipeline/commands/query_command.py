"""``azure-collector sandbox --data DIR --query SQL``: a look into the tables a run left behind."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config import load
from pipeline.entry_points import COMMANDS, resolve
from pipeline.errors import EXIT_CONFIG, EXIT_DONE
from pipeline.sandbox.runner import Sandbox

# Rows printed of an answer; a table that is longer is none to read on a terminal.
SHOWN_ROWS = 200


def query_sandbox(folder: Path | None, sql: str) -> int:
    """Start the sandbox's Snowflake on a folder, run one statement, print what it answers.

    Args:
        folder: the sandbox's data.
        sql: in Snowflake's dialect.

    Returns:
        The exit code.
    """
    if folder is None or not folder.is_dir():
        print(f"azure-collector: --query takes the --data DIR of a sandbox; got {folder}",
              file=sys.stderr)  # fmt: skip
        return EXIT_CONFIG
    with Sandbox(folder, parts=("snowflake",)) as sandbox:
        config = load(None, sandbox.settings, {}, needs=("snowflake",))
        with resolve(COMMANDS["connect_snowflake"])(config) as session:
            names, rows = session.table(sql)
    table = Table(*names)
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)
    if len(rows) > SHOWN_ROWS:
        print(f"{SHOWN_ROWS} of {len(rows)} rows")
    return EXIT_DONE

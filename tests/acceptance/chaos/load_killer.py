"""``python -m pipeline`` in which some rows kill the process that loads them.

There is no way to it in the product. Every other row is staged as it is.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pipeline import child
from pipeline.entry_points import kind_of
from tests.acceptance.chaos.in_stages import in_every_stage

if TYPE_CHECKING:
    # Not in the supervisor: its stages are forked from it.
    import pyarrow as pa

# JSON: pairs of a MESSAGE_ID and a RESOURCE_ID in lower case, or a MESSAGE_ID and "" for its rows
# of REQUESTS. A row that is one of them kills whoever stages it with its texts.
DEADLY_VARIABLE = "CHAOS_DEADLY_ROWS"
# Fewer than any search takes, so that one whose deaths were counted would not come to its end.
CRASH_LOOP_DEATHS = 5


def _deadly(rows: pa.Table) -> bool:
    texts = rows["URL"] if "URL" in rows.column_names else rows["RESOURCE_ID"]
    what = (text and ("" if "URL" in rows.column_names else text.lower()) for text in _list(texts))
    deadly = {tuple(pair) for pair in json.loads(os.environ[DEADLY_VARIABLE])}
    # A request without its URL is one that is told without its texts.
    given = zip(_list(rows["MESSAGE_ID"]), what, _list(texts), strict=True)
    return any(text and (message_id, one) in deadly for message_id, one, text in given)


def _list(column: pa.ChunkedArray) -> list[str | None]:
    return [value.as_py() for value in column]


def _wrap(process: str) -> None:
    if kind_of(process) != "load":
        return
    from stages.load import staging

    stage_rows = staging.stage_rows

    def wrapped(session: Any, name: str, rows: pa.Table) -> None:
        if _deadly(rows):
            # A real one: kill() would leave this thread running until another one takes the signal.
            ctypes.string_at(0)
        stage_rows(session, name, rows)

    staging.stage_rows = wrapped


if __name__ == "__main__":
    from pipeline.cli import main

    assert child.CRASH_LOOP_DEATHS > CRASH_LOOP_DEATHS
    child.CRASH_LOOP_DEATHS = CRASH_LOOP_DEATHS
    in_every_stage(_wrap)
    sys.exit(main())

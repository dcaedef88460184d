"""What the ``load`` process notes of its loads, for the process that measures it.

:func:`begin` runs in that process before it becomes the stage. It puts a stop-watch around
``write_pandas`` and ``Loader.load``; a line of the file tells a load that was committed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

# Names the file that the lines go to.
FILE_VARIABLE = "BENCH_LOAD_PROBE"


class LoadNote(msgspec.Struct, frozen=True):
    """One load.

    Attributes:
        began_s: when it began, seconds since 1970.
        seconds: from its first statement to the answer to COMMIT.
        batch_ids: oldest first.
        size_bytes: of their files in the spool: Arrow data, as it is in memory.
        rows: of RESOURCES.
        processor_s: processor time of the whole process meanwhile.
        write_pandas_s: processor time of the whole process within ``write_pandas``.
    """

    began_s: float
    seconds: float
    batch_ids: list[str]
    size_bytes: int
    rows: int
    processor_s: float
    write_pandas_s: float


def begin(_name: str, _control: Connection) -> None:
    """Put the stop-watches on; called by :func:`pipeline.launch.launch`."""
    from stages.load import staging
    from stages.load.loader import Loader

    file = Path(os.environ[FILE_VARIABLE])
    # By its dictionary, because it is the connector's name and no export of the module.
    names = vars(staging)
    write_pandas, load = names["write_pandas"], Loader.load
    in_write_pandas_s = 0.0

    def timed_write_pandas(*arguments: Any, **options: Any) -> Any:
        nonlocal in_write_pandas_s
        before_s = time.process_time()
        try:
            return write_pandas(*arguments, **options)
        finally:
            in_write_pandas_s += time.process_time() - before_s

    def timed_load(self: Loader, batches: Sequence[Any], *way: Any) -> Any:
        began_s, start_s = time.time(), time.monotonic()
        processor_s, write_pandas_s = time.process_time(), in_write_pandas_s
        loaded = load(self, batches, *way)
        note = LoadNote(
            began_s=began_s,
            seconds=time.monotonic() - start_s,
            batch_ids=[batch.batch_id for batch in batches],
            size_bytes=sum(batch.size_bytes for batch in batches),
            rows=sum(batch.resources.num_rows for batch in batches),
            processor_s=time.process_time() - processor_s,
            write_pandas_s=in_write_pandas_s - write_pandas_s,
        )
        with file.open("ab") as lines:
            lines.write(msgspec.json.encode(note) + b"\n")
        return loaded

    names["write_pandas"] = timed_write_pandas
    Loader.load = timed_load  # type: ignore[method-assign]


def read(file: Path) -> list[LoadNote]:
    """The loads that were noted, in their order."""
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=LoadNote) for line in file.read_bytes().splitlines()]

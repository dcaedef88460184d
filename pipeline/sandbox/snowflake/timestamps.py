"""Times in answers: fakesnow sends one that is null as the first second of 1970."""

from __future__ import annotations

import fakesnow.arrow
import pyarrow as pa
import pyarrow.compute as pc

_without_nulls = fakesnow.arrow.timestamp_to_sf_struct


def install() -> None:
    """Have fakesnow's answers made with :func:`as_struct`."""
    fakesnow.arrow.timestamp_to_sf_struct = as_struct


def as_struct(times: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Times as the connector reads them: seconds, nanoseconds and zone, or null."""
    if isinstance(times, pa.ChunkedArray):
        times = times.combine_chunks()
    made = _without_nulls(times)
    if not times.null_count:
        return made
    parts = [pc.fill_null(part, 0) for part in made.flatten()]
    return pa.StructArray.from_arrays(parts, fields=list(made.type), mask=pc.is_null(times))

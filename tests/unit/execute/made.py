"""Requests, leases and answers as the tests of this folder need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pipeline.links import MAX_FRAME_BYTES
from pipeline.messages import LeaseRef, PlannedRequest, RequestKey, Resource, Rows
from stages.execute.client import Answer
from stages.execute.held import Held, HoldSpace, frames_of
from stages.execute.origin import Origin
from stages.execute.run import RequestRun
from stages.execute.steps import Done, Limits

ORIGIN = Origin.parse("https://management.azure.com")
LIST = "/subscriptions/s1/providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01"
GRAPH = "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01"
START_US = 1_000_000
LIMITS = Limits(
    max_retries=2, initial_retry_delay_s=1.0, max_backoff_s=30.0, request_timeout_s=900.0
)
LEASE = LeaseRef(1, 1, "q", "qid", "pop", "m-1", "c-1", 5, 1, 1)
KEY = RequestKey(0, "compute", "GET", "2024-07-01", "s1")

_frame = msgspec.msgpack.Decoder(list[Rows]).decode


def planned(method: str = "GET", target: str = LIST, body: Any = None) -> PlannedRequest:
    data = None if body is None else msgspec.json.encode(body)
    return PlannedRequest(0, "compute", method, "2024-07-01", target, {}, data, "s1", "")


def answer(status: int = 200, body: Any = b"", **headers: str) -> Answer:
    """An answer; ``retry_after="3"`` becomes a header, a body that is not bytes JSON."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    fields = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Answer(status, fields, data)


def rows_in(done: Done) -> list[Resource]:
    """The rows of a request, as ``batch`` reads them."""
    return [row for rows in frames_in(done.held) for row in rows.resources]


def frames_in(*held: Held) -> list[Rows]:
    """What a link carries of requests that are done."""
    found = []
    for data in frames_of(held):
        assert len(data) <= MAX_FRAME_BYTES
        assert int.from_bytes(data[:4], "little") == len(data) - 4
        found += _frame(data[4:])
    return found


def a_run(folder: Path, request: PlannedRequest, limits: Limits = LIMITS) -> RequestRun:
    return RequestRun(LEASE, request, ORIGIN, limits, HoldSpace(folder))

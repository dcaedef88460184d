"""Every type that crosses a link or comes off the queue.

The way of the data, in order::

    Work ──► Executed / Rows ──► Sealed ──► Receipt
    fetch    execute             batch      load ──► fetch deletes

All are msgspec Structs encoded as msgpack arrays with a tag, so a link can carry any of them.
"""

from __future__ import annotations

from pipeline.messages.base import Link
from pipeline.messages.control import (
    Assume,
    Attach,
    Begin,
    Drain,
    Drained,
    Excused,
    Heartbeat,
    LogEvent,
    Ready,
    ScopeLevel,
    StartFailed,
    Stop,
)
from pipeline.messages.rows import (
    PROVIDER,
    RESOURCE_GRAPH,
    Damaged,
    Flush,
    Outcome,
    Part,
    Receipt,
    RequestKey,
    Resource,
    Rows,
    Sealed,
    SpoolFound,
    Unsealed,
)
from pipeline.messages.work import (
    ARM,
    AUDIENCES,
    MICROSOFT_GRAPH,
    Executed,
    InCall,
    LeaseRef,
    NoToken,
    PlannedRequest,
    Returned,
    Token,
    TokenWanted,
    Work,
    WorkerUp,
)

AnyLink = (
    Work
    | Token
    | NoToken
    | WorkerUp
    | Executed
    | Returned
    | TokenWanted
    | Rows
    | Flush
    | Sealed
    | Receipt
    | Damaged
    | SpoolFound
    | Unsealed
    | Attach
    | Assume
    | Begin
    | Drain
    | Stop
    | Ready
    | Drained
    | StartFailed
    | Excused
    | Heartbeat
)

__all__ = [
    "ARM",
    "AUDIENCES",
    "MICROSOFT_GRAPH",
    "PROVIDER",
    "RESOURCE_GRAPH",
    "AnyLink",
    "Assume",
    "Attach",
    "Begin",
    "Damaged",
    "Drain",
    "Drained",
    "Excused",
    "Executed",
    "Flush",
    "Heartbeat",
    "InCall",
    "LeaseRef",
    "Link",
    "LogEvent",
    "NoToken",
    "Outcome",
    "Part",
    "PlannedRequest",
    "Ready",
    "Receipt",
    "RequestKey",
    "Resource",
    "Returned",
    "Rows",
    "ScopeLevel",
    "Sealed",
    "SpoolFound",
    "StartFailed",
    "Stop",
    "Token",
    "TokenWanted",
    "Unsealed",
    "Work",
    "WorkerUp",
]

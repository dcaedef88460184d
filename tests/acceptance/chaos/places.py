"""The hard places: instants at which a process dies of SIGKILL, and where in the code they are.

What is named here is called as it is; the process kills itself before the call, after it, or with
half of it done. Nothing here is reached but through :mod:`tests.acceptance.chaos.hooked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pipeline.messages import Attach, Link, Rows, Sealed, Work

# The main process's name, as multiprocessing has it.
SUPERVISOR = "MainProcess"
# Only a frame of a long list is as large as this.
LARGE_BYTES = 512 * 1024


class When(Enum):
    """When in the call the process dies."""

    BEFORE = "before"
    AFTER = "after"
    # Of bytes that are written, the first half goes out.
    HALF = "half"


@dataclass(frozen=True)
class Call:
    """A call of what a place names.

    Attributes:
        positional: its arguments, ``self`` included.
        named: its keyword arguments.
        result: what it returned; None before it has.
    """

    positional: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


def any_call(_: Call) -> bool:
    """Every call counts."""
    return True


@dataclass(frozen=True)
class Place:
    """Where a process dies.

    Attributes:
        process: its kind: ``fetch``, ``execute``, ``batch``, ``load`` or :data:`SUPERVISOR`.
        where: ``module:function`` or ``module:Class.method``.
        when: before the call, after it, or in its middle.
        counts: which calls count.
        passing: it dies of the so-many-th call that counts, from 1.
    """

    process: str
    where: str
    when: When
    counts: Callable[[Call], bool] = any_call
    passing: int = 1


# ── which calls count ────────────────────────────────────────────────────────────────────────────


def _sql(beginning: str) -> Callable[[Call], bool]:
    return lambda call: str(call.positional[1]).lstrip().startswith(beginning)


def _frame_of(message: str) -> Callable[[Call], bool]:
    """A frame whose first message is of this type: its tag stands at the beginning."""
    return lambda call: message.encode() in bytes(call.positional[1][:20])


def _is(kind: type[Link]) -> Callable[[Call], bool]:
    """A message of this type came from a peer."""
    return lambda call: isinstance(call.positional[2], kind)


def _large(call: Call) -> bool:
    """A frame of a list that takes several."""
    return len(call.positional[1]) > LARGE_BYTES


def _got_some(call: Call) -> bool:
    messages, _ = call.result
    return bool(messages)


def _sealed_for_fetch(call: Call) -> bool:
    _, *messages = call.positional
    return any(isinstance(message, Sealed) and message.parts for message in messages)


def _part_of_a_request(call: Call) -> bool:
    """A sealed batch that holds a part of a request, whose ledger row comes in a later one."""
    _, *messages = call.positional
    parts = [p for message in messages if isinstance(message, Sealed) for p in message.parts]
    return any(part.expects is None for part in parts)


def _new_peer(call: Call) -> bool:
    """This process gets its end of a link to one that was restarted."""
    message = call.positional[1]
    return isinstance(message, Attach) and message.generation > 1


def _first_peer(call: Call) -> bool:
    return isinstance(call.positional[1], Attach)


def _restarted(call: Call) -> bool:
    """One of the two was restarted."""
    one, other, _ = call.positional
    return bool(max(one.generation, other.generation) > 1)


def _text_into(*, poison: bool) -> Callable[[Call], bool]:
    """A text is written into a message of a poison queue, or of any other."""

    def counts(call: Call) -> bool:
        in_poison = str(call.positional[0].queue_name).endswith("-poison")
        return "content" in call.named and in_poison == poison

    return counts


def _kind(name: str) -> Callable[[Call], bool]:
    return lambda call: bool(call.positional[0] == name)


# ── the places ───────────────────────────────────────────────────────────────────────────────────

_SESSION = "stages.load.session:Session.run"
_QUEUE = "stages.fetch.queue_io:QueueIo"
_SDK = "azure.storage.queue:QueueClient"
_ON_CONTROL = "pipeline.stage:Stage._on_control"
# Every frame of a data link begins with this call, and most are written whole by it.
_WRITE = "pipeline.links:DataLink._start"

PLACES: dict[str, Place] = {
    # Snowflake
    "half-the-tables": Place("load", _SESSION, When.AFTER, _sql("CREATE TABLE")),
    "after-copy": Place("load", "stages.load.staging:stage_rows", When.AFTER),
    "before-commit": Place("load", _SESSION, When.BEFORE, _sql("COMMIT")),
    "after-commit": Place("load", _SESSION, When.AFTER, _sql("COMMIT")),
    "half-a-receipt": Place("load", _WRITE, When.HALF, _frame_of("Receipt")),
    "receipt-sent": Place("load", "pipeline.spool:Spool.remove", When.BEFORE),
    "batch-removed": Place("load", "pipeline.spool:Spool.remove", When.AFTER),
    "adopting": Place("load", "pathlib:Path.rename", When.AFTER),
    # The spool
    "rows-read": Place(
        "batch", "stages.batch.stage:Batch.on_message", When.BEFORE, _is(Rows), passing=10
    ),
    "half-a-batch": Place("batch", "pyarrow.ipc:new_stream", When.BEFORE, passing=3),
    "batch-synced": Place("batch", "os:fsync", When.AFTER),
    "batch-renamed": Place("batch", "pipeline.spool:sync_folder", When.BEFORE),
    "half-a-seal-told": Place("batch", _WRITE, When.HALF, _frame_of("Sealed")),
    "seal-told-to-fetch": Place(
        "batch", "pipeline.links:DataLink.send", When.AFTER, _sealed_for_fetch
    ),
    "seal-of-a-part-told": Place(
        "batch", "pipeline.links:DataLink.send", When.AFTER, _part_of_a_request
    ),
    # Calls
    "work-read": Place(
        "execute", "stages.execute.stage:Execute.on_message", When.BEFORE, _is(Work)
    ),
    "half-a-row": Place("execute", _WRITE, When.HALF, _frame_of("Rows"), passing=3),
    "first-part-of-a-list": Place("execute", _WRITE, When.BEFORE, _large, passing=2),
    "rows-written": Place("execute", _WRITE, When.AFTER, _frame_of("Rows"), passing=4),
    # Links
    "first-end-received": Place("batch", _ON_CONTROL, When.BEFORE, _first_peer),
    "new-end-received": Place("execute", _ON_CONTROL, When.BEFORE, _new_peer),
    # The queue
    "received": Place("fetch", f"{_QUEUE}.receive", When.AFTER, _got_some),
    "half-the-work": Place("fetch", _WRITE, When.HALF, _frame_of("Work")),
    "before-renewal": Place("fetch", f"{_QUEUE}.renew", When.BEFORE),
    "after-renewal": Place("fetch", f"{_QUEUE}.renew", When.AFTER),
    "before-delete": Place("fetch", f"{_QUEUE}.delete", When.BEFORE),
    "after-delete": Place("fetch", f"{_QUEUE}.delete", When.AFTER),
    # Only for poison does this process send a message, or write another text into one.
    "poison-sent": Place("fetch", f"{_SDK}.send_message", When.AFTER),
    "poison-marked": Place("fetch", f"{_SDK}.update_message", When.AFTER, _text_into(poison=False)),
    "poison-written": Place("fetch", f"{_SDK}.update_message", When.AFTER, _text_into(poison=True)),
    "after-release": Place("fetch", f"{_QUEUE}.release", When.AFTER),
    # The supervisor
    "stages-half-started": Place(SUPERVISOR, "pipeline.child:Child.start", When.AFTER, passing=3),
    "one-end-handed": Place(SUPERVISOR, "pipeline.child:Child.attach", When.AFTER, _restarted),
    "half-drained": Place(SUPERVISOR, "pipeline.draining:drain_kind", When.BEFORE, _kind("batch")),
}

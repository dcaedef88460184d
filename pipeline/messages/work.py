"""What ``fetch`` and ``execute`` say to each other: work, tokens, and how it stands."""

from __future__ import annotations

import msgspec

from pipeline.messages.base import Link

# What a token is for, and so where it may go: each has one origin.
ARM = "arm"
MICROSOFT_GRAPH = "microsoft-graph"
AUDIENCES = (ARM, MICROSOFT_GRAPH)


class PlannedRequest(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One request of a message after every rule was checked: ready to be sent.

    Attributes:
        index: position in the message's ``api_requests``, from 0.
        service: service name as the message gave it.
        method: ``GET``, ``HEAD`` or ``POST``.
        api_version: ``YYYY-MM-DD`` or ``YYYY-MM-DD-preview``.
        target: path and query, percent-encoded, starting with ``/`` and holding ``api-version``.
        headers: the message's extra headers, checked.
        body: JSON text of a POST, or None.
        subscription_id: lower-cased from the path, or "" for tenant-level paths.
        resource_group: as in the path, or "".
        audience: :data:`ARM` or :data:`MICROSOFT_GRAPH`.
        prefer_graph: Resource Graph is asked first, where it may know the answer.
        select: JMESPath expression, checked, that says what is kept of each resource; or None.
    """

    index: int
    service: str
    method: str
    api_version: str
    target: str
    headers: dict[str, str]
    body: bytes | None
    subscription_id: str
    resource_group: str
    audience: str = ARM
    prefer_graph: bool = False
    select: str | None = None


class LeaseRef(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a row needs to know of the message it came from, and a new ``fetch`` needs to delete it.

    Attributes:
        lease_id: unique over all ``fetch`` processes of this collector.
        attempt: number of the hand-out, unique over all ``fetch`` processes of this collector.
            Rows of two attempts are never added up together.
        queue: name of the queue.
        queue_message_id: the queue's own id.
        pop_receipt: as it was when the work was handed out; a renewal since makes it stale.
        message_id: the producer's id, or the queue's.
        correlation_id: the producer's, or None.
        enqueued_at_us: insertion time, microseconds since 1970 UTC.
        dequeue_count: deliveries so far, this one included.
        requests: how many requests the message has.
        traceparent: the producer's, checked, while traces are made; else None.
    """

    lease_id: int
    attempt: int
    queue: str
    queue_message_id: str
    pop_receipt: str
    message_id: str
    correlation_id: str | None
    enqueued_at_us: int
    dequeue_count: int
    requests: int
    traceparent: str | None = None

    def ids(self) -> dict[str, str]:
        """What a log line names the message by."""
        ids = {"message_id": self.message_id, "queue": self.queue}
        return ids if self.correlation_id is None else ids | {"correlation_id": self.correlation_id}


class Work(Link, frozen=True):
    """Requests of one message for one execute process.

    Attributes:
        alone: an earlier worker may have died of them: no other call is made beside theirs.
        priority: of the message; 0 is high, 1 normal, 2 low.
    """

    lease: LeaseRef
    requests: list[PlannedRequest]
    alone: bool = False
    priority: int = 1


class Token(Link, frozen=True):
    """A bearer token, handed on by the one process that gets them.

    Attributes:
        value: the token itself. It is in no log.
        expires_at_s: seconds since 1970.
        serial: grows with every token got, so that a refusal can name the one it means.
        audience: what it is for.
    """

    value: str
    expires_at_s: float
    serial: int
    audience: str = ARM

    def __repr__(self) -> str:
        return f"Token(***, serial={self.serial}, audience={self.audience!r})"


class NoToken(Link, frozen=True):
    """No token could be got.

    Attributes:
        problem: why, without secrets.
        forbidden: the identity was refused (an outcome), rather than not reached (try again).
        audience: what it was to be for.
    """

    problem: str
    forbidden: bool
    audience: str = ARM


# ── and back ─────────────────────────────────────────────────────────────────────────────────────


class InCall(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A request that was under way in a worker when the worker died.

    Named by what outlives every process of the collector, its leases too.

    Attributes:
        queue: name of the queue its message came from.
        queue_message_id: the queue's own id.
        index: position in the message's ``api_requests``.
        alone: no other request was under way in that worker.
    """

    queue: str
    queue_message_id: str
    index: int
    alone: bool


class WorkerUp(Link, frozen=True):
    """The first word on a link: what this process holds, and how the one before it ended.

    Attributes:
        held: requests that it works on, handed out by an earlier ``fetch``: lease id, attempt and
            index of each.
        died_in: what the process before it was busy with when it died, told once; empty when it
            ended in order.
    """

    held: list[tuple[int, int, int]]
    died_in: list[InCall]


class Executed(Link, frozen=True):
    """The request's rows are wholly written to ``batch``; its place under MAX_IN_FLIGHT is free.

    Attributes:
        batch_generation: which ``batch`` they were written to. If that one died without sealing
            them, they have to be collected again.
    """

    lease_id: int
    attempt: int
    index: int
    batch_generation: int


class Returned(Link, frozen=True):
    """Requests that are not done: Azure has throttled their scope for longer.

    Attributes:
        indices: of one attempt's requests.
        wait_s: seconds until they may be tried again.
    """

    lease_id: int
    attempt: int
    indices: list[int]
    wait_s: float


class TokenWanted(Link, frozen=True):
    """A token newer than this one is needed, e.g. because this one was answered 401.

    Attributes:
        serial: of the token that is of no use any more; 0 if there was none.
        audience: what it is for.
    """

    serial: int
    audience: str = ARM

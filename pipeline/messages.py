"""Every type that crosses a link or comes off the queue.

The way of the data, in order::

    Work ──► Executed / Rows ──► Sealed ──► Receipt
    fetch    execute             batch      load ──► fetch deletes

All are msgspec Structs encoded as msgpack arrays with a tag, so a link can carry any of them.
"""

from __future__ import annotations

import msgspec


class Link(msgspec.Struct, array_like=True, tag=True, gc=False, frozen=True):
    """Base of what a link carries."""


# ── fetch → execute ──────────────────────────────────────────────────────────────────────────────


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


class LeaseRef(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a row needs to know of the message it came from, and a new ``fetch`` needs to delete it.

    Attributes:
        lease_id: unique over all ``fetch`` processes of this collector.
        attempt: how often ``fetch`` handed this message's work out, from 1. Rows of two attempts
            are never added up together.
        queue: name of the queue.
        queue_message_id: the queue's own id.
        pop_receipt: as it was when the work was handed out; a renewal since makes it stale.
        message_id: the producer's id, or the queue's.
        correlation_id: the producer's, or None.
        enqueued_at_us: insertion time, microseconds since 1970 UTC.
        dequeue_count: deliveries so far, this one included.
        requests: how many requests the message has.
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


class Work(Link, frozen=True):
    """Requests of one message for one execute process."""

    lease: LeaseRef
    requests: list[PlannedRequest]


class Token(Link, frozen=True):
    """A bearer token for ARM, handed on by the one process that gets them.

    Attributes:
        value: the token itself. It is in no log.
        expires_at_s: seconds since 1970.
        serial: grows with every token got, so that a refusal can name the one it means.
    """

    value: str
    expires_at_s: float
    serial: int

    def __repr__(self) -> str:
        return f"Token(***, serial={self.serial})"


class NoToken(Link, frozen=True):
    """No token could be got.

    Attributes:
        problem: why, without secrets.
        forbidden: the identity was refused (an outcome), rather than not reached (try again).
    """

    problem: str
    forbidden: bool


# ── execute → fetch ──────────────────────────────────────────────────────────────────────────────


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


class TokenRefused(Link, frozen=True):
    """ARM answered 401 to the token with this serial."""

    serial: int


# ── execute → batch ──────────────────────────────────────────────────────────────────────────────


class Resource(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One row of RESOURCES, as far as the answer tells it.

    Attributes:
        row_key: see :mod:`stages.execute.rows`.
        body: JSON text, or None for an answer without a body.
        body_hash: hex digest of the body.
    """

    row_key: str
    resource_id: str | None
    resource_type: str | None
    name: str | None
    location: str | None
    subscription_id: str | None
    resource_group: str | None
    body: bytes | None
    body_hash: str | None
    collected_at_us: int


class Outcome(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How a request ended: one row of REQUESTS.

    Attributes:
        outcome: ``complete``, ``not_found``, ``forbidden``, ``rejected``, ``throttled``
            or ``failed``.
        url: as asked, with no secret in it.
        rows: rows of RESOURCES this request has; 0 unless complete.
        attempts: HTTP calls made, retries and pages included.
        latency_ms: first call sent to last answer read, waits included.
    """

    outcome: str
    url: str
    status_code: int | None
    error_code: str | None
    error_message: str | None
    pages: int
    rows: int
    attempts: int
    latency_ms: int
    azure_request_id: str | None
    started_at_us: int
    completed_at_us: int


class RequestKey(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The columns all rows of a request share."""

    index: int
    service: str
    method: str
    api_version: str
    subscription_id: str


class Rows(Link, frozen=True):
    """Rows of one request; a long list comes as several, the last one with the outcome.

    A frame without an outcome is always followed by one with it on the same link, because
    ``execute`` writes them only when the whole answer is there.
    """

    lease: LeaseRef
    request: RequestKey
    resources: list[Resource]
    outcome: Outcome | None


class Flush(Link, frozen=True):
    """From ``fetch`` to ``batch``: nothing more is coming, so do not wait for BATCH_TIMEOUT."""


# ── batch → load, batch → fetch, load → fetch ────────────────────────────────────────────────────


class Part(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What one batch holds of one request.

    Attributes:
        rows: resource rows of this request in this batch.
        expects: all resource rows the request has, when its ledger row is in this batch; else None.
    """

    lease: LeaseRef
    index: int
    rows: int
    expects: int | None


class Sealed(Link, frozen=True):
    """A batch stands in the spool, fsynced: what it holds survives every process."""

    batch_id: str
    size_bytes: int
    parts: list[Part]


class Receipt(Link, frozen=True):
    """A batch is committed in Snowflake and gone from the spool."""

    batch_id: str
    resources: int
    requests: int
    parts: list[Part]


class Damaged(Link, frozen=True):
    """A batch in the spool cannot be read; what it held has to be collected again."""

    batch_id: str


class SpoolFound(Link, frozen=True):
    """Batches that a starting ``load`` found in the spool, with their sizes in bytes."""

    batches: dict[str, int]


# ── control: supervisor ↔ stage ──────────────────────────────────────────────────────────────────


class Attach(Link, frozen=True):
    """This process's end of a new link; its file descriptor travels beside this frame.

    Attributes:
        peer: process at the other end, e.g. ``execute-1``.
        generation: counts the processes that have stood in the peer's place, from 1.
        descriptors: how many come with the frame.
    """

    peer: str
    generation: int
    descriptors: int = 1


class Begin(Link, frozen=True):
    """Every stage stands: start taking messages.

    Attributes:
        until_empty: the collector ends once the queue is empty, so nothing waits for company.
    """

    until_empty: bool = False


class Drain(Link, frozen=True):
    """Take nothing new, finish what is here, then say :class:`Drained`.

    Attributes:
        within_s: seconds to finish in; what is left then is let go.
        last: for ``fetch``: everything is loaded, so delete what is done and release the rest.
        after: processes that have drained already. Each has said :class:`Drained` on its links,
            after its last word: who drains after it hears it out first.
    """

    within_s: float
    last: bool = False
    after: tuple[str, ...] = ()


class Stop(Link, frozen=True):
    """Exit now; everything is done."""


class Ready(Link, frozen=True):
    """The stage stands and has reached what it depends on."""


class Drained(Link, frozen=True):
    """The stage holds nothing any more. To the supervisor, and to its peers on every link."""


class StartFailed(Link, frozen=True):
    """The stage cannot start: ends the collector with this exit code and text."""

    exit_code: int
    problem: str


class Heartbeat(Link, frozen=True):
    """The stage's loop turns. Counters only grow; gauges are as of now.

    Attributes:
        idle: nothing is held, in flight or waiting here.
    """

    idle: bool
    counters: dict[str, float]
    gauges: dict[str, float]


AnyLink = (
    Work
    | Token
    | NoToken
    | Executed
    | TokenRefused
    | Rows
    | Flush
    | Sealed
    | Receipt
    | Damaged
    | SpoolFound
    | Attach
    | Begin
    | Drain
    | Stop
    | Ready
    | Drained
    | StartFailed
    | Heartbeat
)

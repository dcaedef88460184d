"""Rows on their way: to ``batch``, into the spool, and the word that they are loaded."""

from __future__ import annotations

import msgspec

from pipeline.messages.base import Link
from pipeline.messages.work import LeaseRef, PlannedRequest

# Who answers: a resource provider through ARM, or a copy of what the providers know.
PROVIDER = "provider"
RESOURCE_GRAPH = "resource-graph"


class Resource(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """One row of RESOURCES, as far as the answer tells it.

    Attributes:
        row_key: see :mod:`stages.execute.rows`.
        body: JSON text of what is kept, or None for an answer without a body.
        body_hash: hex digest of it.
        source: who answered: ``provider``, ``resource-graph`` or ``microsoft-graph``.
        cached: the answer was asked for by another request.
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
    source: str = PROVIDER
    cached: bool = False


class Outcome(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How a request ended: one row of REQUESTS.

    Attributes:
        outcome: ``complete``, ``not_found``, ``forbidden``, ``rejected``, ``throttled``
            or ``failed``.
        url: as asked, with no secret in it.
        rows: rows of RESOURCES this request has; 0 unless complete.
        attempts: HTTP calls made, retries and pages included.
        latency_ms: first call sent to last answer read, waits included.
        source: who gave the last answer: ``provider``, ``resource-graph`` or ``microsoft-graph``;
            None if nobody did.
        cached: the answer was asked for by another request, and ``attempts`` counts none.
        body_hash: hex digest of all of its resources as Azure gave them, in their order, whatever
            is kept of them; None unless complete.
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
    source: str | None = None
    cached: bool = False
    body_hash: str | None = None


class RequestKey(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The columns all rows of a request share."""

    index: int
    service: str
    method: str
    api_version: str
    subscription_id: str

    @classmethod
    def of(cls, planned: PlannedRequest) -> RequestKey:
        """Those of a request."""
        return cls(
            planned.index,
            planned.service,
            planned.method,
            planned.api_version,
            planned.subscription_id,
        )


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
    """From ``fetch`` to ``batch``, and on to ``load``: nothing more is coming, so wait for none."""


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


class Unsealed(Link, frozen=True):
    """What the open batch holds: the first word of ``batch`` to a new ``fetch``."""

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
    """Batches that wait in the spool, with their sizes in bytes: told to a new ``fetch``."""

    batches: dict[str, int]

"""The span of each request, under that of its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.messages import LeaseRef, Outcome, PlannedRequest
from pipeline.tracing.context import ids_of

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

COMPLETE = "complete"


def trace_request(
    tracer: Tracer, lease: LeaseRef, planned: PlannedRequest, outcome: Outcome
) -> None:
    """A request has its outcome: make its span.

    No query, header or body is in it, nor Azure's words on an error, which may quote them.
    """
    failed = None if outcome.outcome == COMPLETE else outcome.error_code or outcome.outcome
    tracer.request(
        ids_of(lease),
        outcome.started_at_us * 1000,
        outcome.completed_at_us * 1000,
        {
            "http.request.method": planned.method,
            "url.path": planned.target.partition("?")[0],
            "http.response.status_code": outcome.status_code,
            "error.type": failed,
            "azure.request_id": outcome.azure_request_id,
            "azure_collector.request_index": planned.index,
            "azure_collector.service": planned.service,
            "azure_collector.api_version": planned.api_version,
            "azure_collector.subscription_id": planned.subscription_id or None,
            "azure_collector.outcome": outcome.outcome,
            "azure_collector.source": outcome.source,
            "azure_collector.cached": outcome.cached,
            "azure_collector.pages": outcome.pages,
            "azure_collector.rows": outcome.rows,
            "azure_collector.attempts": outcome.attempts,
        },
        failed,
    )

"""The span of each load, linked to those of the messages whose rows it had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import DependencyError
from pipeline.messages import Receipt
from pipeline.tracing.clock import wall_ns
from pipeline.tracing.context import ids_of

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

COMMITTED = "committed"
FAILED = "failed"
# Names of batches that a span has.
MAX_BATCHES = 128


def trace_load(tracer: Tracer, started_s: float, receipts: Sequence[Receipt]) -> None:
    """These batches are committed.

    Args:
        tracer: of the process.
        started_s: monotonic seconds.
        receipts: of the batches.
    """
    # Once each: a message may have requests in several batches, and many in one.
    leases = {part.lease.lease_id: part.lease for each in receipts for part in each.parts}
    tracer.load(
        map(ids_of, leases.values()),
        wall_ns(started_s),
        {
            "azure_collector.result": COMMITTED,
            "azure_collector.batches": _some([receipt.batch_id for receipt in receipts]),
            "azure_collector.messages": len(leases),
            "azure_collector.resources": sum(receipt.resources for receipt in receipts),
            "azure_collector.requests": sum(receipt.requests for receipt in receipts),
        },
    )


def trace_failure(
    tracer: Tracer, started_s: float, plan: Sequence[str], error: DependencyError
) -> None:
    """These batches could not be loaded; they will be tried again.

    Args:
        tracer: of the process.
        started_s: monotonic seconds.
        plan: names of the batches.
        error: why; its words stay in the log.
    """
    why = type(error).__name__
    tracer.load(
        [],
        wall_ns(started_s),
        {
            "azure_collector.result": FAILED,
            "azure_collector.batches": _some(plan),
            "error.type": why,
        },
        why,
    )


def _some(batches: Sequence[str]) -> Sequence[str]:
    return batches[:MAX_BATCHES]

"""The span of each message: from its receipt to its end here, whatever that is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.messages import LeaseRef
from pipeline.tracing.clock import wall_ns
from pipeline.tracing.context import MessageIds, ids_of
from stages.fetch.leases import Lease

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

DELETED = "deleted"
POISONED = "poisoned"
RELEASED = "released"
LOST = "lost"


class MessageTraces:
    """Makes the spans.

    Args:
        tracer: of the process.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def ended(
        self, ref: LeaseRef, lease: Lease | None, result: str, error: str | None = None
    ) -> None:
        """A message that was leased is not ours any more.

        Args:
            ref: the message.
            lease: its lease; None when an earlier ``fetch`` held it, which knew when it began.
            result: as in the metric ``messages_finished_total``.
            error: why, where it failed.
        """
        began_ns = time.time_ns() if lease is None else wall_ns(lease.received_at_s)
        self._tracer.message(
            ids_of(ref),
            began_ns,
            {
                "messaging.destination.name": ref.queue,
                "messaging.message.id": ref.message_id,
                "messaging.message.conversation_id": ref.correlation_id,
                "azure_collector.dequeue_count": ref.dequeue_count,
                "azure_collector.requests": ref.requests,
                "azure_collector.result": result,
                "error.type": error,
            },
            error=error,
            committed_ns=lease.committed_ns if lease is not None else None,
        )

    def refused(
        self,
        ids: MessageIds,
        queue: str,
        known_as: str,
        began_s: float,
        result: str,
        error: str,
    ) -> None:
        """A message that never was leased has left, or was to.

        Args:
            ids: of this delivery.
            queue: where it came from.
            known_as: the producer's id, or the queue's.
            began_s: monotonic seconds of when it was refused.
            result: as in the metric ``messages_finished_total``.
            error: the rule that it broke.
        """
        self._tracer.message(
            ids,
            wall_ns(began_s),
            {
                "messaging.destination.name": queue,
                "messaging.message.id": known_as,
                "azure_collector.result": result,
                "error.type": error,
            },
            error=error,
        )

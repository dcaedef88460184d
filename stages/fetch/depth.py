"""How much waits in the queues: asked from time to time, for the status page and the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.errors import DependencyError
from pipeline.logs import log
from stages.fetch.queue_io import Depth, QueueIo

EVERY_S = 30.0


class Depths:
    """The depths of all queues, as of the last time that they could be asked.

    Args:
        io: the queue's operations.
        queues: their names.
    """

    def __init__(self, io: QueueIo, queues: Sequence[str]) -> None:
        self._io = io
        self._queues = queues
        self._known: dict[str, Depth] = {}

    async def ask_for_ever(self) -> None:
        """Ask, and again after a while. No error ends it."""
        while True:
            for queue in self._queues:
                try:
                    self._known[queue] = await self._io.depth(queue)
                except DependencyError as error:
                    # Receiving says so too, and louder.
                    self._known.pop(queue, None)
                    log.bind(action="depth_unknown", queue=queue).debug("{}", error)
            await asyncio.sleep(EVERY_S)

    def gauges(self, now: datetime | None = None) -> dict[str, float]:
        """By metric; empty unless all are known.

        Args:
            now: with its zone.
        """
        if len(self._known) < len(self._queues):
            return {}
        now = now or datetime.now(UTC)
        depths = self._known.values()
        ages = [(now - at).total_seconds() for d in depths if (at := d.next_inserted_at)]
        return {
            "queue_messages": float(sum(depth.messages for depth in depths)),
            # The service's clock is another one than ours.
            "queue_oldest_age_seconds": max([0.0, *ages]),
            "poison_messages": float(sum(depth.poison_messages for depth in depths)),
        }

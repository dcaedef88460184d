"""Receipts for messages that a ``fetch`` before this one had leased.

What was in flight when it died is still loaded, and each receipt carries the message's pop receipt.
Once all requests of such a message are committed it can be deleted; where receipts went to the dead
process, the message comes again and MERGE finds its rows there. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from pipeline.messages import LeaseRef, Part
from stages.fetch.request_states import Tally

# Messages whose receipts are being added up; the oldest is given up first, and comes again.
MAX_ORPHANS = 20_000

# A lease's id and the queue's own of its message: collectors beside each other, whose batches are
# adopted, may have given the same lease id to two messages.
Key = tuple[int, str]


class Orphans:
    """Adds up receipts of leases that this process does not hold."""

    def __init__(self) -> None:
        self._tallies: OrderedDict[Key, dict[tuple[int, int], Tally]] = OrderedDict()
        self._committed: dict[Key, set[int]] = {}

    def receipt(self, batch_id: str, parts: Iterable[Part]) -> list[LeaseRef]:
        """Take in a committed batch's parts; return the messages that are complete with it."""
        done = []
        for part in parts:
            message = (part.lease.lease_id, part.lease.queue_message_id)
            tallies = self._tallies.setdefault(message, {})
            key = (part.index, part.lease.attempt)
            if tallies.setdefault(key, Tally()).add(batch_id, part):
                committed = self._committed.setdefault(message, set())
                committed.add(part.index)
                if len(committed) == part.lease.requests:
                    done.append(part.lease)
                    self._forget(message)
        while len(self._tallies) > MAX_ORPHANS:
            self._forget(next(iter(self._tallies)))
        return done

    def _forget(self, message: Key) -> None:
        self._tallies.pop(message, None)
        self._committed.pop(message, None)

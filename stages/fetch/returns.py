"""What goes back to the queue: deletes, renewals, releases, poison. Each promise of a lease.

Deleting comes last in a message's life, and poisoning writes before it deletes; whatever dies in
between, the message comes again and is found loaded, or found poisoned twice, never lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from pipeline.errors import BadMessage, DependencyError
from pipeline.logs import log
from pipeline.messages import LeaseRef
from stages.fetch.leases import LEASE_MAX_AGE_S, Lease, LeaseBook
from stages.fetch.poison import envelope
from stages.fetch.queue_io import LeaseLost, QueueIo, Received

# A delete that failed is tried again after this, doubling, for as long as the lease lasts.
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
# How often the book is looked through for renewals, at most.
RENEWAL_TICK_S = 1.0
# How often what waits for a renewal looks whether it is over.
RENEWAL_POLL_S = 0.01


class Returns:
    """Gives messages back, one way or another.

    Args:
        io: the queue's operations.
        book: the leases of this process.
        counters: ``messages_done``, ``messages_poisoned``, ``messages_released``, ``leases_lost``.
        visibility_timeout_s: length of a lease.

    Attributes:
        under_way: operations that have begun and must not be cut off.
    """

    def __init__(
        self, io: QueueIo, book: LeaseBook, counters: Counter[str], visibility_timeout_s: float
    ) -> None:
        self.under_way = 0
        self._io = io
        self._book = book
        self._counters = counters
        self._tick_s = min(RENEWAL_TICK_S, visibility_timeout_s / 10)

    async def delete(self, ref: LeaseRef, lease: Lease | None) -> None:
        """Delete a message whose every row is committed.

        Args:
            ref: the message.
            lease: its lease, or None when an earlier ``fetch`` held it.
        """
        self.under_way += 1
        try:
            await self._delete(ref, lease)
            self._counters["messages_done"] += 1
        except LeaseLost:
            self._counters["leases_lost"] += 1
            log.bind(action="lease_lost", message_id=ref.message_id).info(
                "a finished message is someone else's now; it will be found loaded"
            )
        except DependencyError as error:
            log.bind(action="delete_failed", message_id=ref.message_id).warning(
                "a finished message could not be deleted and will come again: {}", error
            )
        finally:
            self.under_way -= 1

    async def _delete(self, ref: LeaseRef, lease: Lease | None) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            if lease is not None:
                await self._after_renewal(lease)
            pop_receipt = lease.pop_receipt if lease is not None else ref.pop_receipt
            try:
                return await self._io.delete(ref.queue, ref.queue_message_id, pop_receipt)
            except DependencyError:
                if lease is None or time.monotonic() + wait_s > lease.expires_at_s:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(RETRY_MAX_S, wait_s * 2)

    async def poison(
        self, queue: str, message: Received, message_id: str | None, error: BadMessage
    ) -> None:
        """Into the poison queue first, out of its own queue second.

        Args:
            queue: where it came from.
            message: as received.
            message_id: the producer's id, where it could be read.
            error: why.
        """
        self.under_way += 1
        known_as = message_id or message.id
        try:
            text = envelope(
                reason=error.reason,
                detail=error.detail,
                queue=queue,
                queue_message_id=message.id,
                message_id=message_id,
                dequeue_count=message.dequeue_count,
                inserted_at=message.inserted_at,
                text=message.text,
            )
            await self._io.poison(queue, text)
            self._counters["messages_poisoned"] += 1
            log.bind(action="poisoned", message_id=known_as, reason=error.reason).warning(
                "a message went to the poison queue: {}", error
            )
            await self._io.delete(queue, message.id, message.pop_receipt)
        except (DependencyError, LeaseLost) as failed:
            # It stays in its queue and is looked at again when its lease runs out.
            log.bind(action="poison_failed", message_id=known_as).warning(
                "could not finish moving a message to the poison queue: {}", failed
            )
        finally:
            self.under_way -= 1

    async def renew_for_ever(self) -> None:
        """Renew each lease at half of its life; a renewal that hangs delays no other."""
        renewals: set[asyncio.Task[None]] = set()
        while True:
            now_s = time.monotonic()
            for lease in self._book.due_renewals(now_s):
                if now_s - lease.received_at_s > LEASE_MAX_AGE_S:
                    self._lost(lease, "held for too long")
                    continue
                task = asyncio.get_running_loop().create_task(self._renew(lease))
                renewals.add(task)
                task.add_done_callback(renewals.discard)
            await asyncio.sleep(self._tick_s)

    async def _renew(self, lease: Lease) -> None:
        ref = lease.ref
        try:
            pop_receipt, asked_s = await self._io.renew(
                ref.queue, ref.queue_message_id, lease.pop_receipt
            )
            # On the lease itself too: it may have left the book, and wait for its delete.
            lease.pop_receipt = pop_receipt
            self._book.renewed(ref.lease_id, pop_receipt, asked_s)
        except LeaseLost as error:
            self._lost(lease, str(error))
        except DependencyError as error:
            self._book.not_renewed(ref.lease_id)
            log.bind(action="renew_failed", message_id=ref.message_id).warning(
                "a lease could not be renewed; trying again: {}", error
            )
        finally:
            lease.renewing = False

    async def _after_renewal(self, lease: Lease) -> None:
        """Wait for a renewal under way: it makes the pop receipt void that we have now."""
        while lease.renewing and time.monotonic() < lease.expires_at_s:
            await asyncio.sleep(RENEWAL_POLL_S)

    def _lost(self, lease: Lease, why: str) -> None:
        if self._book.drop(lease.ref.lease_id) is not None:
            self._counters["leases_lost"] += 1
            log.bind(action="lease_lost", message_id=lease.ref.message_id).info(
                "lease lost ({}); its rows merge", why
            )

    async def release(self, lease: Lease) -> None:
        """Give an unfinished message back, visible at once."""
        ref = lease.ref
        self._book.drop(ref.lease_id)
        await self._after_renewal(lease)
        try:
            await self._io.release(ref.queue, ref.queue_message_id, lease.pop_receipt, 0)
            self._counters["messages_released"] += 1
        except (DependencyError, LeaseLost) as error:
            log.bind(action="release_failed", message_id=ref.message_id).debug(
                "not released; it comes back when its lease ends: {}", error
            )

"""What goes back to the queue: deletes, renewals, releases, poison. Each promise of a lease.

Deleting comes last in a message's life, and poisoning writes before it deletes; whatever dies in
between, the message comes again and is found loaded, or found on its way to the poison queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.errors import BadMessage, DependencyError, NotThere
from pipeline.logs import log
from pipeline.messages import LeaseRef
from pipeline.tracing.context import message_ids
from stages.fetch import counted
from stages.fetch.journal import Gone, LeaseJournal, Renewed, wall_s
from stages.fetch.leases import LEASE_MAX_AGE_S, Lease, LeaseBook
from stages.fetch.poison import Mark, envelope, fitted, moving, moving_since
from stages.fetch.queue import LeaseLost
from stages.fetch.queue_io import QueueIo
from stages.fetch.queue_rest import Received
from stages.fetch.traced import DELETED, LOST, POISONED, RELEASED, MessageTraces

if TYPE_CHECKING:
    from pipeline.tracing.tracer import Tracer

# A delete that failed is tried again after this, doubling, for as long as the lease lasts.
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
# A message that failed comes back after this, doubling each time.
FAILED_FIRST_S = 1
FAILED_MAX_S = 600
# How often the book is looked through for renewals, at most.
RENEWAL_TICK_S = 1.0
# How often what waits for a renewal looks whether it is over.
RENEWAL_POLL_S = 0.01


def retry_delay_s(failures: int) -> int:
    """How long a message that failed stays away, in seconds: longer each time."""
    return min(FAILED_MAX_S, FAILED_FIRST_S << min(failures - 1, 16))


class Returns:
    """Gives messages back, one way or another.

    Args:
        io: the queue's operations.
        book: the leases of this process.
        journal: where they are written down.
        counters: messages by how they left, leases lost and regained.
        visibility_timeout_s: length of a lease.
        tracer: of the process, or None if there are no traces.

    Attributes:
        under_way: operations that have begun and must not be cut off.
        late: leases are not renewed in time, so no more should be taken.
        traces: the messages', or None.
    """

    def __init__(
        self,
        io: QueueIo,
        book: LeaseBook,
        journal: LeaseJournal,
        counters: Counter[str],
        visibility_timeout_s: float,
        tracer: Tracer | None = None,
    ) -> None:
        self.under_way = 0
        self.late = False
        self.traces = MessageTraces(tracer) if tracer is not None else None
        self._io = io
        self._book = book
        self._journal = journal
        self._counters = counters
        self._tick_s = min(RENEWAL_TICK_S, visibility_timeout_s / 10)

    async def delete_at_once(self, ref: LeaseRef, lease: Lease | None) -> bool:
        """Delete a message whose every row is committed, if nothing has to be waited for.

        Args:
            ref: the message.
            lease: its lease, or None when an earlier ``fetch`` held it.

        Returns:
            False if it has to be done by :meth:`delete`.
        """
        if lease is not None and lease.renewing:
            return False
        pop_receipt = lease.pop_receipt if lease is not None else ref.pop_receipt
        try:
            await self._io.delete(ref.queue, ref.queue_message_id, pop_receipt)
            self._deleted(ref, lease)
        except LeaseLost:
            self._lost_when_finished(ref, lease)
        except DependencyError:
            return False
        return True

    async def delete(self, ref: LeaseRef, lease: Lease | None) -> None:
        """Delete a message whose every row is committed, as soon as that can be done.

        Args:
            ref: the message.
            lease: its lease, or None when an earlier ``fetch`` held it.
        """
        try:
            await self._delete(ref, lease)
            self._deleted(ref, lease)
        except LeaseLost:
            self._lost_when_finished(ref, lease)
        except DependencyError as error:
            log.bind(action="delete_failed", **ref.ids()).warning(
                "a finished message could not be deleted and will come again: {}", error
            )
            if self.traces is not None:
                self.traces.ended(ref, lease, RELEASED, type(error).__name__)

    def _deleted(self, ref: LeaseRef, lease: Lease | None) -> None:
        self._counters[counted.DELETED] += 1
        if self.traces is not None:
            self.traces.ended(ref, lease, DELETED)

    def _lost_when_finished(self, ref: LeaseRef, lease: Lease | None) -> None:
        self._counters.update((counted.LEASES_LOST, counted.LOST))
        if self.traces is not None:
            self.traces.ended(ref, lease, LOST)
        log.bind(action="lease_lost", **ref.ids()).info(
            "a finished message is someone else's now; it will be found loaded"
        )

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
        self,
        queue: str,
        message: Received,
        message_id: str | None,
        error: BadMessage,
        traceparent: str | None = None,
        lease: Lease | None = None,
    ) -> None:
        """Into the poison queue first, out of its own queue second.

        Args:
            queue: where it came from.
            message: as received.
            message_id: the producer's id, where it could be read.
            error: why.
            traceparent: the message's, where it could be read.
            lease: its lease, if it had one.
        """
        self.under_way += 1
        mark: Mark | None = None
        if (begun := moving_since(message.text, message.id)) is not None:
            moved, mark = begun
            message_id, error = moved.message_id, BadMessage(moved.reason, moved.detail)
        known_as = message_id or message.id
        result, began_s = RELEASED, time.monotonic()
        try:
            if begun is None:
                stored = envelope(
                    reason=error.reason,
                    detail=error.detail,
                    queue=queue,
                    queue_message_id=message.id,
                    message_id=message_id,
                    dequeue_count=message.dequeue_count,
                    inserted_at=message.inserted_at,
                    text=message.text,
                )
            else:
                stored = fitted(moved) or ""
            receipt = await self._place(queue, message, stored, mark)
            await self._io.delete(queue, message.id, receipt)
            self._counters[counted.POISONED] += 1
            result = POISONED
            log.bind(
                action="poisoned", message_id=known_as, queue=queue, reason=error.reason
            ).warning("a message went to the poison queue: {}", error)
        except LeaseLost as lost:
            self._counters.update((counted.LEASES_LOST, counted.LOST))
            result = LOST
            log.bind(action="lease_lost", message_id=known_as, queue=queue).info(
                "lease lost ({}) on the way to the poison queue; whoever has it goes on", lost
            )
        except DependencyError as failed:
            after_s = retry_delay_s(message.dequeue_count)
            log.bind(action="poison_failed", message_id=known_as, queue=queue).warning(
                "could not finish moving a message to the poison queue; trying again in {} s: {}",
                after_s,
                failed,
            )
            with suppress(DependencyError, LeaseLost):
                # Where that fails too, or its receipt has changed, it comes when its lease ends.
                await self._io.release(queue, message.id, message.pop_receipt, after_s)
        finally:
            if self.traces is not None and lease is not None:
                self.traces.ended(lease.ref, lease, result, error.reason)
            elif self.traces is not None:
                ids = message_ids(queue, message.id, message.dequeue_count, traceparent)
                self.traces.refused(ids, queue, known_as, began_s, result, error.reason)
            self.under_way -= 1

    async def _place(self, queue: str, message: Received, stored: str, mark: Mark | None) -> str:
        """Put an envelope into the poison queue once, wherever an earlier try was interrupted.

        An answer may be lost at each step, and this process may die. So a place in the poison queue
        is made first, hidden; then the message says which place is its own; then the envelope is
        put there, which the queue takes once, however often it is tried.

        Args:
            queue: where the message is.
            message: as received.
            stored: its envelope.
            mark: of an earlier try.

        Returns:
            The message's pop receipt now.
        """
        # A place that is gone with its queue is none.
        with suppress(NotThere):
            if mark is not None and await self._io.poison(queue, mark, stored) is not None:
                return message.pop_receipt
        mark = await self._io.reserve_poison(queue)
        receipt = message.pop_receipt
        # Without room for the mark, an interruption from here on leads to a second envelope.
        if (marked := moving(stored, mark)) is not None:
            receipt = await self._io.rewrite(queue, message.id, receipt, marked)
        await self._io.poison(queue, mark, stored)
        return receipt

    async def renew_for_ever(self) -> None:
        """Renew each lease at half of its life; a renewal that hangs delays no other."""
        renewals: set[asyncio.Task[None]] = set()
        while True:
            now_s = time.monotonic()
            self.late = self._book.late(now_s)
            for lease in self._book.due_renewals(now_s):
                if now_s - lease.received_at_s > LEASE_MAX_AGE_S:
                    self._lost(lease, "held for too long")
                    continue
                task = asyncio.get_running_loop().create_task(self._renew(lease))
                renewals.add(task)
                task.add_done_callback(renewals.discard)
            await asyncio.sleep(self._tick_s)

    async def _renew(self, lease: Lease) -> None:
        ref, before = lease.ref, lease.pop_receipt
        try:
            pop_receipt, asked_s = await self._io.renew(ref.queue, ref.queue_message_id, before)
            self._lasts(lease, pop_receipt, asked_s)
        except LeaseLost as error:
            # Unless it ran out, and was received again meanwhile.
            if lease.pop_receipt == before:
                self._lost(lease, str(error))
        except DependencyError as error:
            self._book.not_renewed(ref.lease_id)
            log.bind(action="renew_failed", **ref.ids()).warning(
                "a lease could not be renewed; trying again: {}", error
            )
        finally:
            lease.renewing = False

    def regained(self, lease: Lease, message: Received, asked_s: float) -> None:
        """A message that is held has run out and was received again: it goes on as it was.

        Args:
            lease: its lease.
            message: as received again.
            asked_s: monotonic seconds before the call.
        """
        self._lasts(lease, message.pop_receipt, asked_s)
        self._counters[counted.REGAINED] += 1

    def _lasts(self, lease: Lease, pop_receipt: str, asked_s: float) -> None:
        # On the lease itself too: it may have left the book, and wait for its delete.
        lease.pop_receipt = pop_receipt
        lease_id = lease.ref.lease_id
        self._book.renewed(lease_id, pop_receipt, asked_s)
        self._journal.append(Renewed(lease_id, pop_receipt, wall_s(lease.expires_at_s)))

    async def _after_renewal(self, lease: Lease) -> None:
        """Wait for a renewal under way: it makes the pop receipt void that we have now."""
        while lease.renewing and time.monotonic() < lease.expires_at_s:
            await asyncio.sleep(RENEWAL_POLL_S)

    def _lost(self, lease: Lease, why: str) -> None:
        if self._book.drop(lease.ref.lease_id) is not None:
            self._journal.append(Gone(lease.ref.lease_id))
            self._counters.update((counted.LEASES_LOST, counted.LOST))
            if self.traces is not None:
                self.traces.ended(lease.ref, lease, LOST)
            log.bind(action="lease_lost", **lease.ref.ids()).info(
                "lease lost ({}); its rows merge", why
            )

    async def later(self, lease: Lease, failures: int, error: BadMessage) -> None:
        """A message failed: it comes back later, and later each time.

        Args:
            lease: its lease.
            failures: how often it has failed.
            error: why.
        """
        after_s = retry_delay_s(failures)
        log.bind(action="message_failed", **lease.ref.ids(), failures=failures).error(
            "a message failed and is tried again in {} s: {}", after_s, error
        )
        await self.release(lease, after_s)

    async def put_off(self, lease: Lease, after_s: int) -> None:
        """A message whose every request has to wait comes back when the wait is over."""
        self._counters[counted.PUT_OFF] += 1
        log.bind(action="message_put_off", **lease.ref.ids(), seconds=after_s).info(
            "Azure asks for a long wait: a message goes back to the queue for {} s", after_s
        )
        await self.release(lease, after_s)

    async def give_up(self, lease: Lease, error: BadMessage) -> None:
        """A message that is leased, and was good, has failed too often: it is poison."""
        ref = lease.ref
        self._book.drop(ref.lease_id)
        await self._after_renewal(lease)
        message = Received(
            id=ref.queue_message_id,
            pop_receipt=lease.pop_receipt,
            text=lease.text,
            dequeue_count=ref.dequeue_count,
            inserted_at=datetime.fromtimestamp(ref.enqueued_at_us / 1e6, UTC),
        )
        await self.poison(ref.queue, message, ref.message_id, error, lease=lease)
        self._journal.append(Gone(ref.lease_id))

    async def release(self, lease: Lease, after_s: int = 0) -> None:
        """Give an unfinished message back, visible after so many seconds."""
        ref = lease.ref
        self.under_way += 1
        self._book.drop(ref.lease_id)
        await self._after_renewal(lease)
        try:
            await self._io.release(ref.queue, ref.queue_message_id, lease.pop_receipt, after_s)
            self._counters[counted.RELEASED] += 1
        except (DependencyError, LeaseLost) as error:
            log.bind(action="release_failed", **ref.ids()).debug(
                "not released; it comes back when its lease ends: {}", error
            )
        finally:
            # No sooner: should this process die, the one after it releases the message.
            self._journal.append(Gone(ref.lease_id))
            if self.traces is not None:
                self.traces.ended(ref, lease, RELEASED)
            self.under_way -= 1

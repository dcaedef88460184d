"""The lease book: which messages this collector holds, and how far each of their requests is.

Pure: the time is an argument, and nothing here talks to anything. A request goes through::

    working ──► batched ──► sealed ──► committed
    (execute)   (batch)     (spool)    (Snowflake)

and back to ``working`` with a new attempt number when the process that held it died. Rows of two
attempts are never added up together, because the second has all of the first's rows again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from pipeline.messages import LeaseRef, Part, PlannedRequest
from stages.fetch.request_states import NO_ATTEMPT, RequestState, Stand

# Renewed for so long at most; then it is let go, and the queue delivers the message again.
LEASE_MAX_AGE_S = 24 * 3600.0

# A lease is renewed when this part of it is over.
RENEWAL_AT = 0.5
# A renewal that has not been done by then is late.
LATE_AT = 0.75
# Between high, 0, and low, 2.
NORMAL = 1


@dataclass(slots=True)
class Lease:
    """A message held by this collector."""

    ref: LeaseRef
    text: str
    requests: dict[int, RequestState]
    received_at_s: float
    expires_at_s: float
    pop_receipt: str
    open_requests: int
    priority: int = NORMAL
    renewing: bool = False
    # Nanoseconds since 1970, while traces are made.
    committed_ns: int | None = None

    def current_ref(self, attempt: int) -> LeaseRef:
        """The reference to send along with work: today's pop receipt and this attempt."""
        ref = self.ref
        return LeaseRef(
            lease_id=ref.lease_id,
            attempt=attempt,
            queue=ref.queue,
            queue_message_id=ref.queue_message_id,
            pop_receipt=self.pop_receipt,
            message_id=ref.message_id,
            correlation_id=ref.correlation_id,
            enqueued_at_us=ref.enqueued_at_us,
            dequeue_count=ref.dequeue_count,
            requests=ref.requests,
            traceparent=ref.traceparent,
        )


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """Work to hand to one execute process."""

    worker: str
    lease: LeaseRef
    requests: list[PlannedRequest]


class LeaseBook:
    """All leases of one ``fetch`` process.

    Attributes:
        working: requests that ``batch`` does not have yet.
        text_bytes: characters of all messages held.

    Args:
        visibility_timeout_s: length of a lease; it is renewed at half of it.
        first_id: lease ids and attempts count up from here; no other ``fetch`` of this collector
            uses them.
    """

    def __init__(self, visibility_timeout_s: float, first_id: int) -> None:
        self._timeout_s = visibility_timeout_s
        self.first_id = first_id
        self._next_id = first_id
        self._attempts = first_id
        self._leases: dict[int, Lease] = {}
        self._by_message: dict[tuple[str, str], Lease] = {}
        self.working = 0
        self.text_bytes = 0

    def __len__(self) -> int:
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._leases.values()))

    def get(self, lease_id: int) -> Lease | None:
        """The lease with this id, or None when it is done, lost or another process's."""
        return self._leases.get(lease_id)

    def of_message(self, queue: str, queue_message_id: str) -> Lease | None:
        """The lease of this message, or None when it is not held."""
        return self._by_message.get((queue, queue_message_id))

    def is_foreign(self, ref: LeaseRef) -> bool:
        """An earlier ``fetch`` had this lease, and this one has not gone on with it."""
        return ref.lease_id < self.first_id and self._of(ref) is None

    def new_id(self) -> int:
        """An id for the next lease."""
        self._next_id += 1
        return self._next_id

    def add(
        self,
        ref: LeaseRef,
        text: str,
        planned: list[PlannedRequest],
        now_s: float,
        priority: int = NORMAL,
    ) -> Lease:
        """Enter a received message."""
        lease = Lease(
            ref=ref,
            text=text,
            requests={request.index: RequestState(request) for request in planned},
            received_at_s=now_s,
            expires_at_s=now_s + self._timeout_s,
            pop_receipt=ref.pop_receipt,
            open_requests=len(planned),
            priority=priority,
        )
        self._leases[ref.lease_id] = lease
        self._by_message[ref.queue, ref.queue_message_id] = lease
        self.working += len(planned)
        self.text_bytes += len(text)
        return lease

    def dispatch(self, lease: Lease, worker_of: dict[int, str]) -> list[Dispatch]:
        """Hand requests out as a new attempt.

        Args:
            lease: the message.
            worker_of: execute process by request index; only these are handed out.
        """
        self._attempts += 1
        attempt = self._attempts
        by_worker: dict[str, list[PlannedRequest]] = {}
        for index, worker in worker_of.items():
            state = lease.requests[index]
            if state.stand is not Stand.WORKING:
                continue  # an earlier attempt turned out whole while this one waited
            state.worker, state.attempt = worker, attempt
            by_worker.setdefault(worker, []).append(state.planned)
        ref = lease.current_ref(attempt)
        return [Dispatch(worker, ref, requests) for worker, requests in by_worker.items()]

    def reopen(self, lease: Lease, indices: list[int]) -> None:
        """These requests have to be worked on again; a late word on them counts no more."""
        for index in indices:
            state = lease.requests[index]
            if state.stand is not Stand.WORKING:
                self.working += 1
                state.stand = Stand.WORKING
            state.worker, state.attempt = "", NO_ATTEMPT

    def takes_back(self, lease: Lease, attempt: int, indices: list[int]) -> bool:
        """A worker has not done these; whether its attempt is the one that counts."""
        if any(lease.requests[index].attempt != attempt for index in indices):
            return False
        self.reopen(lease, indices)
        return True

    def executed(self, lease_id: int, attempt: int, index: int, batch_generation: int) -> bool:
        """A request's rows are with ``batch``.

        Returns:
            False when this attempt is no longer the one that counts.
        """
        lease = self._leases.get(lease_id)
        if lease is None:
            return False
        state = lease.requests[index]
        if state.attempt != attempt:
            return False
        if state.stand is Stand.WORKING:
            self.working -= 1
            state.stand = Stand.BATCHED
        state.batch_generation = batch_generation
        return True

    def resumed(self, lease_id: int, attempt: int, index: int, worker: str) -> None:
        """A worker holds this request, which an earlier ``fetch`` handed out."""
        if (state := self._untouched(lease_id, index)) is not None:
            state.worker, state.attempt = worker, attempt

    def unsealed(self, parts: Iterable[Part], batch_generation: int) -> None:
        """The open batch holds these requests, which an earlier ``fetch`` handed out."""
        for part in parts:
            if (state := self._untouched(part.lease.lease_id, part.index)) is not None:
                self._settle(state, Stand.BATCHED)
                state.attempt, state.batch_generation = part.lease.attempt, batch_generation

    def untouched(self, lease: Lease) -> list[int]:
        """Requests of which nothing is known to be under way."""
        return [i for i in lease.requests if self._untouched(lease.ref.lease_id, i) is not None]

    def is_untouched(self, lease: Lease) -> bool:
        """Nothing of the message is known to be under way or done."""
        return len(self.untouched(lease)) == len(lease.requests)

    def _untouched(self, lease_id: int, index: int) -> RequestState | None:
        lease = self._leases.get(lease_id)
        state = lease.requests.get(index) if lease is not None else None
        if state is None or state.stand is not Stand.WORKING or state.attempt != NO_ATTEMPT:
            return None
        return state

    def sealed(self, batch_id: str, parts: Iterable[Part]) -> None:
        """A batch with these parts stands in the spool."""
        for part in parts:
            lease = self._of(part.lease)
            if lease is None:
                continue
            state = lease.requests[part.index]
            if state.seal(batch_id, part) and state.stand < Stand.SEALED:
                self._settle(state, Stand.SEALED)

    def receipt(self, batch_id: str, parts: Iterable[Part]) -> list[Lease]:
        """A batch with these parts is committed.

        Returns:
            Leases whose last request it completed; they are taken out of the book.
        """
        done = []
        for part in parts:
            lease = self._of(part.lease)
            if lease is None:
                continue
            state = lease.requests[part.index]
            if not state.commit(batch_id, part) or state.stand is Stand.COMMITTED:
                continue
            self._settle(state, Stand.COMMITTED)
            lease.open_requests -= 1
            if lease.open_requests == 0:
                done.append(lease)
                self.drop(lease.ref.lease_id)
        return done

    def held_by(self, worker: str) -> dict[int, list[int]]:
        """Request indices by lease id that this execute process has not finished."""
        return self._find(lambda s: s.stand is Stand.WORKING and s.worker == worker)

    def unsealed_before(self, batch_generation: int) -> dict[int, list[int]]:
        """Request indices by lease id whose rows went to an earlier ``batch`` and died with it."""
        return self._find(
            lambda s: s.stand is Stand.BATCHED and s.batch_generation < batch_generation
        )

    def damaged(self, batch_id: str) -> dict[int, list[int]]:
        """A batch cannot be read: request indices by lease id whose rows were in it."""
        found = self._find(lambda s: s.stand is Stand.SEALED and s.sealed_in(batch_id))
        for lease_id, indices in found.items():
            for index in indices:
                self._leases[lease_id].requests[index].unseal()
        return found

    def due_renewals(self, now_s: float) -> list[Lease]:
        """Leases past half of their life; each is marked as being renewed."""
        due = []
        for lease in self._leases.values():
            if not lease.renewing and now_s >= lease.expires_at_s - self._timeout_s * (
                1 - RENEWAL_AT
            ):
                lease.renewing = True
                due.append(lease)
        return due

    def renewed(self, lease_id: int, pop_receipt: str, now_s: float) -> None:
        """A renewal went through; the old pop receipt is void."""
        if (lease := self._leases.get(lease_id)) is not None:
            lease.pop_receipt = pop_receipt
            lease.expires_at_s = now_s + self._timeout_s
            lease.renewing = False

    def late(self, now_s: float) -> bool:
        """Some renewal is late: there are more leases than can be renewed in time."""
        return any(
            now_s >= lease.expires_at_s - self._timeout_s * (1 - LATE_AT)
            for lease in self._leases.values()
        )

    def not_renewed(self, lease_id: int) -> None:
        """A renewal failed for now and may be tried again."""
        if (lease := self._leases.get(lease_id)) is not None:
            lease.renewing = False

    def drop(self, lease_id: int) -> Lease | None:
        """Take a lease out: lost, expired or released. Its rows are harmless; MERGE finds them."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            self._by_message.pop((lease.ref.queue, lease.ref.queue_message_id), None)
            self.text_bytes -= len(lease.text)
            self.working -= sum(s.stand is Stand.WORKING for s in lease.requests.values())
        return lease

    def _of(self, ref: LeaseRef) -> Lease | None:
        """The lease that a batch's part names, or None when it is not held.

        Ids are unique within a collector only: two that began in the same moment give the same
        ones, and a batch that was adopted from another must not finish a message of ours.
        """
        lease = self._leases.get(ref.lease_id)
        mine = lease is not None and lease.ref.queue_message_id == ref.queue_message_id
        return lease if mine else None

    def _settle(self, state: RequestState, stand: Stand) -> None:
        if state.stand is Stand.WORKING:
            self.working -= 1
        state.stand = stand

    def _find(self, wanted: Callable[[RequestState], bool]) -> dict[int, list[int]]:
        found = {}
        for lease_id, lease in self._leases.items():
            indices = [index for index, state in lease.requests.items() if wanted(state)]
            if indices:
                found[lease_id] = indices
        return found

"""How far each request of a leased message is, and which batches hold its rows. Pure."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from pipeline.messages import Part, PlannedRequest

# Matches no attempt: the request waits to be handed out.
NO_ATTEMPT = 0


class Stand(IntEnum):
    """How far a request is."""

    WORKING = 0
    BATCHED = 1
    SEALED = 2
    COMMITTED = 3


def is_whole(part: Part) -> bool:
    """Whether the batch that holds this part has all rows of the request."""
    return part.expects is not None and part.rows >= part.expects


class Tally:
    """Rows of one attempt, by batch: a batch that is told twice counts once."""

    __slots__ = ("_expects", "_rows")

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._expects: int | None = None

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._rows

    def add(self, batch_id: str, part: Part) -> bool:
        """Count a batch's part; return whether all rows are accounted for."""
        self._rows[batch_id] = part.rows
        if part.expects is not None:
            self._expects = part.expects
        return self._expects is not None and sum(self._rows.values()) >= self._expects


class RequestState(msgspec.Struct, gc=False):
    """One request of a leased message. There are many: most have all rows in one batch, and no more
    than the name of that is kept of it.

    Attributes:
        whole_attempt: attempt whose rows are all in the sealed batch ``whole_in``.
        sealed: rows in sealed batches by attempt, where one batch does not have all.
        committed: the same of committed batches.
    """

    planned: PlannedRequest
    worker: str = ""
    attempt: int = NO_ATTEMPT
    stand: Stand = Stand.WORKING
    batch_generation: int = 0
    whole_attempt: int = NO_ATTEMPT
    whole_in: str = ""
    sealed: dict[int, Tally] | None = None
    committed: dict[int, Tally] | None = None

    def seal(self, batch_id: str, part: Part) -> bool:
        """A sealed batch holds this part; return whether all rows of its attempt are sealed."""
        attempt = part.lease.attempt
        if is_whole(part):
            # What the attempt that counts has is not forgotten for an older one's.
            if attempt == self.attempt or self.whole_attempt != self.attempt:
                self.whole_attempt, self.whole_in = attempt, batch_id
            return True
        if self.sealed is None:
            self.sealed = {}
        return self.sealed.setdefault(attempt, Tally()).add(batch_id, part)

    def commit(self, batch_id: str, part: Part) -> bool:
        """A committed batch held this part; return whether all rows of its attempt were."""
        if is_whole(part):
            return True
        if self.committed is None:
            self.committed = {}
        return self.committed.setdefault(part.lease.attempt, Tally()).add(batch_id, part)

    def sealed_in(self, batch_id: str) -> bool:
        """Whether rows of the attempt that counts are in this sealed batch."""
        if self.whole_attempt == self.attempt and self.whole_in == batch_id:
            return True
        return self.sealed is not None and batch_id in self.sealed.get(self.attempt, ())

    def unseal(self) -> None:
        """The sealed rows of the attempt that counts are lost."""
        if self.whole_attempt == self.attempt:
            self.whole_attempt, self.whole_in = NO_ATTEMPT, ""
        if self.sealed is not None:
            self.sealed.pop(self.attempt, None)

"""The lease book under every order of events: done exactly when some attempt of each is whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.messages import LeaseRef, Part, PlannedRequest
from stages.fetch.leases import LATE_AT, Dispatch, Lease, LeaseBook
from stages.fetch.request_states import Stand, Tally

TIMEOUT_S = 300.0
WORKERS = ("execute-0", "execute-1")


def planned(index: int) -> PlannedRequest:
    return PlannedRequest(index, "compute", "GET", "2024-07-01", "/x", {}, None, "", "")


def ref(lease_id: int, requests: int, attempt: int = 0) -> LeaseRef:
    return LeaseRef(lease_id, attempt, "q", f"id-{lease_id}", "pop", "m", None, 0, 1, requests)


def added(book: LeaseBook, requests: int = 2, now_s: float = 0.0, text: str = "text") -> Lease:
    lease_id = book.new_id()
    return book.add(ref(lease_id, requests), text, [planned(i) for i in range(requests)], now_s)


def part(dispatch: Dispatch, index: int, rows: int, expects: int | None) -> Part:
    return Part(dispatch.lease, index, rows, expects)


# ── one thing at a time ──────────────────────────────────────────────────────────────────────────


def test_a_lease_is_done_when_its_last_request_is_committed() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book)
    [work] = book.dispatch(lease, {0: "execute-0", 1: "execute-0"})
    assert book.receipt("b1", [part(work, 0, 5, 5)]) == []
    assert book.receipt("b2", [part(work, 1, 0, 0)]) == [lease]
    assert (len(book), book.working, book.text_bytes) == (0, 0, 0)


def test_a_message_is_found_for_as_long_as_it_is_held() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book)
    name = lease.ref.queue_message_id
    assert book.of_message("q", name) is lease
    assert book.of_message("other", name) is None
    book.drop(lease.ref.lease_id)
    assert book.of_message("q", name) is None


def test_renewals_are_late_when_one_has_not_come_in_three_quarters_of_a_lease() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, now_s=0.0)
    added(book, now_s=200.0)
    assert not book.late(TIMEOUT_S * LATE_AT - 1)
    assert book.late(TIMEOUT_S * LATE_AT)
    book.renewed(lease.ref.lease_id, "new", TIMEOUT_S * LATE_AT)
    assert not book.late(TIMEOUT_S * LATE_AT)


def test_what_others_have_of_a_resumed_message_is_not_handed_out_again() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = book.add(ref(7, 4), "text", [planned(i) for i in range(4)], 0.0)
    before = LeaseRef(7, 50, "q", "id-7", "pop", "m", None, 0, 1, 4)
    book.resumed(7, 50, 0, "execute-0")
    book.unsealed([Part(before, 1, 3, 3)], batch_generation=2)
    book.sealed("b1", [Part(before, 2, 3, 3)])
    assert book.untouched(lease) == [3]
    # From here on they are as any other: what dies is done again, what is committed is done.
    assert book.held_by("execute-0") == {7: [0]}
    assert book.unsealed_before(3) == {7: [1]}
    assert book.executed(7, 50, 0, 2)
    [again] = book.dispatch(lease, {3: "execute-0"})
    assert again.lease.attempt > 100
    parts = [Part(before, i, 3, 3) for i in range(3)]
    assert book.receipt("b1", [*parts, Part(again.lease, 3, 0, 0)]) == [lease]
    assert not book.is_foreign(ref(101, 1))
    assert book.is_foreign(ref(7, 4))


def test_an_adopted_batch_finishes_no_message_of_the_same_lease_id() -> None:
    """Two collectors began in the same moment; one is gone, and the other loads its batches."""
    gone, book = LeaseBook(TIMEOUT_S, 100), LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=1)
    theirs = LeaseRef(lease.ref.lease_id, 101, "q", "id-theirs", "pop", "m", None, 0, 1, 2)
    [work] = gone.dispatch(
        gone.add(theirs, "text", [planned(0), planned(1)], 0.0), {1: "execute-0"}
    )
    adopted = part(work, 1, 5, 5)
    book.sealed("theirs", [adopted])
    assert book.receipt("theirs", [adopted]) == []
    assert book.untouched(lease) == [0]
    # Nor does a message that was taken up from the journal hide one that nobody here holds.
    resumed = book.add(ref(7, 1), "text", [planned(0)], 0.0)
    other = LeaseRef(7, 50, "q", "id-other", "pop", "m", None, 0, 1, 1)
    assert book.is_foreign(other)
    assert book.receipt("b2", [Part(other, 0, 1, 1)]) == []
    assert book.untouched(resumed) == [0]


def test_a_receipt_told_twice_counts_once() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=1)
    [work] = book.dispatch(lease, {0: "execute-0"})
    for _ in range(3):
        assert book.receipt("b1", [part(work, 0, 5, None)]) == []
    assert book.receipt("b2", [part(work, 0, 4, 10)]) == []
    assert book.receipt("b3", [part(work, 0, 1, None)]) == [lease]


def test_rows_of_two_attempts_never_add_up() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=1)
    [first] = book.dispatch(lease, {0: "execute-0"})
    book.reopen(lease, [0])
    [second] = book.dispatch(lease, {0: "execute-1"})
    assert second.lease.attempt > first.lease.attempt
    assert book.receipt("b1", [part(first, 0, 6, None)]) == []
    assert book.receipt("b2", [part(second, 0, 6, 10)]) == []
    assert book.receipt("b3", [part(second, 0, 4, None)]) == [lease]


def test_a_late_word_of_an_old_attempt_counts_no_more() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=1)
    book.dispatch(lease, {0: "execute-0"})
    book.reopen(lease, [0])
    assert not book.executed(lease.ref.lease_id, 1, 0, 1)
    assert book.working == 1


def test_an_old_attempt_that_turns_out_sealed_is_not_handed_out_again() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=1)
    [work] = book.dispatch(lease, {0: "execute-0"})
    book.reopen(lease, [0])
    book.sealed("b1", [part(work, 0, 2, 2)])
    assert book.working == 0
    assert book.dispatch(lease, {0: "execute-1"}) == []


def test_what_was_in_a_damaged_batch_is_handed_out_again() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book)
    [first] = book.dispatch(lease, {0: "execute-0", 1: "execute-0"})
    book.sealed("b1", [part(first, 0, 5, 5)])
    book.sealed("b2", [part(first, 1, 5, 5)])
    assert book.working == 0
    assert book.damaged("b1") == {lease.ref.lease_id: [0]}
    book.reopen(lease, [0])
    [second] = book.dispatch(lease, {0: "execute-1"})
    assert book.receipt("b2", [part(first, 1, 5, 5)]) == []
    assert book.receipt("b3", [part(second, 0, 5, 5)]) == [lease]


def test_work_carries_the_pop_receipt_of_the_last_renewal() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book)
    book.renewed(lease.ref.lease_id, "pop-2", 10.0)
    [work] = book.dispatch(lease, {0: "execute-0"})
    assert work.lease.pop_receipt == "pop-2"


def test_a_lease_is_due_at_half_of_its_life_and_once() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, now_s=1000.0)
    assert book.due_renewals(1149.9) == []
    assert book.due_renewals(1150.0) == [lease]
    assert book.due_renewals(1200.0) == []
    book.not_renewed(lease.ref.lease_id)
    assert book.due_renewals(1200.0) == [lease]
    book.renewed(lease.ref.lease_id, "pop-2", 1200.0)
    assert book.due_renewals(1349.9) == []
    assert book.due_renewals(1350.0) == [lease]


def test_a_dropped_lease_leaves_nothing() -> None:
    book = LeaseBook(TIMEOUT_S, 100)
    lease = added(book, requests=3, text="0123456789")
    kept = added(book, requests=1)
    [work] = book.dispatch(lease, {0: "execute-0", 1: "execute-0"})
    book.executed(lease.ref.lease_id, work.lease.attempt, 0, 1)
    assert book.drop(lease.ref.lease_id) is lease
    assert book.drop(lease.ref.lease_id) is None
    assert (book.working, book.text_bytes) == (1, len(kept.text))
    assert book.receipt("b1", [part(work, 0, 1, 1)]) == []
    assert book.held_by("execute-0") == {}
    assert book.due_renewals(1e9) == [kept]


def test_a_tally_is_whole_with_the_ledger_row_and_all_rows_in_any_order() -> None:
    for order in ([("a", 3, None), ("b", 2, 5)], [("b", 2, 5), ("a", 3, None)]):
        tally = Tally()
        parts = [(b, Part(ref(1, 1), 0, rows, expects)) for b, rows, expects in order]
        assert [tally.add(b, p) for b, p in parts] == [False, True]


# ── all of it at once ────────────────────────────────────────────────────────────────────────────


@dataclass
class Attempt:
    """What really happened to one attempt at a request, told to the book or not."""

    dispatch: Dispatch
    index: int
    worker: str
    sizes: list[tuple[str, int]]  # batches its rows are in
    batch_generation: int = 0  # where execute wrote it; 0 = not yet
    sealed: int = 0  # batches that stand in the spool
    committed: set[str] = field(default_factory=set)  # batches whose receipt the book had

    def part(self, number: int) -> Part:
        """The part of one batch; the ledger row is in the last."""
        total = sum(rows for _, rows in self.sizes)
        last = number == len(self.sizes) - 1
        return Part(self.dispatch.lease, self.index, self.sizes[number][1], total if last else None)


class LeasesUnderFire(RuleBasedStateMachine):
    """Dispatches, deaths, duplicates and late words in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.book = LeaseBook(TIMEOUT_S, 1000)
        self.held: dict[int, Lease] = {}
        self.waiting: list[tuple[int, int]] = []  # lease id and index not handed out
        self.attempts: list[Attempt] = []
        self.batches = 0
        self.batch_generation = 1
        self.done: set[int] = set()

    def pick(self, data: st.DataObject, wanted: list[Attempt]) -> Attempt:
        return wanted[data.draw(st.integers(0, len(wanted) - 1))]

    def reopened(self, found: dict[int, list[int]]) -> None:
        for lease_id, indices in found.items():
            lease = self.held[lease_id]
            self.book.reopen(lease, indices)
            self.waiting += [(lease_id, index) for index in indices]

    @rule(requests=st.integers(1, 3), text=st.text(max_size=5))
    def receive(self, requests: int, text: str) -> None:
        lease = added(self.book, requests, text=text)
        self.held[lease.ref.lease_id] = lease
        self.waiting += [(lease.ref.lease_id, i) for i in range(requests)]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), worker=st.sampled_from(WORKERS), batches=st.integers(1, 3))
    def hand_out(self, data: st.DataObject, worker: str, batches: int) -> None:
        lease_id, index = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        if lease_id not in self.held:
            return
        for dispatch in self.book.dispatch(self.held[lease_id], {index: worker}):
            sizes = []
            for number in range(batches):
                self.batches += 1
                # Only the last one may hold nothing but the ledger row.
                least = 0 if number == batches - 1 else 1
                sizes.append((f"b{self.batches}", data.draw(st.integers(least, 3))))
            self.attempts.append(Attempt(dispatch, index, worker, sizes))

    @precondition(lambda self: any(not a.batch_generation for a in self.attempts))
    @rule(data=st.data())
    def execute_writes(self, data: st.DataObject) -> None:
        attempt = self.pick(data, [a for a in self.attempts if not a.batch_generation])
        attempt.batch_generation = self.batch_generation

    @precondition(lambda self: any(a.batch_generation for a in self.attempts))
    @rule(data=st.data())
    def executed_is_told(self, data: st.DataObject) -> None:
        """In time, late, or again."""
        attempt = self.pick(data, [a for a in self.attempts if a.batch_generation])
        ref = attempt.dispatch.lease
        generation = attempt.batch_generation
        if (
            self.book.executed(ref.lease_id, ref.attempt, attempt.index, generation)
            and generation < self.batch_generation
        ):
            stale = self.book.unsealed_before(self.batch_generation)
            self.reopened({k: v for k, v in stale.items() if k == ref.lease_id})

    def sealable(self) -> list[Attempt]:
        return [
            a
            for a in self.attempts
            if a.batch_generation == self.batch_generation and a.sealed < len(a.sizes)
        ]

    @precondition(lambda self: self.sealable())
    @rule(data=st.data(), told=st.booleans())
    def batch_seals(self, data: st.DataObject, told: bool) -> None:
        """``told`` is False where batch dies between sealing and saying so."""
        attempt = self.pick(data, self.sealable())
        attempt.sealed += 1
        if told:
            number = attempt.sealed - 1
            self.book.sealed(attempt.sizes[number][0], [attempt.part(number)])

    @precondition(lambda self: any(a.sealed for a in self.attempts))
    @rule(data=st.data(), receipt=st.booleans())
    def word_of_a_sealed_batch(self, data: st.DataObject, receipt: bool) -> None:
        """A receipt, or the word that it was sealed; either may have been told before."""
        attempt = self.pick(data, [a for a in self.attempts if a.sealed])
        number = data.draw(st.integers(0, attempt.sealed - 1))
        batch_id = attempt.sizes[number][0]
        if not receipt:
            self.book.sealed(batch_id, [attempt.part(number)])
            return
        attempt.committed.add(batch_id)
        for lease in self.book.receipt(batch_id, [attempt.part(number)]):
            assert lease.ref.lease_id not in self.done
            self.done.add(lease.ref.lease_id)
            del self.held[lease.ref.lease_id]

    @rule(worker=st.sampled_from(WORKERS))
    def worker_dies(self, worker: str) -> None:
        self.attempts = [a for a in self.attempts if a.batch_generation or a.worker != worker]
        self.reopened(self.book.held_by(worker))

    @rule()
    def batch_dies(self) -> None:
        self.batch_generation += 1
        self.reopened(self.book.unsealed_before(self.batch_generation))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lease_is_lost(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        assert self.book.drop(lease_id) is self.held.pop(lease_id)

    @invariant()
    def counts_are_right(self) -> None:
        states = [s for lease in self.book for s in lease.requests.values()]
        assert self.book.working == sum(s.stand is Stand.WORKING for s in states)
        assert self.book.text_bytes == sum(len(lease.text) for lease in self.held.values())
        assert {lease.ref.lease_id for lease in self.book} == set(self.held)

    @invariant()
    def done_is_what_has_a_whole_attempt_of_each_request(self) -> None:
        whole: dict[int, set[int]] = {}
        for attempt in self.attempts:
            if attempt.committed == {batch_id for batch_id, _ in attempt.sizes}:
                whole.setdefault(attempt.dispatch.lease.lease_id, set()).add(attempt.index)
        for lease_id, lease in self.held.items():
            assert len(whole.get(lease_id, ())) < lease.ref.requests
        for lease_id in self.done:
            requests = next(
                a.dispatch.lease.requests
                for a in self.attempts
                if a.dispatch.lease.lease_id == lease_id
            )
            assert len(whole[lease_id]) == requests

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Every open request waits to be handed out, is with a worker, or with this batch."""
        for lease_id, lease in self.held.items():
            for index, state in lease.requests.items():
                if state.stand is Stand.WORKING and not state.worker:
                    assert (lease_id, index) in self.waiting
                if state.stand is Stand.BATCHED:
                    assert state.batch_generation == self.batch_generation


LeasesUnderFire.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestLeasesUnderFire = LeasesUnderFire.TestCase

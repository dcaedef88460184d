"""Receipts of messages that a fetch process before this one had leased."""

from __future__ import annotations

import pytest

from pipeline.messages import LeaseRef, Part
from stages.fetch import orphans
from stages.fetch.orphans import Orphans


def part(lease_id: int, index: int, rows: int, expects: int | None, attempt: int = 1) -> Part:
    ref = LeaseRef(lease_id, attempt, "q", f"id-{lease_id}", f"pop-{attempt}", "m", None, 0, 1, 2)
    return Part(ref, index, rows, expects)


def test_complete_once_all_its_requests_are_committed() -> None:
    book = Orphans()
    assert book.receipt("b1", [part(1, 0, 3, 3), part(2, 0, 1, 1)]) == []
    last = part(1, 1, 0, 0)
    assert book.receipt("b2", [last]) == [last.lease]


def test_a_receipt_told_twice_counts_once() -> None:
    book = Orphans()
    for _ in range(2):
        assert book.receipt("b1", [part(1, 0, 3, 3)]) == []
        assert book.receipt("b2", [part(1, 1, 3, None)]) == []
    assert len(book.receipt("b3", [part(1, 1, 1, 4)])) == 1


def test_rows_of_two_attempts_never_add_up() -> None:
    book = Orphans()
    assert book.receipt("b1", [part(1, 0, 2, None), part(1, 1, 1, 1)]) == []
    assert book.receipt("b2", [part(1, 0, 2, 4, attempt=2)]) == []
    assert len(book.receipt("b3", [part(1, 0, 2, None, attempt=2)])) == 1


def test_receipts_of_two_messages_with_one_lease_id_never_add_up() -> None:
    """Of two collectors that began in the same moment."""
    book = Orphans()
    theirs = LeaseRef(1, 1, "q", "id-theirs", "pop", "m", None, 0, 1, 2)
    assert book.receipt("b1", [part(1, 0, 3, 3)]) == []
    assert book.receipt("b2", [Part(theirs, 1, 1, 1)]) == []
    last = part(1, 1, 0, 0)
    assert book.receipt("b3", [last]) == [last.lease]


def test_requests_may_be_whole_in_different_attempts() -> None:
    book = Orphans()
    assert book.receipt("b1", [part(1, 0, 2, 2)]) == []
    [done] = book.receipt("b2", [part(1, 1, 2, 2, attempt=2)])
    assert done.pop_receipt == "pop-2"


def test_the_oldest_is_given_up_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "MAX_ORPHANS", 3)
    book = Orphans()
    for lease_id in range(1, 5):
        assert book.receipt("b1", [part(lease_id, 0, 1, 1)]) == []
    assert book.receipt("b2", [part(1, 1, 1, 1)]) == []
    assert [r.lease_id for r in book.receipt("b2", [part(4, 1, 1, 1)])] == [4]

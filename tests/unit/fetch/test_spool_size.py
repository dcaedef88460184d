"""How full the spool is, whatever the order of the words about it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stages.fetch.spool_size import SpoolSize

EVENTS = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30)


def test_sealed_and_loaded() -> None:
    spool = SpoolSize()
    spool.sealed({"a": 10, "b": 5})
    spool.loaded("a")
    assert spool.size_bytes == 5


def test_a_word_of_sealing_that_comes_after_its_receipt_counts_for_nothing() -> None:
    spool = SpoolSize()
    spool.loaded("a")
    spool.sealed({"a": 10})
    assert spool.size_bytes == 0


@given(EVENTS)
def test_once_every_batch_is_loaded_it_is_empty(events: list[tuple[str, bool]]) -> None:
    spool = SpoolSize()
    for batch_id, loaded in events:
        if loaded:
            spool.loaded(batch_id)
        else:
            spool.sealed({batch_id: 7})
        assert 0 <= spool.size_bytes <= 28
    for batch_id in "abcd":
        spool.loaded(batch_id)
    assert spool.size_bytes == 0

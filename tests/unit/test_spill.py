"""Pieces come back in order, whatever the disk did; one that it refused can be given again."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spill import Spill
from tests.processes import open_descriptors
from tests.unit.file_limit import files_of_at_most

LIMIT = 10_000


def piece(number: int, size: int = 1_000) -> bytes:
    return b"%0*d" % (size, number)


def numbers(spill: Spill) -> list[int]:
    return [int(spill[place]) for place in range(len(spill))]


def test_little_stays_in_memory(tmp_path: Path) -> None:
    before = open_descriptors()
    with closing(Spill(tmp_path, 5_000)) as spill:
        for number in range(5):
            spill.append(piece(number))
        assert numbers(spill) == [0, 1, 2, 3, 4]
        assert (spill.in_memory_bytes, open_descriptors()) == (5_000, before)


def test_past_its_size_all_of_it_is_in_a_file_without_a_name(tmp_path: Path) -> None:
    before = open_descriptors()
    with closing(Spill(tmp_path, 5_000)) as spill:
        for number in range(20):
            spill.append(piece(number))
        assert numbers(spill) == list(range(20))
        assert (spill.in_memory_bytes, open_descriptors()) == (0, before + 1)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(IndexError):
            spill[20]
        with pytest.raises(IndexError):
            spill[-1]
    assert (len(spill), open_descriptors()) == (0, before)


def test_a_refused_piece_leaves_no_trace_and_can_be_given_again(tmp_path: Path) -> None:
    with closing(Spill(tmp_path, 2_500)) as spill:
        with files_of_at_most(LIMIT):
            for number in range(10):
                spill.append(piece(number))
            for _ in range(3):
                with pytest.raises(OSError, match="File too large"):
                    spill.append(piece(10, 3_000))
                assert len(spill) == 10
        spill.append(piece(10, 3_000))
        spill.append(piece(11))
        assert numbers(spill) == list(range(12))


def test_leaving_memory_may_fail_in_its_middle(tmp_path: Path) -> None:
    before = open_descriptors()
    with closing(Spill(tmp_path, 4_000)) as spill:
        for number in range(4):
            spill.append(piece(number))
        with files_of_at_most(500), pytest.raises(OSError, match="File too large"):
            spill.leave_memory()
        assert open_descriptors() == before
        with files_of_at_most(2_500), pytest.raises(OSError, match="File too large"):
            spill.append(piece(4))
        assert numbers(spill) == [0, 1, 2, 3]
        spill.append(piece(4))
        assert (numbers(spill), spill.in_memory_bytes) == ([0, 1, 2, 3, 4], 0)


def test_what_cannot_be_had_again_is_kept_in_memory(tmp_path: Path) -> None:
    with closing(Spill(tmp_path, 1_500)) as spill:
        with files_of_at_most(3_500):
            for number in range(6):
                spill.append(piece(number), keep=True)
            assert (numbers(spill), spill.in_memory_bytes) == ([0, 1, 2, 3, 4, 5], 3_000)
        spill.append(piece(6))
        assert (numbers(spill), spill.in_memory_bytes) == (list(range(7)), 0)


def test_room_that_is_kept_back_is_not_taken(tmp_path: Path) -> None:
    with closing(Spill(tmp_path, 10, reserve_bytes=1 << 62)) as spill:
        spill.append(b"0" * 10)
        with pytest.raises(OSError, match="kept back") as refused:
            spill.append(b"1")
        assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(tmp_path))
        assert len(spill) == 1


def test_a_file_that_was_cut_is_no_answer(tmp_path: Path) -> None:
    with closing(Spill(tmp_path, 0)) as spill:
        spill.append(piece(0))
        assert spill._file is not None
        spill._file.truncate(999)
        with pytest.raises(OSError, match="lost data"):
            spill[0]


@given(
    st.integers(0, 3_000),
    st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 5_000), st.booleans()), max_size=15),
)
def test_any_refusals_lose_nothing_and_double_nothing(
    tmp_path_factory: pytest.TempPathFactory, memory_bytes: int, steps: list[tuple[int, int, bool]]
) -> None:
    taken = []
    with closing(Spill(tmp_path_factory.getbasetemp(), memory_bytes)) as spill:
        for number, (size, room_bytes, keep) in enumerate(steps):
            data = piece(number, size)
            try:
                with files_of_at_most(room_bytes):
                    spill.append(data, keep=keep)
                taken.append(data)
            except OSError:
                assert not keep
            assert [spill[place] for place in range(len(spill))] == taken

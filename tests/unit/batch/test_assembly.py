"""Only whole requests come out, whoever's frames come between."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.batch import assembly as module
from stages.batch.assembly import Assembly, Whole
from stages.batch.builder import size_of
from tests.unit.batch.rows_made import frame, lease


def keys(whole: Whole | None) -> list[str]:
    assert whole is not None
    with closing(whole):
        return [resource.row_key for rows in whole for resource in rows.resources]


def test_a_request_of_one_frame_comes_at_once(tmp_path: Path) -> None:
    assembly = Assembly(tmp_path)
    assert keys(assembly.add("execute-0", frame(range(2), total=2))) == ["key-0", "key-1"]
    assert len(assembly) == 0


def test_frames_come_out_in_order_with_the_last(tmp_path: Path) -> None:
    assembly = Assembly(tmp_path)
    first, second, last = frame(range(2)), frame(range(2, 4)), frame(range(4, 5), total=5)
    assert assembly.add("execute-0", first) is None
    assert assembly.add("execute-0", second) is None
    assert len(assembly) == 1
    whole = assembly.add("execute-0", last)
    assert whole is not None
    assert (whole.rows, whole.size_bytes) == (5, sum(map(size_of, (first, second, last))))
    with closing(whole):
        assert list(whole) == [first, second, last]
    assert len(assembly) == 0


def test_requests_of_several_writers_leases_and_attempts_stay_apart(tmp_path: Path) -> None:
    assembly = Assembly(tmp_path)
    assembly.add("execute-0", frame(range(1)))
    assembly.add("execute-1", frame(range(1, 2)))
    assembly.add("execute-0", frame(range(2, 3), index=1))
    assembly.add("execute-0", frame(range(3, 4), of=lease(1, attempt=2)))
    assembly.add("execute-0", frame(range(4, 5), of=lease(2)))
    assert len(assembly) == 5
    assert keys(assembly.add("execute-0", frame(range(0), total=1))) == ["key-0"]
    assert keys(assembly.add("execute-1", frame(range(0), total=1))) == ["key-1"]
    assert keys(assembly.add("execute-0", frame(range(0), total=1, index=1))) == ["key-2"]
    assembly.forget("execute-0")
    assert len(assembly) == 0


def test_a_dead_writers_rows_are_forgotten_and_no_others(tmp_path: Path) -> None:
    assembly = Assembly(tmp_path)
    assembly.add("execute-0", frame(range(1)))
    assembly.add("execute-1", frame(range(1, 2)))
    assembly.forget("execute-0")
    assembly.forget("execute-7")
    assert keys(assembly.add("execute-0", frame(range(2, 3), total=1))) == ["key-2"]
    assert keys(assembly.add("execute-1", frame(range(2, 3), total=2))) == ["key-1", "key-2"]


def test_past_a_size_they_wait_in_a_file_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 100)
    assembly = Assembly(tmp_path)
    for number in range(50):
        assembly.add("execute-0", frame(range(number, number + 1)))
    found = keys(assembly.add("execute-0", frame(range(50, 51), total=51)))
    assert found == [f"key-{number}" for number in range(51)]
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans()), max_size=60))
def test_any_interleaving_gives_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, int, bool]]
) -> None:
    assembly = Assembly(tmp_path_factory.getbasetemp())
    open_keys: dict[tuple[int, int], list[str]] = {}
    for number, (peer, index, last) in enumerate(frames):
        waiting = open_keys.setdefault((peer, index), [])
        waiting.append(f"key-{number}")
        total = len(waiting) if last else None
        whole = assembly.add(f"execute-{peer}", frame(range(number, number + 1), total=total, index=index))  # noqa: E501  # fmt: skip
        if last:
            assert keys(whole) == open_keys.pop((peer, index))
        else:
            assert whole is None
    assert len(assembly) == len(open_keys)
    assembly.forget("execute-0")
    assembly.forget("execute-1")

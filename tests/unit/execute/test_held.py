"""Rows are held until the outcome, in order, past a size in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.messages import Outcome, Resource
from stages.execute import held as module
from stages.execute.held import HeldRows, HoldSpace, frames_of
from tests.unit.execute.made import KEY, LEASE, frames_in

OUTCOME = Outcome("complete", "u", 200, None, None, 1, 3, 1, 0, None, 0, 0)


def row(number: int, size: int = 10) -> Resource:
    body = b"%0*d" % (size, number)
    return Resource(str(number), None, None, None, None, None, None, body, "h", 0)


def test_few_rows_are_one_frame_and_no_file(tmp_path: Path) -> None:
    held = HeldRows(LEASE, KEY, HoldSpace(tmp_path))
    held.add([row(0), row(1)])
    (rows,) = frames_in(held.complete(OUTCOME))
    assert [resource.row_key for resource in rows.resources] == ["0", "1"]
    assert (rows.lease, rows.request, rows.outcome) == (LEASE, KEY, OUTCOME)


def test_many_rows_keep_their_order_and_only_the_last_frame_has_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 5_000)
    monkeypatch.setattr(module, "MEMORY_BYTES", 20_000)
    held = HeldRows(LEASE, KEY, HoldSpace(tmp_path))
    for start in range(0, 300, 30):
        held.add([row(number, 1_000) for number in range(start, start + 30)])
    done = held.complete(OUTCOME)
    for _ in range(2):  # the link may break after any of them
        read = frames_in(done)
        numbers = [int(resource.row_key) for rows in read for resource in rows.resources]
        assert numbers == list(range(300))
        assert [rows.outcome for rows in read] == [None] * (len(read) - 1) + [OUTCOME]
        assert len(done.frames) + 1 == len(read) > 50
    held.discard()


def test_many_tiny_rows_stay_far_below_a_links_limit(tmp_path: Path) -> None:
    held = HeldRows(LEASE, KEY, HoldSpace(tmp_path))
    held.add([row(number, 1) for number in range(30_000)])
    done = held.complete(OUTCOME)
    assert max(len(data) for data in frames_of([done])) < 2 * module.FRAME_BYTES
    held.discard()


def test_requests_go_together_and_a_long_one_between_them_keeps_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 2_000)
    done = []
    for numbers in ([0], [1], [], range(2, 30), [30], [31]):
        held = HeldRows(LEASE, KEY, HoldSpace(tmp_path))
        held.add([row(number, 200) for number in numbers])
        done.append(held.complete(OUTCOME))
    read = frames_in(*done)
    assert [int(r.row_key) for rows in read for r in rows.resources] == list(range(32))
    assert sum(rows.outcome is not None for rows in read) == len(done)
    frames = list(frames_of(done))
    assert len(done[3].frames) < len(frames) < len(read)
    assert max(map(len, frames)) < 2 * module.FRAME_BYTES


def test_what_is_discarded_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 1)
    held = HeldRows(LEASE, KEY, HoldSpace(tmp_path))
    held.add([row(0), row(1)])
    held.discard()
    held.discard()
    (rows,) = frames_in(held.complete(OUTCOME))
    assert rows.resources == []
    assert list(tmp_path.iterdir()) == []


def test_past_what_all_may_use_rows_go_to_a_file_and_come_back_the_same(tmp_path: Path) -> None:
    space = HoldSpace(tmp_path, memory_bytes=2_000)
    first, second = (HeldRows(LEASE, KEY, space) for _ in range(2))
    first.add([row(0)])
    for number in range(20):
        second.add([row(number)])
    assert space.take(0)
    assert [r for one in frames_in(second.complete(OUTCOME)) for r in one.resources] == [
        row(n) for n in range(20)
    ]
    for held in (first, second):
        held.discard()
    assert space.take(2_000)


def test_rows_that_a_file_has_count_as_memory_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 1)
    monkeypatch.setattr(module, "MEMORY_BYTES", 0)
    space = HoldSpace(tmp_path, memory_bytes=100_000)
    held = HeldRows(LEASE, KEY, space)
    for number in range(1_000):
        held.add([row(number)])
    assert space.take(100_000)
    held.discard()


def test_a_disk_without_room_is_told_and_gives_nothing_out(tmp_path: Path) -> None:
    space = HoldSpace(tmp_path, memory_bytes=0)
    space.reserve_bytes = 1 << 62
    held = HeldRows(LEASE, KEY, space)
    with pytest.raises(module.NoRoom, match=f"kept back: '{tmp_path}'"):
        held.add([row(0)])
    held.discard()
    assert space.take(0)

"""The journal of leases: what was held when its writer died, and nothing that is gone."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from pipeline.messages import LeaseRef
from pipeline.spool import UNFINISHED
from stages.fetch import journal
from stages.fetch.journal import FILE, Entry, Gone, Held, LeaseJournal, Renewed


def held(number: int, receipt: str = "first", ends_at_s: float = 100.0) -> Held:
    ref = LeaseRef(number, 0, "q", f"id-{number}", receipt, f"m-{number}", None, 5, 1, 3)
    return Held(ref, "text", ends_at_s)


def written(folder: Path, *entries: Entry) -> LeaseJournal:
    made = LeaseJournal(folder, list)
    made.open()
    made.append(*entries)
    return made


def left(folder: Path) -> list[Held]:
    """What the next process finds."""
    return LeaseJournal(folder, list).left()


def test_what_is_held_is_found_with_its_latest_receipt_and_what_is_gone_is_not(
    tmp_path: Path,
) -> None:
    written(
        tmp_path,
        held(1),
        held(2),
        Renewed(1, "second", 200.0),
        held(3),
        Gone(2),
        Renewed(1, "third", 300.0),
    )
    assert left(tmp_path) == [held(1, "third", 300.0), held(3)]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_words_on_what_nobody_holds_mean_nothing(tmp_path: Path) -> None:
    written(tmp_path, Renewed(7, "x", 1.0), Gone(8))
    assert left(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 3, 5, 20])
def test_a_frame_that_was_cut_off_ends_it_and_what_stands_before_counts(
    tmp_path: Path, cut: int
) -> None:
    written(tmp_path, held(1), held(2))
    file = tmp_path / FILE
    os.truncate(file, file.stat().st_size - cut)
    assert left(tmp_path) == [held(1)]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xff\xff\xff", b"\x05\0\0\0hello", random.Random(7).randbytes(999)],
    ids=["empty", "length only", "no entry", "noise"],
)
def test_a_file_that_makes_no_sense_holds_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    assert left(tmp_path) == []


def test_an_entry_whose_text_is_no_utf_8_ends_it_and_what_stands_before_counts(
    tmp_path: Path,
) -> None:
    written(tmp_path, held(1), held(2), held(3))
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes().replace(b"id-2", b"\xff\xfe\xe0\x80"))
    assert left(tmp_path) == [held(1)]


def test_it_is_written_anew_with_what_is_held_once_most_of_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SLACK_BYTES", 1_000)
    now = {0: held(0)}
    made = LeaseJournal(tmp_path, lambda: now.values())
    made.open()
    for number in range(1, 200):
        now = {number: held(number)}
        made.append(held(number), Gone(number - 1))
        assert (tmp_path / FILE).stat().st_size < 2_000
        assert left(tmp_path) == [held(number)]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_what_the_process_before_left_is_there_until_the_next_has_begun(tmp_path: Path) -> None:
    written(tmp_path, held(1))
    LeaseJournal(tmp_path, list)
    assert left(tmp_path) == [held(1)]
    LeaseJournal(tmp_path, lambda: [held(1, "again")]).open()
    assert left(tmp_path) == [held(1, "again")]


def test_closed_it_leaves_nothing_behind(tmp_path: Path) -> None:
    made = written(tmp_path, held(1))
    made.close()
    made.append(held(2))
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_written_there_is_none_and_nothing_fails(tmp_path: Path) -> None:
    made = LeaseJournal(tmp_path / "gone", list)
    made.open()
    made.append(held(1))
    made.close()


def test_a_disk_that_is_full_leaves_no_journal_rather_than_a_wrong_one(tmp_path: Path) -> None:
    made = written(tmp_path, held(1))
    # The kernel's own full disk, in the place of the file.
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, made._file)
    os.close(full)
    made.append(held(2))
    assert left(tmp_path) == []
    made.append(held(3))
    assert left(tmp_path) == []


def test_one_that_ends_late_leaves_the_journal_of_the_next_alone(tmp_path: Path) -> None:
    late = written(tmp_path, held(1))
    LeaseJournal(tmp_path, lambda: [held(2)]).open()
    late.append(held(3))
    late.close()
    assert left(tmp_path) == [held(2)]


def test_what_a_starting_batch_clears_away_is_never_the_journal() -> None:
    # Both start at once, in one folder.
    assert UNFINISHED not in (Path(FILE).suffix, journal._UNFINISHED)

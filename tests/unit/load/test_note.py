"""What a load process notes for the one after it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.load.note import NAME, SESSIONS_LIMIT, Note, Noted, abandoned_beside

# Notes two sessions, says so, and waits.
HOLD = """
import sys, time
from pathlib import Path
from stages.load.note import Note, Noted
note = Note(Path(sys.argv[1]))
assert note.take()
note.write(Noted((1, 2)))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def note(tmp_path: Path) -> Iterator[Note]:
    made = Note(tmp_path)
    yield made
    made.leave()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the note."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_it_is_for_its_owner_alone(note: Note, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        assert note.take()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_it_is_not_taken_from_a_process_that_lives_and_is_from_one_that_was_killed(
    note: Note, holder: subprocess.Popen[str]
) -> None:
    assert not note.take()
    assert note.noted == Noted()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert note.take()
    assert note.noted.sessions == (1, 2)


def test_one_that_dies_soon_is_waited_for(note: Note, holder: subprocess.Popen[str]) -> None:
    threading.Timer(0.2, holder.kill).start()
    assert note.take(wait_s=10.0)
    assert note.noted.sessions == (1, 2)


def test_what_is_left_is_read_and_what_is_removed_is_not(note: Note, tmp_path: Path) -> None:
    wanted = Noted(tuple(range(2**62, 2**62 + SESSIONS_LIMIT)), "f" * 64, 1_795_408_606.196)
    assert note.take()
    note.write(wanted)
    assert not note.take()  # it is held already
    note.leave()
    other = Note(tmp_path)
    assert other.take()
    assert other.noted == wanted
    other.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [b"no JSON", b'{"checked":"\xff\xe0"}', b"[" * 5000, b"[]"])
def test_a_note_that_makes_no_sense_says_nothing(note: Note, tmp_path: Path, text: bytes) -> None:
    (tmp_path / NAME).write_bytes(text)
    assert note.take()
    assert note.noted == Noted()


def test_a_shorter_note_leaves_nothing_of_a_longer_one(note: Note, tmp_path: Path) -> None:
    assert note.take()
    note.write(Noted(tuple(range(10)), "checked"))
    note.write(Noted((5,)))
    note.leave()
    other = Note(tmp_path)
    assert other.take()
    assert other.noted == Noted((5,))
    other.leave()


def test_what_is_known_without_the_file_is_kept_when_it_is_taken(
    note: Note, tmp_path: Path
) -> None:
    other = Note(tmp_path)
    assert other.take()
    other.write(Noted((1,)))
    assert not note.take()
    note.write(Noted((2,)))
    other.leave()
    assert note.take()
    assert note.noted.sessions == (1, 2)


@pytest.mark.parametrize("left", [b"", b'{"sessions":[1', b'{"sessions":"x"}', b"\xff\x00"])
def test_what_cannot_be_read_is_nothing(note: Note, tmp_path: Path, left: bytes) -> None:
    (tmp_path / NAME).write_bytes(left)
    assert note.take()
    assert note.noted == Noted()


def test_without_the_folder_nothing_is_noted_and_nothing_made(tmp_path: Path) -> None:
    note = Note(tmp_path / "gone")
    assert not note.take()
    note.write(Noted((1,)))
    note.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_stands_in_its_way_is_no_error(note: Note, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert not note.take()


def test_of_the_folders_beside_those_are_looked_at_that_nobody_holds(tmp_path: Path) -> None:
    notes = [Note(tmp_path / str(number)) for number in range(4)]
    for number, note in enumerate(notes):
        (tmp_path / str(number)).mkdir()
        if number < 3:
            assert note.take()
            note.write(Noted((number,)))
    (tmp_path / "other").mkdir()
    notes[2].leave()
    found = list(abandoned_beside(tmp_path / "0"))
    assert [note.noted.sessions for note in found] == [(2,)]
    for note in (*notes, *found):
        note.leave()
    assert list((tmp_path / "3").iterdir()) == []

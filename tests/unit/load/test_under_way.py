"""The note of what is being loaded, as it outlives its process."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stages.load.isolation import Suspicion, Trial
from stages.load.under_way import NAME, UnderWay

ONE = Trial(("a",), deaths=1)


def test_what_was_under_way_is_a_suspect_for_the_next_process(tmp_path: Path) -> None:
    UnderWay(tmp_path).write(Suspicion(joined=("a",)))
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    after = UnderWay(tmp_path)
    after.read(["a", "b"])
    assert after.suspicion == Suspicion(trials=(ONE,), deaths=1)


def test_a_death_is_counted_once_however_often_the_note_is_read(tmp_path: Path) -> None:
    UnderWay(tmp_path).write(Suspicion(trying=True, trials=(ONE,)))
    for _ in range(3):
        after = UnderWay(tmp_path)
        after.read(["a"])
    assert after.suspicion.trials == (Trial(("a",), deaths=2),)


def test_what_has_ended_in_order_is_none(tmp_path: Path) -> None:
    before = UnderWay(tmp_path)
    before.write(Suspicion(joined=("a",)))
    before.write(before.suspicion.idle())
    after = UnderWay(tmp_path)
    after.read(["a"])
    assert after.suspicion == Suspicion()


def test_batches_that_were_adopted_bring_their_suspicion(tmp_path: Path) -> None:
    for number in "01":
        (tmp_path / number).mkdir()
    UnderWay(tmp_path / "1").write(Suspicion(trying=True, trials=(ONE, Trial(("x",)))))
    after = UnderWay(tmp_path / "0")
    after.read(["a", "b"])
    assert after.suspicion.trials == (Trial(("a",), deaths=2),)


@pytest.mark.parametrize("noise", [b"", b"{", b"\xff\xfe", b'{"trials": 5}'])
def test_a_note_that_says_nothing_suspects_nobody(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / NAME).write_bytes(noise)
    after = UnderWay(tmp_path)
    after.read(["a"])
    assert after.suspicion == Suspicion()


def test_where_nothing_can_be_noted_it_is_known(tmp_path: Path) -> None:
    gone = UnderWay(tmp_path / "gone")
    gone.write(Suspicion(joined=("a",)))
    assert not gone.kept
    assert gone.suspicion.joined == ("a",)
    (tmp_path / "gone").mkdir()
    gone.write(gone.suspicion)
    assert gone.kept

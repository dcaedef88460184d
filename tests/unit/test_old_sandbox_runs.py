"""Data folders of old sandbox runs go, but for the newest ones and those in use."""

from __future__ import annotations

from pathlib import Path

from pipeline.sandbox.runner import remove_old_runs
from pipeline.slots import hold_folder

NAMES = [f"2026010{day}T000000Z-00000{day}" for day in range(1, 8)]


def make_runs(base: Path) -> None:
    for name in NAMES:
        (base / name / "snowflake").mkdir(parents=True)
        (base / name / "snowflake" / "AZURE.db").write_text("")


def left_in(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir())


def test_the_newest_stay(tmp_path: Path) -> None:
    make_runs(tmp_path)
    remove_old_runs(tmp_path, kept=5)
    assert left_in(tmp_path) == NAMES[2:]
    remove_old_runs(tmp_path, kept=5)
    assert left_in(tmp_path) == NAMES[2:]


def test_one_in_use_stays(tmp_path: Path) -> None:
    make_runs(tmp_path)
    held = hold_folder(tmp_path / NAMES[0])
    assert held is not None
    with held:
        remove_old_runs(tmp_path, kept=5)
    assert left_in(tmp_path) == [NAMES[0], *NAMES[2:]]


def test_what_has_another_name_stays(tmp_path: Path) -> None:
    make_runs(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "note.txt").write_text("")
    remove_old_runs(tmp_path, kept=0)
    assert left_in(tmp_path) == ["mine", "note.txt"]

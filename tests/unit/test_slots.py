"""A numbered folder belongs to one process at a time, and to nobody once that process is dead."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import StageFailed
from pipeline.slots import claim_slot, hold_folder

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.slots import claim_slot
slot = claim_slot(Path(sys.argv[1]), 3)
print(slot.path.name, flush=True)
time.sleep(60)
"""


def test_the_first_free_number_is_taken(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 3) as first, claim_slot(tmp_path, 3) as second:
        assert [first.path, second.path] == [tmp_path / "0", tmp_path / "1"]
        first.release()
        with claim_slot(tmp_path, 3) as third:
            assert third.path == tmp_path / "0"


def test_what_the_last_holder_left_is_there_for_the_next(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 1) as slot:
        (slot.path / "batch").write_text("rows")
    with claim_slot(tmp_path, 1) as slot:
        assert (slot.path / "batch").read_text() == "rows"


def test_only_the_owner_may_enter_the_folder(tmp_path: Path) -> None:
    with claim_slot(tmp_path / "spool", 1) as slot:
        for path in (slot.path, slot.path.parent):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_folder_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    base = tmp_path / "spool"
    (base / "0").mkdir(parents=True)
    for path in (base, base / "0"):
        path.chmod(0o755)
    with claim_slot(base, 1) as slot:
        assert stat.S_IMODE(slot.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(base.stat().st_mode) == 0o755  # whoever made it may have a reason


def test_past_the_limit_the_error_says_where_and_how_many(tmp_path: Path) -> None:
    with (
        claim_slot(tmp_path, 1),
        pytest.raises(StageFailed, match=f"all 1 numbered folders under {tmp_path}"),
    ):
        claim_slot(tmp_path, 1)


def test_releasing_twice_does_not_let_go_of_the_next_holder(tmp_path: Path) -> None:
    first = claim_slot(tmp_path, 1)
    first.release()
    with claim_slot(tmp_path, 1):
        first.release()
        with pytest.raises(StageFailed):
            claim_slot(tmp_path, 1)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "0"
        with claim_slot(tmp_path, 3) as beside:
            assert beside.path.name == "1"
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with claim_slot(tmp_path, 3) as after:
            assert after.path.name == "0"


def test_a_program_started_by_the_holder_does_not_keep_the_folder(tmp_path: Path) -> None:
    slot = claim_slot(tmp_path, 1)
    # close_fds=False: only close-on-exec stands between the descriptor and the child.
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        try:
            slot.release()
            claim_slot(tmp_path, 1).release()
        finally:
            child.kill()


def test_a_folder_in_use_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 1) as slot:
        assert hold_folder(slot.path, wait_s=0.2) is None
        timer = threading.Timer(0.3, slot.release)
        timer.start()
        held = hold_folder(slot.path, wait_s=10)
        timer.join()
        assert held is not None
        held.release()


def test_a_folder_that_its_holder_removed_can_be_held_anew(tmp_path: Path) -> None:
    path = tmp_path / "0"
    with claim_slot(tmp_path, 1):
        shutil.rmtree(path)
        held = hold_folder(path)
        assert held is not None
        with held:
            assert hold_folder(path) is None


def test_a_file_in_its_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("")
    with pytest.raises(OSError, match=os.fspath(tmp_path / "0")):
        claim_slot(tmp_path, 1)

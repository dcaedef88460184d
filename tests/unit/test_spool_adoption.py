"""A collector takes over what others on its host have left, and nothing of those that run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pipeline.slots import claim_slot
from pipeline.spool import Spool

# Dies of SIGKILL as it comes to the seventh batch.
ADOPT = """
import os, signal, sys
from pathlib import Path
from pipeline.spool import Spool
rename, count = Path.rename, 0
def counted(path, target):
    global count
    count += 1
    if count == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = counted
Spool(Path(sys.argv[1])).adopt()
"""


def test_batches_of_a_collector_that_is_gone_are_taken_over(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 3) as mine, claim_slot(tmp_path, 3) as gone:
        (gone.path / "b1.arrow").write_bytes(b"sealed")
        (gone.path / "b2.part").write_bytes(b"half")
        (gone.path / "b3.damaged").write_bytes(b"damaged")
        assert Spool(mine.path).adopt() == 0
        gone.release()
        assert Spool(mine.path).adopt() == 1
        assert (mine.path / "b1.arrow").read_bytes() == b"sealed"
        # What is half goes, what a person is to look at stays.
        assert {path.name for path in gone.path.iterdir()} == {".lock", "b3.damaged"}
        assert {path.name for path in mine.path.iterdir()} == {".lock", "b1.arrow"}


def test_files_of_a_running_collector_stay(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 3) as mine, claim_slot(tmp_path, 3) as other:
        for name in ("b1.arrow", "b2.part"):
            (other.path / name).write_bytes(b"its own")
        assert Spool(mine.path).adopt() == 0
        assert Spool(mine.path).remove_unfinished() == 0
        assert {path.name for path in other.path.iterdir()} == {".lock", "b1.arrow", "b2.part"}


def test_what_cannot_be_taken_stays_and_keeps_no_other_from_being_taken(tmp_path: Path) -> None:
    for number in (1, 2):
        with claim_slot(tmp_path / str(number), 1):
            (tmp_path / str(number) / "0").rename(tmp_path / f"{number}{number}")
        (tmp_path / f"{number}{number}" / f"b{number}.arrow").write_bytes(b"sealed")
        (tmp_path / str(number)).rmdir()
    with claim_slot(tmp_path, 1) as mine:
        (mine.path / "b1.arrow").mkdir()  # in the way
        assert Spool(mine.path).adopt() == 1
        assert (tmp_path / "11" / "b1.arrow").is_file()
        (mine.path / "b1.arrow").rmdir()
        assert Spool(mine.path).adopt() == 1
        assert list(Spool(mine.path).list()) == ["b1", "b2"]


def test_a_death_in_the_middle_of_it_loses_none_and_doubles_none(tmp_path: Path) -> None:
    wanted = [f"b{number}" for number in range(10)]
    with claim_slot(tmp_path, 2) as gone, claim_slot(tmp_path, 2) as mine:
        for batch_id in wanted:
            (gone.path / f"{batch_id}.arrow").write_text(batch_id)
        gone.release()
        done = subprocess.run([sys.executable, "-c", ADOPT, str(mine.path)], timeout=60)
        assert done.returncode == -signal.SIGKILL
        spool = Spool(mine.path)
        assert [*spool.list(), *Spool(gone.path).list()] == wanted
        assert (len(spool.list()), spool.adopt()) == (6, 4)
        assert list(spool.list()) == wanted
        assert all(spool.path(batch_id).read_text() == batch_id for batch_id in wanted)

"""A collector takes over what others on its host have left, and nothing of those that run."""

from __future__ import annotations

from pathlib import Path

from pipeline.slots import claim_slot
from pipeline.spool import Spool


def test_batches_of_a_collector_that_is_gone_are_taken_over(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 3) as mine, claim_slot(tmp_path, 3) as gone:
        (gone.path / "b1.arrow").write_bytes(b"sealed")
        (gone.path / "b2.part").write_bytes(b"half")
        assert Spool(mine.path).adopt() == 0
        gone.release()
        assert Spool(mine.path).adopt() == 1
        assert (mine.path / "b1.arrow").read_bytes() == b"sealed"
        assert not (mine.path / "b2.part").exists()


def test_batches_of_a_running_collector_stay(tmp_path: Path) -> None:
    with claim_slot(tmp_path, 3) as mine, claim_slot(tmp_path, 3) as other:
        (other.path / "b1.arrow").write_bytes(b"sealed")
        assert Spool(mine.path).adopt() == 0
        assert (other.path / "b1.arrow").exists()

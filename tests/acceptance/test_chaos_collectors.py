"""Three collectors on one queue, killed, drained and started at random, among faults of all kinds.

The long run of the same is a command: ``python -m tests.acceptance.chaos.soak``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EXIT_DEPENDENCY, EXIT_DONE
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.soak import ARM_OPTIONS, Soak
from tests.acceptance.chaos.soak_report import report

COLLECTORS = 3
PAUSE_S = (0.1, 1.5)
# The deck is played to its end, which takes longer.
FAULTY_S = 5.0
KILLED = -9


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", arm_options=ARM_OPTIONS) as up:
        yield up


def test_three_collectors_among_faults_of_all_kinds(sandbox: Sandbox, tmp_path: Path) -> None:
    soak = Soak(sandbox.settings, tmp_path, collectors=COLLECTORS, pause_s=PAUSE_S)
    done = soak.run(FAULTY_S)
    soak.job.assert_whole()
    print(f"\n{report(done, soak.job)}")

    struck = done.struck()
    assert struck["supervisor"] > 0
    assert struck["two stages"] > 0
    assert struck.total() >= 6
    assert done.drains > 0
    assert done.restarts > 0
    assert done.starts > COLLECTORS
    faults = " ".join(done.faults)
    assert "ARM" in faults
    assert "network" in faults
    # A dependency may be away when one starts; nothing else ends a collector or a stage.
    assert set(done.gave_up) <= {EXIT_DEPENDENCY}
    assert done.failed == 0
    assert {EXIT_DONE, KILLED} <= set(done.exits)

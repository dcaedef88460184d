"""Killed at random fifty times while it collects, under supervisord: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos import kills
from tests.acceptance.chaos.strikes import STAGES, SUPERVISOR

# Of each process and of each kind of strike there must have been so many at least.
LEAST_OF_EACH = 3
# Until work goes on, in seconds: no test of the machine's speed. The command of the module that
# kills asks for less.
STAGE_LIMIT_S, SUPERVISOR_LIMIT_S = 10.0, 15.0


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", arm_options=kills.ARM_OPTIONS) as up:
        yield up


@pytest.mark.alone
def test_fifty_kills_in_three_thousand_messages(sandbox: Sandbox, tmp_path: Path) -> None:
    done, job = kills.run(sandbox.settings, tmp_path)
    print(f"\n{done.figures()}\n")

    assert len(done.strikes) == kills.KILLS
    processes, kinds = done.processes(), done.kinds()
    assert min(processes[name] for name in (*STAGES, SUPERVISOR)) >= LEAST_OF_EACH, processes
    assert len(kinds) == 7, kinds
    assert min(kinds.values()) >= LEAST_OF_EACH, kinds
    assert min(done.depths) > 0, "it was killed while there was nothing to do"

    job.assert_whole()
    assert job.sent == kills.MESSAGES
    limits = {kind: SUPERVISOR_LIMIT_S if SUPERVISOR in kind else STAGE_LIMIT_S for kind in kinds}
    prompt = [strike for strike in done.clean if not strike.held_back]
    assert [strike for strike in prompt if strike.seconds > limits[strike.kind]] == []

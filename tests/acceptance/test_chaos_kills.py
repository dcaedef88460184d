"""Killed at random time and again while it collects, under supervisord: nothing lost or doubled.

Fifty times in three thousand messages takes two minutes::

    pytest -m soak -s tests/acceptance/test_chaos_kills.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos import kills
from tests.acceptance.chaos.strikes import STAGES, SUPERVISOR

# Until work goes on, in seconds: no test of the machine's speed. The command of the module that
# kills asks for less.
STAGE_LIMIT_S, SUPERVISOR_LIMIT_S = 10.0, 15.0


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", arm_options=kills.ARM_OPTIONS) as up:
        yield up


@pytest.mark.parametrize(
    ("times", "messages", "least_of_each"),
    [
        pytest.param(14, 700, 1, id="short", marks=pytest.mark.alone),
        pytest.param(kills.KILLS, kills.MESSAGES, 3, id="long", marks=pytest.mark.soak),
    ],
)
def test_kills_at_random(
    sandbox: Sandbox, tmp_path: Path, times: int, messages: int, least_of_each: int
) -> None:
    done, job = kills.run(sandbox.settings, tmp_path, kills=times, messages=messages)
    print(f"\n{done.figures()}\n")

    assert len(done.strikes) == times
    processes, kinds = done.processes(), done.kinds()
    assert min(processes[name] for name in (*STAGES, SUPERVISOR)) >= least_of_each, processes
    assert len(kinds) == 7, kinds
    assert min(kinds.values()) >= least_of_each, kinds
    assert min(done.depths) > 0, "it was killed while there was nothing to do"

    job.assert_whole()
    assert job.sent == messages
    limits = {kind: SUPERVISOR_LIMIT_S if SUPERVISOR in kind else STAGE_LIMIT_S for kind in kinds}
    prompt = [strike for strike in done.clean if not strike.held_back]
    assert [strike for strike in prompt if strike.seconds > limits[strike.kind]] == []

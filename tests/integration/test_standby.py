"""The process that stands by for ``load``: it takes over at once, and is nobody's burden."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector
from tests.processes import children, is_gone, until


def test_it_takes_the_place_of_a_killed_load_and_another_stands_by(
    settings: dict[str, str], tmp_path: Path
) -> None:
    job = Job(settings)
    with collector(settings, tmp_path / "out") as running:
        pids = running.await_stages()
        standby = running.await_standby()
        os.kill(pids["load"], signal.SIGKILL)
        until(lambda: running.stages().get("load") == standby, what=running.output)
        job.send(20)
        job.await_empty()
        assert running.await_standby() not in (standby, pids["load"])
        running.send(signal.SIGTERM)
        assert running.ended() == 0
        until(lambda: children(running.process.pid) == [])
    job.assert_whole()


def test_it_does_not_outlive_a_killed_supervisor(settings: dict[str, str], tmp_path: Path) -> None:
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        standby = running.await_standby()
        running.send(signal.SIGKILL)
        running.ended()
        until(lambda: is_gone(standby), 5.0)

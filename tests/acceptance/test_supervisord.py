"""The project's ``supervisord.conf`` under the real supervisord: starts, drains, starts again."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.supervisor import STOP_TIMEOUT_S
from tests.acceptance.command import ROOT, environment, stages_of
from tests.acceptance.stores import all_messages, queue, request, tables
from tests.processes import children, is_gone, title_of, until

CONF = ROOT / "supervisord.conf"
PROGRAM = "program:azure-collector"
SUPERVISOR = "azure-collector: supervisor"
STAGES = 5
DRAIN_TIMEOUT_S = 10


class Supervisord:
    """A supervisord that runs, with the collector as its one program."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def log(self) -> str:
        """What the collector has logged."""
        file = self.folder / "azure-collector.log"
        return file.read_text() if file.exists() else ""

    def collector(self) -> int | None:
        """Process id of the collector's supervisor."""
        return next((p for p in children(self.process.pid) if title_of(p) == SUPERVISOR), None)

    def await_collecting(self, times: int = 1) -> tuple[int, list[int]]:
        """Process ids of the collector's supervisor and of its stages, once they collect."""
        until(lambda: self.log.count('"action":"started"') >= times, what=self.log)
        pid: int = until(self.collector)
        stages: dict[str, int] = until(
            lambda: (found := stages_of(pid)) and len(found) == STAGES and found
        )
        return pid, list(stages.values())


@contextmanager
def supervisord(settings: dict[str, str], folder: Path) -> Iterator[Supervisord]:
    """Run it in the foreground on a copy of the conf, as a user does."""
    shutil.copy(CONF, folder)
    env = environment({**settings, "DRAIN_TIMEOUT": str(DRAIN_TIMEOUT_S)})
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    del env["SPOOL_DIR"]
    with (
        (folder / "supervisord.out").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / CONF.name)],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        ) as process,
    ):
        up = Supervisord(process, folder)
        try:
            yield up
        finally:
            group = up.collector()
            process.kill()
            if group is not None:
                os.killpg(group, signal.SIGKILL)


@pytest.fixture
def slow_arm(settings: dict[str, str]) -> Iterator[None]:
    """Each answer takes a while, so that calls are under way when the end comes."""
    arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
    before = arm.settings()["latency_ms"]
    arm.settings(latency_ms=400)
    yield
    arm.settings(latency_ms=before)


def send(settings: dict[str, str], names: list[str]) -> None:
    with queue(settings) as client:
        for name in names:
            message = {"message_id": name, "api_requests": [request("/subscriptions")] * 3}
            client.send_message(json.dumps(message))


def complete(settings: dict[str, str], prefix: str) -> set[str]:
    """Messages whose every request stands in the ledger."""
    with tables(settings) as session:
        found = session.run(
            "SELECT MESSAGE_ID FROM REQUESTS"
            f" WHERE MESSAGE_ID LIKE '{prefix}-%' AND OUTCOME = 'complete'"
            " GROUP BY 1 HAVING COUNT(*) = 3"
        )
    return {name for (name,) in found}


def test_it_collects_and_at_sigterm_drains_and_leaves_nothing_behind(
    settings: dict[str, str], slow_arm: None, tmp_path: Path
) -> None:
    prefix = settings["AZURE_QUEUE_NAME"]
    names = [f"{prefix}-{number}" for number in range(60)]
    with supervisord(settings, tmp_path) as up:
        pid, stages = up.await_collecting()
        send(settings, names)
        until(lambda: '"action":"loaded"' in up.log, what=up.log)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(DRAIN_TIMEOUT_S + STOP_TIMEOUT_S + 5) == 0
        assert [p for p in (pid, *stages) if not is_gone(p)] == []
        last = [json.loads(line) for line in up.log.splitlines() if '"stopped"' in line]
        assert [line["exit_code"] for line in last] == [0]
        assert '"action":"draining"' in up.log
        assert "killing" not in (tmp_path / "supervisord.out").read_text()

    done = complete(settings, prefix)
    with queue(settings) as client:
        there = client.get_queue_properties().approximate_message_count
        waiting = {json.loads(text)["message_id"] for text in all_messages(client)}
    # Whatever is not done was given back: visible at once, not leased until a time-out.
    assert len(waiting) == there
    assert done | waiting == set(names)
    assert done & waiting == set()
    assert done


def test_a_collector_that_is_killed_is_started_again_and_collects(
    settings: dict[str, str], tmp_path: Path
) -> None:
    prefix = settings["AZURE_QUEUE_NAME"]
    with supervisord(settings, tmp_path) as up:
        pid, stages = up.await_collecting()
        os.kill(pid, signal.SIGKILL)
        until(lambda: all(map(is_gone, [pid, *stages])), limit_s=15)
        again, _ = up.await_collecting(times=2)
        assert again != pid
        send(settings, [f"{prefix}-after"])
        until(lambda: complete(settings, prefix) == {f"{prefix}-after"}, what=up.log)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(DRAIN_TIMEOUT_S + STOP_TIMEOUT_S + 5) == 0


def test_its_spool_is_in_its_folder_and_for_its_user_alone(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with supervisord(settings, tmp_path) as up:
        up.await_collecting()
        spool = tmp_path / "state" / "spool"
        assert spool.is_dir()
        assert [path.stat().st_mode & 0o077 for path in (spool, spool.parent)] == [0, 0]


def test_its_times_nest() -> None:
    conf = configparser.RawConfigParser()
    conf.read(CONF)
    wait_s = float(conf[PROGRAM]["stopwaitsecs"])
    profile = conf[PROGRAM]["command"].split()[-1]
    drain_s = load(profile, {}, {}, needs=()).drain_timeout
    assert drain_s + STOP_TIMEOUT_S < wait_s
    assert conf[PROGRAM]["stopasgroup"] == "false"
    assert conf[PROGRAM]["killasgroup"] == "true"

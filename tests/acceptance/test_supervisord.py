"""The project's ``supervisord.conf`` under the real supervisord: starts, drains, starts again."""

from __future__ import annotations

import configparser
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.supervisor import STOP_TIMEOUT_S
from tests.acceptance.stores import all_messages, queue, request, tables
from tests.acceptance.supervised import CONF, DRAIN_TIMEOUT_S, supervisord
from tests.processes import is_gone, until

PROGRAM = "program:azure-collector"


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
        assert "killing" not in up.said

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

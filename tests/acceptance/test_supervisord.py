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
from stages.load.session import Session
from tests.acceptance.stores import all_messages, queue, request, tables
from tests.acceptance.supervised import CONF, DRAIN_TIMEOUT_S, Supervisord, supervisord
from tests.processes import is_gone, until

PROGRAM = "program:azure-collector"
# A file of the log in the test of its rotation; supervisord looks after each piece it has written.
LOG_BYTES = 500
CHUNK_BYTES = 65536
BACKUPS = 5
# Fewer processes to start.
LIGHT = {"LOAD_STANDBY": "false"}


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
        return in_ledger(session, prefix)


def in_ledger(session: Session, prefix: str) -> set[str]:
    """The same, in a session that is there."""
    found = session.run(
        "SELECT MESSAGE_ID FROM REQUESTS"
        f" WHERE MESSAGE_ID LIKE '{prefix}-%' AND OUTCOME = 'complete'"
        " GROUP BY 1 HAVING COUNT(*) = 3"
    )
    return {name for (name,) in found}


def await_complete(settings: dict[str, str], names: set[str], up: Supervisord) -> None:
    """Wait until these messages, and no others of this test, are complete."""
    prefix = settings["AZURE_QUEUE_NAME"]
    # A look into the tables costs more than one at the logs.
    until(lambda: up.logged('"action":"loaded"'), what=up.said)
    with tables(settings) as session:
        until(lambda: in_ledger(session, prefix) == names, what=up.said)


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
        await_complete(settings, {f"{prefix}-after"}, up)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(DRAIN_TIMEOUT_S + STOP_TIMEOUT_S + 5) == 0


def test_a_reload_drains_and_starts_with_what_was_changed_and_the_log_is_rotated(
    settings: dict[str, str], tmp_path: Path
) -> None:
    """Log files are small here, so that a few lines fill them."""
    prefix = settings["AZURE_QUEUE_NAME"]

    def small_logs(conf: str) -> str:
        return conf.replace("logfile_maxbytes=50MB", f"logfile_maxbytes={LOG_BYTES}")

    with supervisord({**settings, **LIGHT}, tmp_path, small_logs) as up:
        pid, stages = up.await_collecting()
        assert "azure-collector " in up.control("status")
        conf = tmp_path / "supervisord.conf"
        conf.write_text(conf.read_text().replace("/azure-collector.log", "/renamed.log"))
        up.process.send_signal(signal.SIGHUP)
        until(lambda: all(map(is_gone, [pid, *stages])), limit_s=DRAIN_TIMEOUT_S + STOP_TIMEOUT_S)
        again = until(up.collector, what=up.said)
        send(settings, [f"{prefix}-after"])
        await_complete(settings, {f"{prefix}-after"}, up)
        assert "exit status 0" in up.said
        assert "killing" not in up.said
        assert again != pid
        said = up.control("stop", "azure-collector")
        assert "stopped" in said
        until(lambda: is_gone(again))

    assert len(list(tmp_path.glob("azure-collector.log*"))) > 1
    files = list(tmp_path.glob("renamed.log*"))
    assert 1 < len(files) <= 1 + BACKUPS
    assert all(path.stat().st_size <= LOG_BYTES + CHUNK_BYTES for path in files)
    # One text again, up to the end of the drain: a rotation loses nothing between two files.
    newest_last = sorted(files, key=lambda path: int("0" + path.name.partition(".log.")[2]))[::-1]
    text = "".join(path.read_text() for path in newest_last)
    actions = [json.loads(line)["action"] for line in text.splitlines()[1:]]
    assert "stopped" in actions


def test_two_programs_share_a_host_and_not_their_ends(
    settings: dict[str, str], tmp_path: Path
) -> None:
    prefix = settings["AZURE_QUEUE_NAME"]
    names = {f"{prefix}-{number}" for number in range(20)}
    with supervisord({**settings, **LIGHT}, tmp_path, with_the_second_program) as up:
        second_log = tmp_path / "azure-collector-2.log"
        up.await_collecting()
        until(lambda: '"action":"started"' in second_log.read_text(), what=up.said)
        before = set(up.collectors())
        assert len(before) == 2
        spools = [path.name for path in (tmp_path / "state" / "spool").iterdir() if path.is_dir()]
        assert len(spools) == 2

        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        send(settings, sorted(names))
        await_complete(settings, names, up)
        after = until(lambda: len(found := set(up.collectors())) == 2 and found)
        assert before & after == before - {killed}

        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(DRAIN_TIMEOUT_S + STOP_TIMEOUT_S + 5) == 0
        assert [pid for pid in after if not is_gone(pid)] == []
        assert "killing" not in up.said


def with_the_second_program(conf: str) -> str:
    """The example at the end of the conf, as a user takes it; with no port in a test."""
    first, example = conf.split(";[program:azure-collector-2]")
    lines = (line.removeprefix(";") for line in example.splitlines())
    second = "\n".join(["[program:azure-collector-2]", *lines])
    assert "OPS_PORT=" in second
    return first + second.replace("8081", "0")


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

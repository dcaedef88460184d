"""A collector tells how it is: metrics, probes, the status page and ``status``, through a kill."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import secrets_seen
from tests.acceptance.chaos.job import Job
from tests.acceptance.command import collector, command
from tests.acceptance.ops_pages import PATHS, OpsPages, free_port, grows
from tests.processes import until

MESSAGES = 40
LATENCY_MS = 60
CAUSE = "killed by SIGKILL"


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    ops = {"OPS_PORT": str(free_port()), "OPS_TOKEN": secrets_seen.secret(secrets.token_hex(12))}
    # So slow that there is a middle; without a standby the stage is away for long enough to see.
    slow = {"NUM_THREADS": "2", "LOAD_STANDBY": "false"}
    job = Job({**settings, **ops, **slow})
    job.arm.reset()
    job.arm.settings(latency_ms=LATENCY_MS)
    job.send(MESSAGES, requests=3)
    yield job
    job.arm.reset()


def test_a_killed_stage_shows_once_everywhere_and_no_counter_goes_down(
    job: Job, tmp_path: Path
) -> None:
    pages = OpsPages(job.settings)
    highest: dict[object, float] = {}

    def scrape() -> None:
        for sample, value in pages.metrics().items():
            if grows(sample[0]):
                assert value >= highest.get(sample, 0.0), f"{sample} went down"
                highest[sample] = value

    def answers(path: str, code: int) -> bool:
        scrape()
        return pages.code(path) == code

    with collector(job.settings, tmp_path / "out") as running:
        # Nothing is ready before all stages stand.
        assert until(lambda: pages.code("/readyz")) == 503
        until(lambda: answers("/readyz", 200))
        assert pages.code("/healthz") == 200
        pids = running.await_stages()
        until(lambda: job.calls() > MESSAGES)
        scrape()

        os.kill(pids["load"], signal.SIGKILL)
        until(lambda: answers("/healthz", 503), what="the death did not show")
        assert pages.code("/readyz") == 503
        for path in ("/healthz", "/readyz"):
            until(lambda path=path: answers(path, 200), what=running.output[-3000:])
        job.await_empty(40)
        until(lambda: pages.status()["in_flight"]["messages"] == 0)
        scrape()

        assert pages.metric("stage_restarts_total", process="load") == 1
        assert sum(v for (name, _), v in highest.items() if name == "stage_restarts_total") == 1
        assert pages.metric("messages_finished_total", result="deleted") == MESSAGES
        assert pages.metric("messages_received_total") >= MESSAGES
        status = pages.status()
        load = next(one for one in status["processes"] if one["name"] == "load")
        assert (load["restarts"], load["last_cause"]) == (1, CAUSE)
        died = [e for e in status["recent_errors"] if e["action"] == "stage_died"]
        assert [event["message"] for event in died] == [f"load died: {CAUSE}"]
        assert running.output.count('"action":"stage_died"') == 1
        assert running.output.count(f'"cause":"{CAUSE}"') == 1

        asked = {name: job.settings[name] for name in ("OPS_PORT", "OPS_TOKEN")}
        shown = command(["status"], asked, cwd=tmp_path)
        assert shown.code == 0, shown.said
        assert shown.out.count(f"load died: {CAUSE}") == 1
        shown = command(["status", "--json"], asked, cwd=tmp_path)
        assert json.loads(shown.out)["processes"][-1]["last_cause"] == CAUSE

        for path in PATHS:
            assert pages.ask(path)[0] == 200, path
            assert pages.ask(path, {})[0] == (200 if path.endswith("z") else 401), path
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-3000:]
    refused = command(["status"], asked, cwd=tmp_path)
    refused.assert_ended(3, "does not answer", f"127.0.0.1:{job.settings['OPS_PORT']}")
    job.assert_whole()


def test_a_port_that_was_set_has_to_be_free(settings: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = command(["--until-empty"], {**settings, "OPS_PORT": port})
    ended.assert_ended(2, "OPS_PORT", port, "takes a free port")
    assert "stage_started" not in ended.said

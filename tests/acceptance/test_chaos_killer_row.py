"""A row that kills the process that loads it is set aside; all others are loaded, beside it too."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from stages.load.unfit import KILLS
from tests.acceptance.chaos.events import EventLog
from tests.acceptance.chaos.job import LISTS, Job
from tests.acceptance.chaos.load_killer import CRASH_LOOP_DEATHS, DEADLY_VARIABLE
from tests.acceptance.command import collector
from tests.acceptance.stores import tables

MESSAGES = 200
LIMIT_S = 90.0


def test_it_is_set_aside_and_those_beside_it_are_loaded(
    settings: dict[str, str], tmp_path: Path
) -> None:
    job = Job(settings)
    job.send(MESSAGES // 2, requests=1)
    subscription = job.arm.catalogue()["subscriptions"][0]
    path = LISTS[1].format(s=subscription)
    killer = job.send_paths([path])
    resource_id = job.expect_row_aside(killer)
    job.send(MESSAGES - MESSAGES // 2, requests=1)
    rows = json.dumps([(killer, resource_id)])
    deadly = {**settings, DEADLY_VARIABLE: rows, "BATCH_SIZE": "100"}
    module = "tests.acceptance.chaos.load_killer"
    with collector(deadly, tmp_path / "out", module=module) as running:
        job.await_empty(LIMIT_S)
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
    log = EventLog(tmp_path / "out")
    died = {(event.line["process"], event.line["cause"]) for event in log.of("stage_died")}
    assert died == {("load", "killed by SIGSEGV")}
    # So many in a row are a crash loop, unless something is loaded between them.
    (summary,) = log.of("summary")
    assert summary.line["restarts"] > CRASH_LOOP_DEATHS
    with tables(settings) as session:
        kept = session.run(
            f"SELECT MESSAGE_ID, REASON FROM REJECTED_ROWS WHERE MESSAGE_ID LIKE '{job.run}-%'"
        )
    assert kept == [(killer, KILLS)]
    job.assert_whole()

"""A message that kills its worker each time is poison in the end; those beside it are collected."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from stages.fetch.suspects import POISON_AT
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.killer import OUT_OF_MEMORY, SEGFAULT
from tests.acceptance.command import collector
from tests.acceptance.stores import request

MESSAGES = 500
LIMIT_S = 240.0
# How the supervisor tells each death.
CAUSES = {SEGFAULT: "SIGSEGV", OUT_OF_MEMORY: "SIGKILL"}


def killer(job: Job, kind: str, beside: int = 2) -> str:
    """A message whose second request kills its worker."""
    good = request(job.arm.catalogue()["subscriptions"][0].join(["/subscriptions/", ""]))
    deadly = request(f"/subscriptions/{job.run}/resourceGroups/{kind}")
    message = {"message_id": f"killer-{kind}-{job.run}", "api_requests": [good, deadly]}
    return job.expect_poison(json.dumps(message), "kills its worker")


def test_they_are_poison_and_those_beside_them_are_collected(
    settings: dict[str, str], tmp_path: Path
) -> None:
    kinds = [SEGFAULT, OUT_OF_MEMORY, OUT_OF_MEMORY]
    job = Job(settings)
    job.send(MESSAGES // 2)
    job.put([killer(job, f"{kind}-{number}") for number, kind in enumerate(kinds)])
    job.send(MESSAGES - MESSAGES // 2)
    with collector(settings, tmp_path / "out", module="tests.acceptance.chaos.killer") as running:
        job.await_empty(LIMIT_S)
        running.send(signal.SIGTERM)
        assert running.ended() == 0, running.output[-6000:]
    died = [json.loads(line) for line in running.output.splitlines() if '"stage_died"' in line]
    assert {line["process"].partition("-")[0] for line in died} == {"execute"}
    for kind in set(kinds):
        # In each of these deaths a message was alone; before, it was beside others.
        causes = sum(CAUSES[kind] in line["cause"] for line in died)
        assert causes >= kinds.count(kind) * POISON_AT + 1
    job.assert_whole()

"""Memory stays flat however long the queue is: peaks of each process by quarters of a run.

Two hundred thousand requests take some minutes::

    pytest -m soak -s tests/acceptance/test_memory.py
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.figures import table
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.memory import MIB, peaks
from tests.acceptance.command import collector
from tests.processes import until

REQUESTS_A_MESSAGE = 100
QUARTERS = 4
# Seconds for a quarter, however many requests it has.
QUARTER_LIMIT_S = 300.0
SETTINGS = {"BATCH_SIZE": "1000", "BATCH_TIMEOUT": "1", "BATCH_BYTES": str(4 * MIB)}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    options = ["--subscriptions", "40", "--vms", "3", "--bucket-refill", "1000"]
    with Sandbox(arm_options=options) as up:
        yield up


def await_done(job: Job, messages: int) -> None:
    """Wait until so many messages have left the queue."""
    until(lambda: job.sent - job.left() >= messages, QUARTER_LIMIT_S, "it takes too long")


@pytest.mark.parametrize(
    ("requests", "growth"),
    [
        pytest.param(4_000, 1.2, id="short"),
        pytest.param(200_000, 1.1, id="long", marks=pytest.mark.soak),
    ],
)
def test_the_last_quarter_takes_no_more_than_the_second(
    sandbox: Sandbox, tmp_path: Path, requests: int, growth: float
) -> None:
    job = Job({**sandbox.settings, **SETTINGS})
    messages = requests // REQUESTS_A_MESSAGE
    quarters = []
    with (
        job.feeding(messages, requests=REQUESTS_A_MESSAGE),
        collector(job.settings, tmp_path / "out") as running,
    ):
        processes = {**running.await_stages(), "supervisor": running.process.pid}
        for quarter in range(1, QUARTERS + 1):
            await_done(job, messages * quarter // QUARTERS)
            quarters.append(peaks(processes))
        running.send(signal.SIGTERM)
        assert running.ended() == 0
        assert "died" not in running.output
    rows = [[name, *(f"{quarter[name] / MIB:.1f}" for quarter in quarters)] for name in processes]
    head = ["MiB", *(f"quarter {number}" for number in range(1, QUARTERS + 1))]
    print(f"\n{job.requests} requests, {job.rows} rows\n{table(head, rows)}\n")
    job.assert_whole()
    _, second, _, last = quarters
    assert {n: last[n] / second[n] for n in processes if last[n] > second[n] * growth} == {}

"""One measurement of how much of Azure's budget is used: a sandbox, messages, collectors, samples.

Seconds and outcomes are read from the collector's own ledger; calls, refusals and bucket levels
from the simulator, which is asked while the collectors run.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.queue_messages import API_VERSION, message, send
from pipeline.config import load
from pipeline.errors import CollectorError
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.runner import Sandbox
from stages.load.session import connect

ROOT = Path(__file__).parents[1]
# Of the measuring machine's own environment, what a collector keeps.
KEPT = ("PATH", "HOME", "LANG", "AZURE_COLLECTOR_CACHE")

# ARM's limits of reads, of each subscription and principal; they are the simulator's defaults.
# Source: learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
BUCKET_CALLS = Settings().bucket_size
REFILL_PER_S = Settings().bucket_refill

MACHINES = (
    f"/subscriptions/{{}}/providers/Microsoft.Compute/virtualMachines?api-version={API_VERSION}"
)
REQUESTS_PER_MESSAGE = 20
# What the throttled subscriptions ask callers to wait.
RETRY_AFTER_S = 60
SAMPLE_EACH_S = 0.25
# Execute processes of a collector, by how many collectors there are.
PROCESSES = {1: 3, 2: 2}
# A measurement that takes longer than this, and so many times what the budget allows, has failed.
START_AND_END_LIMIT_S = 60.0
LIMIT_FACTOR = 4.0
# For a collector that is asked to end, to load what it has.
DRAIN_LIMIT_S = 60.0
# Of a collector's output, what an error shows.
SHOWN_CHARS = 4000


class MeasurementError(CollectorError):
    """What was measured is no measurement: the collector failed, or its result is not whole."""


@dataclass(frozen=True)
class Load:
    """What is asked, of whom, and by how many.

    Attributes:
        subscriptions: of the tenant.
        requests: of all subscriptions together, the same number of each.
        collectors: 1 or 2, with one queue and one principal.
        threads: of each execute process.
        latency_ms: milliseconds that each answer of ARM waits.
        throttled: so many of the subscriptions answer every call 429; they are not measured.
    """

    subscriptions: int = 20
    requests: int = 20_000
    collectors: int = 1
    threads: int = 25
    latency_ms: float = 0.0
    throttled: int = 0

    @property
    def per_subscription(self) -> int:
        """Requests of each subscription."""
        return self.requests // self.subscriptions

    @property
    def measured_subscriptions(self) -> int:
        """Subscriptions that answer."""
        return self.subscriptions - self.throttled

    @property
    def measured_requests(self) -> int:
        """Requests that are answered."""
        return self.measured_subscriptions * self.per_subscription

    @property
    def limit_s(self) -> float:
        """Seconds that the measurement may take."""
        least_s = max(0.0, self.per_subscription - BUCKET_CALLS) / REFILL_PER_S
        return START_AND_END_LIMIT_S + LIMIT_FACTOR * least_s


class Sample(NamedTuple):
    """What the simulator said at a moment.

    Attributes:
        at_s: seconds since the first call.
        calls: answered so far, refused ones left out.
        lowest: calls left in the emptiest of the measured buckets.
        highest: calls left in the fullest of them.
    """

    at_s: float
    calls: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        load: what was asked.
        seconds: from the first call to the last answer of the measured subscriptions.
        calls: answered by them, refused ones left out.
        refused: calls that they answered 429, because a bucket was empty.
        refused_elsewhere: calls that the throttled subscriptions answered 429.
        samples: in the order of time.
    """

    load: Load
    seconds: float
    calls: int
    refused: int
    refused_elsewhere: int
    samples: Sequence[Sample]

    @property
    def calls_per_s(self) -> float:
        """Mean rate."""
        return self.calls / self.seconds

    @property
    def budget(self) -> float:
        """Calls that the measured buckets allowed in that time."""
        return budget(self.load.measured_subscriptions, self.seconds)

    @property
    def share_used(self) -> float:
        """Part of the budget that was used, 0 to 1."""
        return self.calls / self.budget

    @property
    def share_refused(self) -> float:
        """Part of the calls that was answered 429, 0 to 1."""
        return self.refused / (self.calls + self.refused)


def budget(subscriptions: int, seconds: float) -> float:
    """Calls that buckets which are full at first allow: what they hold and what comes back.

    Args:
        subscriptions: each has a bucket.
        seconds: from the first call on.
    """
    return subscriptions * (BUCKET_CALLS + REFILL_PER_S * seconds)


def measure(asked: Load) -> Measured:
    """Measure once, in a sandbox of its own, from a cold start.

    Raises:
        MeasurementError: a collector failed or took too long, or the tables are not what was asked.
        SandboxError: the sandbox could not be had.
    """
    options = ["--subscriptions", str(asked.subscriptions), "--vms", str(asked.per_subscription)]
    with (
        tempfile.TemporaryDirectory(prefix="azure-budget-", ignore_cleanup_errors=True) as name,
        Sandbox(Path(name) / "sandbox", arm_options=options) as sandbox,
    ):
        arm = SimulatorControl(sandbox.settings["AZURE_ARM_ENDPOINT"])
        subscriptions: list[str] = arm.catalogue()["subscriptions"]
        throttled = subscriptions[: asked.throttled]
        _enqueue(sandbox.settings, [arm.expected(MACHINES.format(s))["ids"] for s in subscriptions])
        arm.settings(latency_ms=asked.latency_ms)
        if throttled:
            arm.faults([_throttling(throttled)])
        with _collectors(asked, sandbox.settings, Path(name)) as running:
            samples = _watch(running, arm, asked, set(subscriptions[asked.throttled :]))
            _end(running, asked)
        counted = arm.stats()
        began_s, ended_s = _check_tables(sandbox.settings, asked, throttled)
    elsewhere = int(counted["faults"].get("throttle", 0))
    calls = _answered(counted)
    if calls != asked.measured_requests:
        raise MeasurementError(
            f"{asked.measured_requests:,} calls were asked for, and {calls:,} were answered"
        )
    return Measured(
        load=asked,
        seconds=ended_s - began_s,
        calls=calls,
        refused=int(counted["by_status"].get("429", 0)) - elsewhere,
        refused_elsewhere=elsewhere,
        samples=[sample._replace(at_s=sample.at_s - began_s) for sample in samples],
    )


# ── before ───────────────────────────────────────────────────────────────────────────────────────


def _enqueue(settings: Mapping[str, str], resource_ids: Sequence[Sequence[str]]) -> None:
    """Messages that ask for these resources: of one subscription each, the subscriptions in turn.

    Args:
        settings: how to reach the queue.
        resource_ids: of each subscription the same number.
    """
    texts = [
        message(ids[first : first + REQUESTS_PER_MESSAGE])
        for first in range(0, len(resource_ids[0]), REQUESTS_PER_MESSAGE)
        for ids in resource_ids
    ]
    send(settings, texts)


def _throttling(subscriptions: Sequence[str]) -> dict[str, Any]:
    pattern = f"/subscriptions/({'|'.join(subscriptions)})(/|$)"
    return {"kind": "throttle", "regex": pattern, "retry_after_s": RETRY_AFTER_S}


# ── the collectors ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Collector:
    process: subprocess.Popen[bytes]
    output: Path

    def failure(self, what: str) -> MeasurementError:
        said = self.output.read_text(errors="replace")[-SHOWN_CHARS:]
        return MeasurementError(f"a collector {what}; its last output:\n{said}")


@contextlib.contextmanager
def _collectors(
    asked: Load, settings: Mapping[str, str], folder: Path
) -> Iterator[list[_Collector]]:
    """Start them; none is left running."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    with contextlib.ExitStack() as stack:
        running: list[_Collector] = []
        for number in range(asked.collectors):
            environment = {
                **kept,
                **settings,
                "PYTHONPATH": str(ROOT),
                "SPOOL_DIR": str(folder / f"spool-{number}"),
                "NUM_PROCESSES": str(PROCESSES[asked.collectors]),
                "NUM_THREADS": str(asked.threads),
                "OPS_PORT": "0",
                "LOG_FORMAT": "json",
            }
            output = folder / f"output-{number}"
            file = stack.enter_context(output.open("wb"))
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "pipeline", "--until-empty"],
                    env=environment,
                    cwd=folder,  # no .env file is there
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(process.kill)
            running.append(_Collector(process, output))
        yield running


def _watch(
    running: Sequence[_Collector], arm: SimulatorControl, asked: Load, measured: set[str]
) -> list[Sample]:
    """Take samples until the collectors are done; their times are seconds since the epoch."""
    samples: list[Sample] = []
    deadline_s = time.monotonic() + asked.limit_s
    next_s = time.monotonic()
    while any(collector.process.poll() is None for collector in running):
        sample = _sample(arm.stats(), measured)
        samples.append(sample)
        if asked.throttled and sample.calls >= asked.measured_requests:
            break  # the others go on for as long as they are refused
        if time.monotonic() > deadline_s:
            raise running[0].failure(
                f"had {sample.calls:,} of {asked.measured_requests:,} calls answered after "
                f"{asked.limit_s:.0f} s"
            )
        next_s = max(next_s + SAMPLE_EACH_S, time.monotonic())
        time.sleep(max(0.0, next_s - time.monotonic()))
    return samples


def _sample(stats: Mapping[str, Any], measured: set[str]) -> Sample:
    levels = [left for scope, left in stats["reads_left"].items() if scope in measured]
    if len(levels) < len(measured):  # nobody has asked the others yet: full
        levels.append(BUCKET_CALLS)
    return Sample(time.time(), _answered(stats), min(levels), max(levels))


def _answered(stats: Mapping[str, Any]) -> int:
    return int(stats["by_status"].get("200", 0))


def _end(running: Sequence[_Collector], asked: Load) -> None:
    """Wait for their ends; where some are refused for ever, ask for it."""
    if asked.throttled:
        for collector in running:
            collector.process.terminate()
    for collector in running:
        try:
            code = collector.process.wait(DRAIN_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise collector.failure(f"has not ended after {DRAIN_LIMIT_S:.0f} s") from None
        if code != 0:
            raise collector.failure(f"ended with exit code {code}")


# ── after ────────────────────────────────────────────────────────────────────────────────────────


def _check_tables(
    settings: Mapping[str, str], asked: Load, throttled: Sequence[str]
) -> tuple[float, float]:
    """Find every measured request once with its row, and none that nobody answered.

    Returns:
        The first call and the last answer of the measured subscriptions, seconds since the epoch.

    Raises:
        MeasurementError: the tables are not what was asked for.
    """
    refused = ", ".join(f"'{subscription}'" for subscription in ["", *throttled])
    with connect(load(None, settings, {}, needs=("snowflake",))) as session:
        [(requests, paths, complete, began, ended)] = session.run(
            'SELECT COUNT(*), COUNT(DISTINCT "URL"), COUNT_IF("OUTCOME" = \'complete\'),'
            ' MIN("STARTED_AT"), MAX("COMPLETED_AT")'
            f' FROM "REQUESTS" WHERE "SUBSCRIPTION_ID" NOT IN ({refused})'
        )
        [(rows, resources)] = session.run(
            'SELECT COUNT(*), COUNT(DISTINCT LOWER("RESOURCE_ID")) FROM "RESOURCES"'
        )
        untrue = session.value(
            f'SELECT COUNT(*) FROM "REQUESTS" WHERE "SUBSCRIPTION_ID" IN ({refused})'
            " AND \"OUTCOME\" IN ('complete', 'not_found')"
        )
    wanted = asked.measured_requests
    if {requests, paths, complete, rows, resources} != {wanted} or untrue:
        raise MeasurementError(
            f"{wanted:,} requests for a resource each were to be answered; the tables have "
            f"{requests:,} requests for {paths:,} of them, {complete:,} complete, and {rows:,} "
            f"rows of {resources:,} resources; of throttled subscriptions {untrue:,} are answered"
        )
    return began.timestamp(), ended.timestamp()

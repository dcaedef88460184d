"""Calls to the simulator and to servers of the tests' own, as ``execute`` makes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from pipeline.messages import LeaseRef, PlannedRequest, Resource, Rows
from pipeline.sandbox.arm.control import SimulatorControl
from stages.execute.client import ExchangeFailed
from stages.execute.held import HoldSpace
from stages.execute.origin import Origin
from stages.execute.run import RequestRun
from stages.execute.steps import Done, FreshToken, Limits, Refusal, Step
from tests import secrets_seen
from tests.integration.blocking_client import BlockingClient
from tests.integration.simulator_calls import simulator as running_simulator
from tests.standins.http_server import Answer, Request, StandIn

TOKEN = secrets_seen.secret("token-that-stays-here")
READ_TIMEOUT_S = 0.5
MAX_BODY_BYTES = 2_000_000
LEASE = LeaseRef(1, 1, "q", "qid", "pop", "m-1", None, 5, 1, 1)
VERSION = "api-version=2024-07-01"
# Long enough for what the faults ask for, short enough for a test.
LIMITS = Limits(max_retries=3, initial_retry_delay_s=0.01, max_backoff_s=0.05, request_timeout_s=60)

_frame = msgspec.msgpack.Decoder(list[Rows]).decode


class Elsewhere(StandIn):
    """A server that must not be asked; it keeps what it was told all the same."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        super().__init__()

    def respond(self, request: Request) -> Answer:
        self.seen.append(request)
        return Answer(200, {"value": []})


class Canned(StandIn):
    """Gives the same answer each time, from headers and bytes."""

    def __init__(self, body: bytes, headers: dict[str, str], ca: trustme.CA | None = None) -> None:
        self.body = body
        self.headers = headers
        self.seen: list[Request] = []
        super().__init__(ca)

    def respond(self, request: Request) -> Answer:
        self.seen.append(request)
        return Answer(200, self.body, self.headers)


class Collected:
    """The end of a request, and how it came to it."""

    def __init__(self, done: Done, steps: list[Step], refusals: list[Refusal | None]) -> None:
        self.outcome = done.outcome
        self.steps = steps
        self.refusals = refusals
        self.rows: list[Resource] = [
            row for data in done.held.frames for rows in _frame(data[4:]) for row in rows.resources
        ] + done.held.last.resources


class Arm:
    """The simulator, its control, and a client of ours."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.control = SimulatorControl(endpoint)
        self.endpoint = endpoint
        self.origin = Origin.parse(endpoint)
        self.client = client_of(endpoint)
        self.folder = folder
        subscription = self.control.catalogue()["subscriptions"][0]
        self.subscription: str = (
            subscription if isinstance(subscription, str) else subscription["subscriptionId"]
        )
        self.list = (
            f"/subscriptions/{self.subscription}/providers/Microsoft.Compute/virtualMachines"
            f"?{VERSION}"
        )

    def fault(self, kind: str, **more: Any) -> None:
        self.control.faults([{"kind": kind, **more}])

    def get(self, target: str | None = None) -> bytes:
        return self.client.exchange("GET", target or self.list, {}, None, TOKEN).body

    def failure(self, target: str | None = None) -> ExchangeFailed:
        with pytest.raises(ExchangeFailed) as failed:
            self.get(target)
        return failed.value

    def collect(
        self, target: str | None = None, body: Any = None, limits: Limits = LIMITS
    ) -> Collected:
        return collect(self.client, self.origin, target or self.list, body, self.folder, limits)


def client_of(endpoint: str, answer_timeout_s: float = 30.0) -> BlockingClient:
    return BlockingClient(
        endpoint,
        read_timeout_s=READ_TIMEOUT_S,
        answer_timeout_s=answer_timeout_s,
        max_body_bytes=MAX_BODY_BYTES,
    )


def collect(
    client: BlockingClient,
    origin: Origin,
    target: str,
    body: Any,
    folder: Path,
    limits: Limits = LIMITS,
) -> Collected:
    """Call, and go on as the run says, until it is done."""
    data = None if body is None else msgspec.json.encode(body)
    method = "GET" if body is None else "POST"
    request = PlannedRequest(0, "compute", method, "2024-07-01", target, {}, data, "s", "")
    run = RequestRun(LEASE, request, origin, limits, HoldSpace(folder))
    steps: list[Step] = []
    refusals: list[Refusal | None] = []
    while True:
        step = call(client, run)
        steps.append(step)
        refusals.append(run.refusal)
        if isinstance(step, Done):
            collected = Collected(step, steps, refusals)
            run.close()
            return collected
        assert not isinstance(step, FreshToken)
        time.sleep(run.refusal.wait_s if run.refusal is not None else step.after_s)


def call(client: BlockingClient, run: RequestRun) -> Step:
    made = run.call
    run.calling(time.monotonic(), 1)
    try:
        found = client.exchange(
            made.method, made.target, made.headers, made.body, TOKEN, repeatable=run.call_repeatable
        )
    except ExchangeFailed as error:
        return run.unanswered(error, time.monotonic(), 2)
    return run.answered(found, time.monotonic(), 2)


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    with running_simulator(
        "--buckets", "off", "--vms", "25", "--page-size", "10", "--graph-page-size", "20"
    ) as running:
        yield running.endpoint


@pytest.fixture
def arm(simulator: str, tmp_path: Path) -> Iterator[Arm]:
    arm = Arm(simulator, tmp_path)
    arm.control.reset()
    yield arm
    arm.client.close()
    arm.control.reset()

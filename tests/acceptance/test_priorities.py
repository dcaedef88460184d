"""What is urgent comes first, and what is not comes in time."""

from __future__ import annotations

import json
import secrets
from statistics import median

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import create_queues
from tests.acceptance.command import command
from tests.acceptance.stores import queue, request, tables

# So that requests wait for each other: 8 calls at a time, each of so many milliseconds.
SLOW = {"NUM_PROCESSES": "1", "NUM_THREADS": "8", "MAX_IN_FLIGHT": "200"}
LATENCY_MS = 20
CLIENT_ID = "x-ms-client-request-id"


@pytest.fixture
def arm(settings: dict[str, str]) -> SimulatorControl:
    arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
    arm.reset()
    arm.settings(latency_ms=LATENCY_MS, buckets=False)
    settings |= SLOW
    return arm


@pytest.fixture(autouse=True)
def _as_it_was(arm: SimulatorControl) -> object:
    yield
    arm.settings(latency_ms=0, buckets=True)


def message(name: str, subscription: str, requests: int, **fields: str) -> str:
    path = f"/subscriptions/{subscription}/resourceGroups"
    # Each with an id of its own, so that none is answered by another's answer.
    asked = [request(path, headers={CLIENT_ID: f"{name}-{n}"}) for n in range(requests)]
    return json.dumps({"message_id": name, "api_requests": asked, **fields})


def places(settings: dict[str, str], run: str) -> dict[str, list[int]]:
    """Places in the order of completion, from 0, by the first word of the message's id."""
    with tables(settings) as session:
        ids = session.run(
            f"SELECT MESSAGE_ID FROM REQUESTS WHERE MESSAGE_ID LIKE '%-{run}-%'"
            " ORDER BY COMPLETED_AT, MESSAGE_ID"
        )
    found: dict[str, list[int]] = {}
    for place, (message_id,) in enumerate(ids):
        found.setdefault(str(message_id).partition("-")[0], []).append(place)
    return found


def test_urgent_messages_come_first_and_none_starves(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    run, (one, *_) = secrets.token_hex(4), arm.catalogue()["subscriptions"]
    with queue(settings) as client:
        for number in range(60):
            for priority in ("low", "normal", "high"):
                name = f"{priority}-{run}-{number}"
                client.send_message(message(name, one, 1, priority=priority))
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    found = places(settings, run)
    assert {priority: len(of) for priority, of in found.items()} == dict.fromkeys(found, 60)
    assert median(found["high"]) < median(found["normal"]) < median(found["low"])
    assert min(found["low"]) < max(found["high"])


def test_a_long_message_delays_no_short_one(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    run, (one, *_) = secrets.token_hex(4), arm.catalogue()["subscriptions"]
    with queue(settings) as client:
        client.send_message(message(f"long-{run}-0", one, 150))
        client.send_message(message(f"short-{run}-0", one, 5))
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    found = places(settings, run)
    assert (len(found["long"]), len(found["short"])) == (150, 5)
    assert max(found["short"]) < 75


@pytest.mark.soak
def test_a_queue_of_lower_priority_is_late_and_does_not_starve(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    run, (one, *_) = secrets.token_hex(4), arm.catalogue()["subscriptions"]
    names = [settings["AZURE_QUEUE_NAME"], f"q-{run}"]
    create_queues(settings["AZURE_QUEUE_CONNECTION_STRING"], names[1])
    for name, kind, messages in ((names[0], "first", 400), (names[1], "second", 40)):
        with queue({**settings, "AZURE_QUEUE_NAME": name}) as client:
            for number in range(messages):
                client.send_message(message(f"{kind}-{run}-{number}", one, 1))
    settings |= {"AZURE_QUEUE_NAME": ",".join(names), "MAX_IN_FLIGHT": "16"}
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    found = places(settings, run)
    assert (len(found["first"]), len(found["second"])) == (400, 40)
    assert min(found["first"]) < min(found["second"])
    assert min(found["second"]) < 300

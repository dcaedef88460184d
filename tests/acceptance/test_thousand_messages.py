"""A thousand messages, one in twenty bad: every row once, every request in the ledger, every bad
message in the poison queue with its reason."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.bad_messages import BAD
from tests.acceptance.command import collect
from tests.acceptance.stores import all_messages, queue, request, tables

MESSAGES = 1_000
BAD_MESSAGES = 50
SEED = 20_261_123

LISTS = (
    "/subscriptions/{s}/providers/Microsoft.Compute/virtualMachines",
    "/subscriptions/{s}/providers/Microsoft.Compute/disks",
    "/subscriptions/{s}/providers/Microsoft.Network/virtualNetworks",
    "/subscriptions/{s}/providers/Microsoft.KeyVault/vaults",
    "/subscriptions/{s}/resourceGroups",
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(arm_options=["--subscriptions", "40", "--vms", "12", "--page-size", "5"]) as up:
        yield up


def good_messages(arm: SimulatorControl, count: int) -> list[dict[str, Any]]:
    """Messages of 1 to 20 requests, lists and gets mixed, some of which ARM will answer 404."""
    chance = random.Random(SEED)
    subscriptions = arm.catalogue()["subscriptions"]
    machines = {s: arm.expected(_target(LISTS[0].format(s=s)))["ids"] for s in subscriptions}
    messages = []
    for number in range(count):
        requests = []
        for _ in range(chance.randint(1, 20)):
            subscription = chance.choice(subscriptions)
            kind = chance.random()
            if kind < 0.25:
                path = chance.choice(LISTS).format(s=subscription)
            elif kind < 0.95:
                path = chance.choice(machines[subscription])
            else:
                path = chance.choice(machines[subscription]) + "-gone"
            requests.append(request(path))
        messages.append({"message_id": f"message-{number}", "api_requests": requests})
    return messages


def _target(path: str) -> str:
    return f"{path}?api-version=2024-07-01"


def test_every_row_once_every_request_in_the_ledger_every_bad_message_poison(
    sandbox: Sandbox,
) -> None:
    arm = SimulatorControl(sandbox.settings["AZURE_ARM_ENDPOINT"])
    good = good_messages(arm, MESSAGES - BAD_MESSAGES)
    kinds = list(BAD.values())
    bad = [kinds[number % len(kinds)] for number in range(BAD_MESSAGES)]
    texts = [json.dumps(message) for message in good] + [text for text, _ in bad]
    random.Random(SEED).shuffle(texts)
    with queue(sandbox.settings) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(client.send_message, texts))

    collect(sandbox.settings, limit_s=300)

    expected_rows: Counter[tuple[str, int, str]] = Counter()
    expected_ledger = {}
    known: dict[str, dict[str, Any]] = {}
    for message in good:
        for index, one in enumerate(message["api_requests"]):
            path = one["resource_path"]
            answer = known.setdefault(path, arm.expected(_target(path)))
            key = (message["message_id"], index)
            outcome = "complete" if answer["status"] == 200 else "not_found"
            expected_ledger[key] = (outcome, answer["status"], answer["count"])
            for resource_id in answer["ids"]:
                expected_rows[(*key, resource_id.lower())] += 1
    with tables(sandbox.settings) as session:
        rows = session.run("SELECT MESSAGE_ID, REQUEST_INDEX, LOWER(RESOURCE_ID) FROM RESOURCES")
        keys = session.run("SELECT COUNT(*), COUNT(DISTINCT ROW_KEY) FROM RESOURCES")[0]
        ledger = session.run(
            'SELECT MESSAGE_ID, REQUEST_INDEX, OUTCOME, STATUS_CODE, "ROWS" FROM REQUESTS'
        )
    assert Counter(rows) == expected_rows
    assert keys[0] == keys[1] == expected_rows.total() > 0
    assert {(m, i): tuple(rest) for m, i, *rest in ledger} == expected_ledger
    assert len(ledger) == len(expected_ledger)

    with queue(sandbox.settings, "-poison") as client:
        poison = [json.loads(text) for text in all_messages(client)]
    assert Counter((p["text"], p["reason"]) for p in poison) == Counter(bad)
    assert "sesame" not in " ".join(p["detail"] for p in poison)
    with queue(sandbox.settings) as client:
        assert client.get_queue_properties().approximate_message_count == 0

"""Real answers of Azure, recorded: each body comes out of the table as it went in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.command import collect
from tests.acceptance.stores import queue, tables

RECORDED = Path(__file__).parents[3] / "shared" / "arm-recordings" / "recorded.jsonl"

pytestmark = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"the recorded answers are not at {RECORDED}"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(arm_options=["--buckets", "off"]) as up:
        yield up


def _exchanges() -> list[dict[str, Any]]:
    """The recorded exchanges that a message can ask for, the last of those that ask the same.

    Two have no api-version and one an empty segment in its path, which a message may not have.
    """
    found = {}
    for line in RECORDED.read_text().splitlines():
        one = json.loads(line)
        if "api-version=" in one["query"] and "//" not in one["path"]:
            found[one["method"], one["path"].lower(), one["query"]] = one
    return list(found.values())


def _message(number: int, one: dict[str, Any]) -> dict[str, Any]:
    query = parse_qsl(one["query"], keep_blank_values=True)
    (version,) = [value for name, value in query if name == "api-version"]
    asked: dict[str, Any] = {
        "service": "custom",
        "api_version": version,
        "method": one["method"],
        "resource_path": one["path"],
        "query_params": {name: value for name, value in query if name != "api-version"},
    }
    if one["method"] == "POST" and one["request_body"] is not None:
        asked["body"] = {"query": "recorded"}
    return {"message_id": f"recorded-{number}", "api_requests": [asked]}


def _text(one: dict[str, Any]) -> str:
    return one["body"] if isinstance(one["body"], str) else json.dumps(one["body"])


def _served(one: dict[str, Any]) -> Any:
    """The JSON value of the body; an empty body is a row without one."""
    text = _text(one)
    return json.loads(text) if text else None


def test_every_recorded_body_comes_back_equal(sandbox: Sandbox) -> None:
    exchanges = _exchanges()
    arm = SimulatorControl(sandbox.settings["AZURE_ARM_ENDPOINT"])
    arm.recordings(
        {
            "method": one["method"],
            "path": one["path"],
            "query": one["query"],
            "status": one["status"],
            "headers": one["headers"],
            "body": _text(one),
        }
        for one in exchanges
    )
    with queue(sandbox.settings) as client:
        for number, one in enumerate(exchanges):
            client.send_message(json.dumps(_message(number, one)))

    collect(sandbox.settings)

    with tables(sandbox.settings) as session:
        bodies: dict[str, list[Any]] = {}
        for message_id, body in session.run(
            "SELECT MESSAGE_ID, BODY FROM RESOURCES ORDER BY MESSAGE_ID, ROW_KEY"
        ):
            bodies.setdefault(message_id, []).append(None if body is None else json.loads(body))
        ledger = {
            row[0]: row[1:]
            for row in session.run("SELECT MESSAGE_ID, OUTCOME, STATUS_CODE FROM REQUESTS")
        }
    for number, one in enumerate(exchanges):
        name, body, status = f"recorded-{number}", one["body"], one["status"]
        found = bodies.get(name, [])
        if status == 404:
            assert ledger[name] == ("not_found", 404)
            assert found == []
        elif status == 202:
            # It names management.azure.com, which is not the endpoint: never followed.
            assert ledger[name][0] == "failed"
            assert found == []
        elif isinstance(body, dict) and isinstance(body.get("value"), list):
            assert ledger[name] == ("complete", 200)
            assert _sorted(found) == _sorted(body["value"]), one["path"]
        else:
            assert ledger[name] == ("complete", 200)
            assert found == [_served(one)], one["path"]
    assert len(exchanges) > 200


def _sorted(values: list[Any]) -> list[str]:
    return sorted(json.dumps(value, sort_keys=True) for value in values)

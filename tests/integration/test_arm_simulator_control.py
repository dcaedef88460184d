"""Control of the ARM simulator: what it is told, what it tells, what it refuses."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from pipeline.errors import SandboxError
from pipeline.sandbox.arm.control import SimulatorControl
from tests.integration.simulator_calls import ROOT, TOKEN, Running, arm, call, shared, vms

__all__ = ["arm", "shared"]

RECORDED = ROOT.parent / "shared" / "arm-recordings" / "recorded.jsonl"


@pytest.mark.parametrize(
    ("method", "what", "body", "problem"),
    [
        ("PUT", "faults", [{"kind": "nope"}], "Invalid value 'nope' - at `$[0].kind`"),
        ("PUT", "faults", {}, "Expected `array`, got `object`"),
        ("PUT", "settings", {"page_size": 0}, "Expected `int` >= 1 - at `$.page_size`"),
        ("PUT", "settings", {"colour": 1}, "Object contains unknown field `colour`"),
        ("PUT", "recordings", [{"path": "x"}], "path must begin with '/'"),
        ("POST", "expected", {}, "Object missing required field `target`"),
        ("GET", "expected", None, "takes ?target="),
    ],
)
def test_input_that_is_wrong_is_refused_with_the_problem(
    arm: Running, method: str, what: str, body: Any, problem: str
) -> None:
    got = call(arm, f"/_simulator/{what}", method, body)
    assert got.status == 400
    assert problem in got.json()["error"]["message"]


def test_the_client_raises_what_the_simulator_says(arm: Running) -> None:
    with pytest.raises(SandboxError, match="Invalid value 'nope'"):
        arm.control.faults([{"kind": "nope"}])


def test_the_client_says_that_nobody_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        control = SimulatorControl(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(SandboxError, match="did not answer"):
            control.stats()


def test_requests_are_counted_and_logged_without_the_token(arm: Running) -> None:
    target = vms(arm)
    arm.control.settings(log_requests=2)
    assert arm.control.stats()["first_request_s"] is None
    began_s = time.time()
    for _ in range(3):
        call(arm, target)
    call(arm, "/nothing")
    stats = arm.control.stats()
    assert stats["answers"] == 4
    assert began_s <= stats["first_request_s"] < stats["last_answer_s"] <= time.time()
    assert stats["by_status"] == {"200": 3, "400": 1}
    assert stats["by_kind"]["GET Microsoft.Compute/virtualMachines list"] == 3
    assert [row["target"] for row in stats["requests"]] == [target, "/nothing"]
    assert stats["requests"][0]["authorized"] is True
    assert TOKEN not in json.dumps(stats)


def test_reset_is_as_at_the_start(arm: Running) -> None:
    target = vms(arm)
    start = arm.control.settings()
    arm.control.settings(page_size=1, buckets=True, latency_ms=1, tokens=[])
    arm.control.faults([{"kind": "reset"}])
    arm.control.recordings([{"path": target.partition("?")[0], "body": "{}"}])
    arm.control.reset()
    assert arm.control.settings() == start
    assert len(call(arm, target).json()["value"]) == 30
    assert arm.control.stats()["answers"] == 1


def test_recorded_traffic_is_served_as_it_was(arm: Running) -> None:
    if not RECORDED.exists():
        pytest.skip(f"the recorded traffic is not at {RECORDED}")
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    arm.control.recordings(
        {
            "method": row["method"],
            "path": row["path"],
            "query": row["query"],
            "status": row["status"],
            "headers": row["headers"],
            "body": json.dumps(row["body"]) if row["body"] != "" else None,
        }
        for row in rows
    )
    for row in rows:
        target = f"{row['path']}?{row['query']}"
        got = call(arm, target, row["method"], {} if row["method"] == "POST" else None)
        assert got.status == row["status"], target
        assert (got.json() if got.body else "") == row["body"], target

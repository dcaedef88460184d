"""The faults that the ARM simulator gives when told to."""

from __future__ import annotations

import http.client
import json
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.integration.simulator_calls import WAIT_S, Running, arm, call, request, shared, vms
from tests.processes import until

__all__ = ["arm", "shared"]


def with_fault(arm: Running, kind: str, **more: Any) -> str:
    target = vms(arm)
    arm.control.faults([{"kind": kind, "prefix": target, "first": 1, **more}])
    return target


def test_a_status_is_answered_as_often_as_told(arm: Running) -> None:
    target = with_fault(arm, "status", status=503, code="ServerTimeout", first=2)
    assert [call(arm, target).status for _ in range(3)] == [503, 503, 200]
    assert arm.control.stats()["faults"] == {"status": 2}


def test_a_throttle_tells_its_wait_as_a_date(arm: Running) -> None:
    got = call(arm, with_fault(arm, "throttle", form="date", retry_after_s=30))
    told = parsedate_to_datetime(got.headers["Retry-After"]).timestamp()
    assert got.status == 429
    assert 20 < told - time.time() < 40


def test_the_connection_is_reset_before_the_answer(arm: Running) -> None:
    target = with_fault(arm, "reset")
    with pytest.raises(ConnectionResetError):
        call(arm, target)
    assert call(arm, target).status == 200


def test_the_connection_is_reset_in_the_body(arm: Running) -> None:
    target = with_fault(arm, "reset_mid_body", after_bytes=100)
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        call(arm, target)


def test_json_is_broken_with_a_length_that_fits(arm: Running) -> None:
    got = call(arm, with_fault(arm, "broken_json"))
    assert got.status == 200
    assert len(got.body) == int(got.headers["Content-Length"])
    with pytest.raises(json.JSONDecodeError):
        got.json()


def test_a_body_that_ends_too_soon(arm: Running) -> None:
    with pytest.raises(http.client.IncompleteRead):
        call(arm, with_fault(arm, "content_length", delta=10))


def test_a_body_that_runs_over_its_length(arm: Running) -> None:
    got = call(arm, with_fault(arm, "content_length", delta=-10))
    with pytest.raises(json.JSONDecodeError):
        got.json()


@pytest.mark.parametrize("after_bytes", [None, 50])
def test_a_stall_outlasts_a_clients_patience(arm: Running, after_bytes: int | None) -> None:
    target = with_fault(arm, "stall", stall_s=60, after_bytes=after_bytes)
    with pytest.raises(TimeoutError):
        call(arm, target, timeout_s=0.3)
    until(lambda: arm.control.stats()["under_way"] == 0)


def test_a_short_stall_ends_with_the_whole_answer(arm: Running) -> None:
    whole = call(arm, vms(arm)).body
    assert call(arm, with_fault(arm, "stall", stall_s=0.05, after_bytes=50)).body == whole


def test_a_huge_body_is_sent_without_being_held(arm: Running) -> None:
    size = 20_000_000
    got = call(arm, with_fault(arm, "huge_body", body_bytes=size))
    assert len(got.body) == size
    assert len(got.json()["value"]) == 1


def test_a_client_that_leaves_a_huge_body_ends_it(arm: Running) -> None:
    target = with_fault(arm, "huge_body", body_bytes=4 * 2**30)
    with socket.create_connection(("127.0.0.1", arm.port), WAIT_S) as raw:
        raw.sendall(request(arm, target))
        assert raw.recv(1000)
    until(lambda: arm.control.stats()["connections"] == 1)
    assert call(arm, target).status == 200


def test_a_next_link_to_another_origin(arm: Running) -> None:
    origin = "http://127.0.0.1.attacker.invalid:1"
    got = call(arm, with_fault(arm, "next_link", form="foreign", origin=origin))
    assert got.json()["nextLink"].startswith(f"{origin}/subscriptions/")


def test_a_redirect_to_another_origin(arm: Running) -> None:
    got = call(arm, with_fault(arm, "redirect", origin="https://elsewhere.invalid"))
    assert got.status == 302
    assert got.headers["Location"].startswith("https://elsewhere.invalid/subscriptions/")


def test_any_get_may_become_a_long_operation(arm: Running) -> None:
    target = vms(arm)
    whole = call(arm, target).json()
    arm.control.faults([{"kind": "operation", "prefix": target, "polls": 0, "result": "original"}])
    begun = call(arm, target)
    assert begun.status == 202
    state = call(arm, begun.headers["Azure-AsyncOperation"].removeprefix(arm.endpoint)).json()
    assert state["status"] == "Succeeded"
    assert call(arm, target).json() == whole


def test_latency_is_added(arm: Running) -> None:
    target = vms(arm)
    arm.control.settings(latency_ms=200)
    began_s = time.monotonic()
    assert call(arm, target).status == 200
    assert time.monotonic() - began_s >= 0.2

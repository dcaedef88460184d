"""Microsoft Graph, simulated on a listener of its own: who may ask it, and what control does."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from tests.integration.simulator_calls import (
    GRAPH_TOKEN,
    ROOT,
    TOKEN,
    WAIT_S,
    Got,
    Running,
    V,
    call,
    simulator,
)

USERS = "/v1.0/users"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with simulator(
        "--subscriptions", "1", "--token", TOKEN, "--graph-token", GRAPH_TOKEN
    ) as running:
        yield running


@pytest.fixture
def arm(running: Running) -> Running:
    running.control.reset()
    return running


def ask(arm: Running, target: str = USERS, token: str | None = GRAPH_TOKEN, **headers: str) -> Got:
    port = int(arm.graph.rpartition(":")[2])
    return call(arm._replace(port=port), target, token=token, **headers)


def test_every_collection_holds_what_the_simulator_says(arm: Running) -> None:
    for name, count in arm.control.catalogue()["directory"].items():
        expected = arm.control.expected(f"/v1.0/{name}")
        ids, target = [], f"/v1.0/{name}?$top=30"
        for _ in range(100):
            page = ask(arm, target).json()
            ids += [row["id"] for row in page["value"]]
            link = page.get("@odata.nextLink")
            if link is None:
                break
            assert link.startswith(f"{arm.graph}/v1.0/{name}?")
            target = link.removeprefix(arm.graph)
        assert ids == expected["ids"]
        assert len(ids) == expected["count"] == count
    assert arm.control.expected("/v1.0/users/nobody")["code"] == "Request_ResourceNotFound"


def test_headers_are_those_of_microsoft_graph(arm: Running) -> None:
    got = ask(arm, **{"client-request-id": "mine"})
    assert got.headers["OData-Version"] == "4.0"
    assert got.headers["client-request-id"] == "mine"
    assert len(got.headers["request-id"]) == 36
    assert "x-ms-request-id" not in got.headers
    assert parsedate_to_datetime(got.headers["Date"]).tzinfo is not None


@pytest.mark.parametrize("token", [None, TOKEN, "somebody's"])
def test_only_its_own_token_is_taken(arm: Running, token: str | None) -> None:
    got = ask(arm, token=token)
    assert (got.status, got.code()) == (401, "InvalidAuthenticationToken")
    assert got.headers["WWW-Authenticate"].startswith("Bearer ")
    assert got.json()["error"]["innerError"]["request-id"] == got.headers["request-id"]


def test_its_token_is_not_taken_by_arm(arm: Running) -> None:
    got = call(arm, f"/subscriptions?{V}", token=GRAPH_TOKEN)
    assert (got.status, got.code()) == (401, "InvalidAuthenticationTokenAudience")
    assert call(arm, f"/subscriptions?{V}").status == 200


def test_its_tokens_change_apart_from_arms(arm: Running) -> None:
    arm.control.settings(graph_tokens=["new"])
    assert [ask(arm, token=token).status for token in (GRAPH_TOKEN, "new")] == [401, 200]
    assert call(arm, f"/subscriptions?{V}").status == 200
    arm.control.settings(graph_tokens=None)
    assert [ask(arm, token=token).status for token in (TOKEN, "any")] == [401, 200]
    shown = arm.control.settings()
    assert (shown["token"], shown["graph_token"]) == (None, None)
    assert (shown["tokens"], shown["graph_tokens"]) == (1, None)


def test_faults_and_statistics_are_of_both_listeners(arm: Running) -> None:
    arm.control.settings(log_requests=5)
    arm.control.faults([{"kind": "throttle", "prefix": USERS, "retry_after_s": 7, "first": 1}])
    assert call(arm, f"/subscriptions?{V}").status == 200
    throttled = ask(arm)
    assert (throttled.status, throttled.code()) == (429, "TooManyRequests")
    assert throttled.headers["Retry-After"] == "7"
    assert throttled.json()["error"]["innerError"]["request-id"] == throttled.headers["request-id"]
    assert ask(arm).status == 200
    stats = SimulatorControl(arm.graph).stats()
    assert stats["by_status"] == {"200": 2, "429": 1}
    assert stats["by_kind"]["GET Microsoft Graph users list"] == 1
    assert stats["faults"] == {"throttle": 1}
    assert [row["target"] for row in stats["requests"]] == [f"/subscriptions?{V}", USERS, USERS]


def test_a_next_link_to_another_origin(arm: Running) -> None:
    arm.control.faults([{"kind": "next_link", "form": "foreign", "prefix": USERS}])
    page = ask(arm, f"{USERS}?$top=10").json()
    assert page["@odata.nextLink"].startswith("http://management.azure.com.attacker.invalid/")
    assert "nextLink" not in page


def test_a_long_operation_is_polled_where_it_began(arm: Running) -> None:
    arm.control.faults(
        [{"kind": "operation", "style": "location", "polls": 1, "prefix": USERS, "first": 1}]
    )
    begun = ask(arm)
    assert begun.status == 202
    assert begun.headers["Location"].startswith(f"{arm.graph}/")
    polls = [ask(arm, begun.headers["Location"].removeprefix(arm.graph)) for _ in range(2)]
    assert [poll.status for poll in polls] == [202, 200]
    assert len(polls[1].json()["value"]) == 100


def test_recorded_answers_are_served(arm: Running) -> None:
    body = '{"error":{"code":"Authorization_RequestDenied","message":"No."}}'
    arm.control.recordings([{"path": "/v1.0/groups", "status": 403, "body": body}])
    assert ask(arm, "/v1.0/groups").body == body.encode()


def test_bodies_are_compressed_for_who_takes_it(arm: Running) -> None:
    whole = ask(arm).body
    arm.control.settings(gzip=True)
    got = ask(arm, **{"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(got.body) == whole


def test_a_port_that_is_taken_is_said(arm: Running) -> None:
    port = arm.graph.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sandbox.arm", "--graph-port", port],
        capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "The Microsoft Graph simulator cannot listen on port" in done.stderr


def test_tokens_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_ARM_TOKEN", TOKEN)
    monkeypatch.setenv("SANDBOX_GRAPH_TOKEN", GRAPH_TOKEN)
    with simulator("--subscriptions", "1") as running:
        assert [ask(running, token=token).status for token in (TOKEN, GRAPH_TOKEN)] == [401, 200]

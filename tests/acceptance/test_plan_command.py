"""``plan``: a collection rehearsed by the real command, with no settings, and with an identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from tests.acceptance.command import CLOSED_PORT, Ended, command
from tests.acceptance.stores import request
from tests.standins.arm import Arm
from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Fault

pytest_plugins = ["tests.standins.plugin"]

READ = "aaaaaaaa-0000-4000-8000-000000000000"
BLIND = "bbbbbbbb-0000-4000-8000-000000000000"
HIDDEN = "cccccccc-0000-4000-8000-000000000000"
READER = [{"actions": ["*/read"], "notActions": [], "dataActions": []}]


def message(*subscriptions: str) -> dict[str, Any]:
    path = "/subscriptions/{}/providers/Microsoft.Compute/virtualMachines"
    return {"api_requests": [request(path.format(name)) for name in subscriptions]}


def lines(*messages: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, messages))


def plan(folder: Path, text: str, *options: str, settings: dict[str, str] | None = None) -> Ended:
    """The command with this on standard input, in a folder without ``.env``."""
    return command(["plan", "-", *options], settings or {}, stdin=text, cwd=folder)


# ── without any setting ──────────────────────────────────────────────────────────────────────────


def test_with_no_settings_at_all_it_tells_calls_and_time(tmp_path: Path) -> None:
    text = lines(*[message(*[READ] * 200)] * 5, message(HIDDEN))
    ended = plan(tmp_path, text)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("6 messages, 1,001 requests; none refused\n")
    assert f"{READ}  1,000  1,000        30 s\n" in ended.out
    assert f"Least time: 30 s, for 1,000 reads in subscription {READ}" in ended.out
    as_json = plan(tmp_path, text, "--json")
    assert (as_json.code, as_json.err) == (0, "")
    data = json.loads(as_json.out)
    assert (data["requests"], data["least_time_s"]) == (1_001, 30.0)
    assert [row["calls"] for row in data["by_subscription"]] == [1_000, 1]


def test_a_bad_message_is_told_beside_the_plan_of_the_good_ones(tmp_path: Path) -> None:
    bad = {"api_requests": [{**request("/subscriptions"), "method": "DELETE"}]}
    ended = plan(tmp_path, lines(message(READ), bad))
    assert (ended.code, ended.err) == (2, "")
    assert "1 message, 1 request; 1 refused" in ended.out
    assert "stdin:2: method not allowed: api_requests[0].method is 'DELETE'" in ended.out


def test_help_says_how_it_ends(tmp_path: Path) -> None:
    ended = command(["plan", "--help"], {}, cwd=tmp_path)
    assert ended.code == 0
    assert "Exit codes: 0 all fine" in ended.out


# ── --check-access ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def identity(application: dict[str, str], arm: Arm, trusted: Path) -> dict[str, str]:
    """An application that may read one subscription, does not in another, sees no third."""
    arm.permissions = {READ: READER, BLIND: []}
    return {
        **application,
        "AZURE_ARM_ENDPOINT": arm.url,
        "REQUESTS_CA_BUNDLE": str(trusted),
    }


def test_access_tells_what_is_granted_missing_and_not_seen(
    identity: dict[str, str], arm: Arm, entra: Entra, tmp_path: Path
) -> None:
    text = lines(message(READ, READ, READ), message(BLIND, BLIND), message(HIDDEN))
    ended = plan(tmp_path, text, "--check-access", "--json", settings=identity)
    assert (ended.code, ended.err) == (3, "")
    access = json.loads(ended.out)["access"]
    assert (access["fine"], access["problem"], access["not_asked"]) == (False, None, 0)
    granted, missing, hidden = access["subscriptions"]
    assert (granted["subscription_id"], granted["state"]) == (READ, "granted")
    assert (missing["subscription_id"], missing["state"]) == (BLIND, "missing")
    assert missing["missing"] == ["Microsoft.Compute/virtualMachines/read"]
    assert (hidden["subscription_id"], hidden["state"]) == (HIDDEN, "not seen")
    assert "404 SubscriptionNotFound" in hidden["detail"]
    # One call for each subscription and one token for all; nothing else was asked.
    assert arm.counts == {"permissions": 3}
    assert entra.counts["token"] == 1
    assert not [token for token in [entra.secret, *entra.issued] if token in ended.said]


def test_where_all_is_granted_it_ends_with_0(
    identity: dict[str, str], arm: Arm, tmp_path: Path
) -> None:
    ended = plan(tmp_path, lines(message(READ)), "--check-access", settings=identity)
    assert (ended.code, ended.err) == (0, "")
    assert "Access: all that is asked is granted in 1 of 1 subscription." in ended.out
    assert arm.counts["permissions"] == 1


def test_arm_that_refuses_is_a_finding_of_each_subscription(
    identity: dict[str, str], arm: Arm, tmp_path: Path
) -> None:
    refusals = {401: "InvalidAuthenticationToken", 403: "AuthorizationFailed", 429: "Throttled"}
    names = dict(zip(refusals, (READ, BLIND, HIDDEN), strict=True))
    for status, name in names.items():
        answer = Answer(status, {"error": {"code": refusals[status], "message": "no"}})
        arm.faults.append(Fault(answer, name))
    text = lines(message(*names.values()))
    ended = plan(tmp_path, text, "--check-access", settings=identity)
    assert (ended.code, ended.err) == (3, "")
    assert arm.counts["failed"] == 3
    rows = {line.split()[0]: line for line in ended.out.splitlines() if "answered" in line}
    for status, name in names.items():
        assert f"{status} {refusals[status]}" in rows[name]
    assert "not known" in rows[READ]
    assert "not seen" in rows[BLIND]
    assert "granted in 0 of 3 subscriptions" in ended.out


def test_a_redirect_takes_the_token_nowhere(
    identity: dict[str, str], arm: Arm, entra: Entra, tmp_path: Path
) -> None:
    with Arm(None, entra) as elsewhere:
        arm.faults.append(Fault(Answer(307, {}, {"Location": f"{elsewhere.url}/subscriptions"})))
        ended = plan(tmp_path, lines(message(READ)), "--check-access", settings=identity)
        assert "answered 307" in ended.out
        assert (ended.code, elsewhere.seen_tokens) == (3, [])


def test_without_token_or_arm_the_plan_is_told_and_it_ends_with_3(
    identity: dict[str, str], tmp_path: Path
) -> None:
    wrong = {"AZURE_CLIENT_SECRET": "wr0ng~secret"}
    closed = {"AZURE_ARM_ENDPOINT": f"https://127.0.0.1:{CLOSED_PORT}"}
    for change, said in [(wrong, "AADSTS7000215"), (closed, "refused the connection")]:
        settings = {**identity, **change}
        ended = plan(tmp_path, lines(message(READ, BLIND)), "--check-access", settings=settings)
        assert (ended.code, ended.err) == (3, "")
        assert "1 message, 2 requests; none refused" in ended.out
        assert "Access was not checked" in ended.out
        assert said in ended.out


def test_a_refused_message_outranks_a_missing_permission(
    identity: dict[str, str], tmp_path: Path
) -> None:
    text = lines(message(BLIND), {"api_requests": []})
    ended = plan(tmp_path, text, "--check-access", settings=identity)
    assert ended.code == 2
    assert "no requests" in ended.out
    assert f"{BLIND}  missing  Microsoft.Compute/virtualMachines/read" in ended.out


def test_in_the_sandbox_the_identity_may_read(settings: dict[str, str], tmp_path: Path) -> None:
    subscription = SimulatorControl(settings["AZURE_ARM_ENDPOINT"]).catalogue()["subscriptions"][0]
    file = tmp_path / "messages.json"
    file.write_text(lines(message(subscription)))
    ended = command(["plan", "--check-access", str(file)], settings)
    assert ended.code == 0, ended.said
    assert "granted" in ended.out

"""Microsoft Graph beside Azure Resource Manager: two audiences and tokens, and neither goes astray.

Entra ID, ARM and Graph are stand-ins over TLS; queue, tables and the collector are real.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox, create_queues
from tests.acceptance.command import collect
from tests.acceptance.stores import queue, request, tables
from tests.standins.arm import Arm
from tests.standins.entra import Entra
from tests.standins.msgraph import MicrosoftGraph

pytest_plugins = ["tests.standins.plugin"]


def graph(path: str, **fields: object) -> dict[str, object]:
    return request(path, service="graph", api_version="v1.0", **fields)


SUBSCRIPTIONS = request("/subscriptions", service="subscriptions", api_version="2022-12-01")


@pytest.fixture
def settings(
    shared_sandbox: Sandbox, application: dict[str, str], trusted: Path, tmp_path: Path
) -> dict[str, str]:
    name = f"q-{secrets.token_hex(4)}"
    create_queues(shared_sandbox.settings["AZURE_QUEUE_CONNECTION_STRING"], name)
    kept = {
        name: value
        for name, value in shared_sandbox.settings.items()
        if name.startswith(("AZURE_QUEUE", "SNOWFLAKE"))
    }
    return {
        **kept,
        **application,
        "AZURE_QUEUE_NAME": name,
        "REQUESTS_CA_BUNDLE": str(trusted),
        "SPOOL_DIR": str(tmp_path / "spool"),
        "BATCH_TIMEOUT": "0.3",
        "MAX_RETRIES": "1",
    }


def collected(settings: dict[str, str], *requests: object) -> tuple[list[tuple[object, ...]], ...]:
    """Send one message, collect, and read its requests and its rows."""
    message_id = f"graph-{secrets.token_hex(4)}"
    with queue(settings) as client:
        client.send_message(json.dumps({"message_id": message_id, "api_requests": requests}))
    collect(settings)
    stored = {name: value for name, value in settings.items() if name.startswith("SNOWFLAKE")}
    with tables(stored) as session:
        ledger = session.run(
            "SELECT OUTCOME, ROWS, PAGES, SOURCE, ERROR_CODE, ERROR_MESSAGE, AZURE_REQUEST_ID"
            f" FROM REQUESTS WHERE MESSAGE_ID = '{message_id}' ORDER BY REQUEST_INDEX"
        )
        rows = session.run(
            "SELECT REQUEST_INDEX, RESOURCE_TYPE, NAME, RESOURCE_ID, SOURCE, SUBSCRIPTION_ID"
            f" FROM RESOURCES WHERE MESSAGE_ID = '{message_id}' ORDER BY REQUEST_INDEX, NAME"
        )
    return [tuple(row) for row in ledger], [tuple(row) for row in rows]


def test_both_are_asked_each_with_a_token_of_its_own(
    settings: dict[str, str], entra: Entra, arm: Arm, msgraph: MicrosoftGraph
) -> None:
    settings |= {"AZURE_ARM_ENDPOINT": arm.url, "AZURE_GRAPH_ENDPOINT": msgraph.url}
    user = msgraph.collections["users"][1]
    ledger, rows = collected(
        settings,
        SUBSCRIPTIONS,
        graph("/users", query_params={"$select": "id,displayName"}),
        graph("/users/{id}", parameters={"id": user["id"]}),
        graph("/groups"),
        graph("/users/nobody"),
    )
    assert [row[:4] for row in ledger] == [
        ("complete", 2, 1, "provider"),
        ("complete", 3, 2, "microsoft-graph"),
        ("complete", 1, 1, "microsoft-graph"),
        ("complete", 2, 1, "microsoft-graph"),
        ("not_found", 0, 0, "microsoft-graph"),
    ]
    assert ledger[4][4] == "Request_ResourceNotFound"
    assert all(row[6] for row in ledger[1:])
    users = [row for row in rows if row[0] == 1]
    assert [(kind, name, found_id) for _, kind, name, found_id, _, _ in users] == [
        ("microsoft.graph/users", one["displayName"], one["id"])
        for one in msgraph.collections["users"]
    ]
    assert {row[5] for row in users} == {None}
    # Two tokens were asked for, and each came to one place only.
    assert {entra.issued[token].audience for token in arm.seen_tokens} == {
        "https://management.azure.com"
    }
    assert {entra.issued[token].audience for token in msgraph.seen_tokens} == {
        "https://graph.microsoft.com"
    }
    assert entra.counts["token"] == 2


def test_a_collection_without_microsoft_graph_asks_for_no_token_for_it(
    settings: dict[str, str], entra: Entra, arm: Arm
) -> None:
    settings |= {"AZURE_ARM_ENDPOINT": arm.url}
    ledger, _ = collected(settings, SUBSCRIPTIONS)
    assert ledger[0][0] == "complete"
    assert entra.counts["token"] == 1


def test_what_the_application_may_not_read_is_forbidden_and_says_why(
    settings: dict[str, str], arm: Arm, msgraph: MicrosoftGraph
) -> None:
    settings |= {"AZURE_ARM_ENDPOINT": arm.url, "AZURE_GRAPH_ENDPOINT": msgraph.url}
    msgraph.denied.add("groups")
    ledger, _ = collected(settings, graph("/groups"), graph("/users"))
    assert ledger[0][0] == "forbidden"
    assert ledger[0][4] == "Authorization_RequestDenied"
    assert ledger[1][0] == "complete"


def test_a_link_to_another_origin_is_not_followed(
    settings: dict[str, str], arm: Arm, msgraph: MicrosoftGraph
) -> None:
    settings |= {"AZURE_ARM_ENDPOINT": arm.url, "AZURE_GRAPH_ENDPOINT": msgraph.url}
    msgraph.link_origin = arm.url
    ledger, rows = collected(settings, graph("/users"))
    assert (ledger[0][0], ledger[0][4], rows) == ("failed", "ForeignLink", [])
    assert arm.seen_tokens == []


@pytest.mark.soak
def test_a_token_for_arm_is_never_one_for_microsoft_graph(
    settings: dict[str, str], entra: Entra, arm: Arm, msgraph: MicrosoftGraph
) -> None:
    """With a token of one's own there is one for each, and without the second no request to it."""
    for name in [name for name in settings if name.startswith("AZURE_") and "QUEUE" not in name]:
        del settings[name]
    settings |= {
        "AZURE_ARM_ENDPOINT": arm.url,
        "AZURE_GRAPH_ENDPOINT": msgraph.url,
        "AZURE_CREDENTIAL": "token",
        "AZURE_ACCESS_TOKEN": entra.issue("https://management.azure.com"),
    }
    ledger, _ = collected(settings, SUBSCRIPTIONS, graph("/users"))
    assert [row[0] for row in ledger] == ["complete", "forbidden"]
    assert "AZURE_GRAPH_ACCESS_TOKEN" in str(ledger[1][5])
    assert msgraph.seen_tokens == []
    settings["AZURE_GRAPH_ACCESS_TOKEN"] = entra.issue("https://graph.microsoft.com")
    ledger, _ = collected(settings, graph("/users"))
    assert ledger[0][0] == "complete"

"""One trace a message, from fetch to commit, as a receiver of OTLP gets it."""

from __future__ import annotations

import json
import secrets
from typing import Any

from tests.acceptance.command import CLOSED_PORT, command, secrets_in
from tests.acceptance.stores import queue, request, tables
from tests.standins.otlp import Otlp, ReceivedSpan

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PRODUCERS_SPAN = "00f067aa0ba902b7"
SUBSCRIPTIONS = request("/subscriptions", query_params={"$asked-for": "in-no-span"})
REFUSED = request("/subscriptions/none-of-that-name/resourceGroups")
# A collector that costs little.
SMALL = {"NUM_PROCESSES": "1", "LOAD_STANDBY": "false"}


def send(settings: dict[str, str], *requests: Any, **fields: Any) -> str:
    message_id = f"traced-{secrets.token_hex(4)}"
    with queue(settings) as client:
        message = {"message_id": message_id, "api_requests": requests, **fields}
        client.send_message(json.dumps(message))
    return message_id


def request_ids(settings: dict[str, str], *message_ids: str) -> dict[tuple[str, int], str]:
    """ARM's id of each request, out of the table."""
    listed = ", ".join(f"'{message_id}'" for message_id in message_ids)
    with tables(settings) as session:
        rows = session.run(
            "SELECT MESSAGE_ID, REQUEST_INDEX, AZURE_REQUEST_ID FROM REQUESTS"
            f" WHERE MESSAGE_ID IN ({listed})"
        )
    return {(message_id, index): azure_id for message_id, index, azure_id in rows}


def test_a_message_is_one_trace_and_its_producers_if_it_names_one(
    settings: dict[str, str],
) -> None:
    key = secrets.token_hex(16)
    given = send(
        settings,
        SUBSCRIPTIONS,
        REFUSED,
        traceparent=f"00-{TRACE}-{PRODUCERS_SPAN}-01",
        correlation_id="nightly",
    )
    without = send(settings, SUBSCRIPTIONS)
    unsampled = send(settings, SUBSCRIPTIONS, traceparent=f"00-{'1' * 32}-{'2' * 16}-00")
    odd = send(settings, SUBSCRIPTIONS, traceparent={"no": "text"})
    with queue(settings) as client:
        client.send_message("{}")
    with Otlp() as receiver:
        traced = {
            **settings,
            **SMALL,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={key}",
        }
        ended = command(["--until-empty"], traced, secrets=[key])
    assert ended.code == 0, ended.said
    assert {headers["x-api-key"] for headers in receiver.headers} == {key}

    messages = {span.attributes["messaging.message.id"]: span for span in receiver.named("message")}
    poison = {id_: span for id_, span in messages.items() if "traced" not in id_}
    assert sorted(messages.keys() - poison.keys()) == sorted([given, without, odd])
    assert len(receiver.named("message")) == 4
    (refused,) = poison.values()
    assert refused.failed
    assert refused.attributes["azure_collector.result"] == "poisoned"
    assert refused.attributes["error.type"] == "missing field"

    def requests_of(message_id: str) -> list[ReceivedSpan]:
        """Spans of the requests, which are all that a message's trace has below its own."""
        message = messages[message_id]
        found = [span for span in receiver.spans if span.trace == message.trace and span != message]
        assert {(span.name, span.parent) for span in found} == {("request", message.span)}
        return sorted(found, key=lambda span: span.attributes["azure_collector.request_index"])

    span = messages[given]
    assert (span.trace, span.parent) == (TRACE, PRODUCERS_SPAN)
    assert (span.process, span.service) == ("fetch", "azure-collector")
    assert span.events == ["committed"]
    assert span.attributes == {
        "messaging.destination.name": settings["AZURE_QUEUE_NAME"],
        "messaging.message.id": given,
        "messaging.message.conversation_id": "nightly",
        "azure_collector.dequeue_count": 1,
        "azure_collector.requests": 2,
        "azure_collector.result": "deleted",
    }
    assert messages[without].parent == messages[odd].parent == ""
    assert len({TRACE, messages[without].trace, messages[odd].trace}) == 3

    ids = request_ids(settings, given, without, odd)
    for message_id in (given, without, odd):
        told = {
            (message_id, each.attributes["azure_collector.request_index"]): each.attributes[
                "azure.request_id"
            ]
            for each in requests_of(message_id)
        }
        assert told == {place: id_ for place, id_ in ids.items() if place[0] == message_id}
    good, bad = requests_of(given)
    assert good.process.startswith("execute-")
    assert 0 <= good.seconds <= span.seconds
    assert good.attributes["url.path"] == "/subscriptions"
    assert good.attributes["http.response.status_code"] == 200
    assert (good.failed, bad.failed) == (False, True)
    assert bad.attributes["azure_collector.outcome"] == "rejected"

    loads = receiver.named("load")
    assert {load.process for load in loads} == {"load"}
    linked = [link for load in loads for link in load.links]
    # The one that its producer does not sample has no span to link to.
    assert {(messages[i].trace, messages[i].span) for i in (given, without, odd)} == {*linked}
    assert len(request_ids(settings, unsampled)) == 1

    everything = b"".join(receiver.bodies).decode(errors="replace")
    told_secrets = [secret for secret in [*secrets_in(settings), key] if secret in everything]
    assert not told_secrets
    assert "asked-for" not in everything
    assert "in-no-span" not in everything


def test_an_endpoint_that_is_away_costs_its_spans_and_nothing_else(
    settings: dict[str, str],
) -> None:
    message_id = send(settings, SUBSCRIPTIONS)
    away = {
        **settings,
        **SMALL,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{CLOSED_PORT}",
    }
    ended = command(["--until-empty"], away)
    assert ended.code == 0, ended.said
    assert len(request_ids(settings, message_id)) == 1
    lines = [json.loads(line) for line in ended.out.splitlines()]
    told = [(line["stage"], line["level"]) for line in lines if line["action"] == "traces_dropped"]
    assert sorted(told) == [(name, "WARNING") for name in ("execute-0", "fetch", "load")]

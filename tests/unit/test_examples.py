"""The example messages: each is one the collector takes."""

from __future__ import annotations

import json

import pytest

from pipeline.message_format.examples import (
    PLACEHOLDER_SUBSCRIPTION,
    all_examples,
    as_text,
    example_message,
)
from pipeline.message_format.rules import parse_message
from pipeline.message_format.services import SERVICES, Service

SUBSCRIPTION = "6f0e8f4e-0f5e-4a5e-9e57-3d4b7f8b9c01"


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_each_example_passes_every_rule(service: Service) -> None:
    text = as_text(example_message(service, SUBSCRIPTION))
    message = parse_message(text, allow_writes=False)
    assert message.unknown_fields == []
    (request,) = message.requests
    assert request.service == service.name
    assert request.api_version == service.versions[0]
    assert "{" not in request.target
    if "{subscriptionId}" in service.example_path:
        assert request.subscription_id == SUBSCRIPTION


def test_there_is_one_for_each_service() -> None:
    assert len(all_examples(SUBSCRIPTION)) == len(SERVICES)


def test_without_a_subscription_a_placeholder_stands_in() -> None:
    assert PLACEHOLDER_SUBSCRIPTION in as_text(example_message(SERVICES["compute"]))


def test_the_resource_graph_query_asks_for_the_given_subscription() -> None:
    (request,) = example_message(SERVICES["resourcegraph"], SUBSCRIPTION)["api_requests"]
    assert request["method"] == "POST"
    assert request["body"]["subscriptions"] == [SUBSCRIPTION]
    # The table itself stays as it is.
    assert SERVICES["resourcegraph"].body != request["body"]


def test_text_is_json_for_people_or_on_one_line() -> None:
    message = example_message(SERVICES["compute"], SUBSCRIPTION)
    assert json.loads(as_text(message)) == json.loads(as_text(message, indent=0)) == message
    assert "\n" in as_text(message)
    assert "\n" not in as_text(message, indent=0)

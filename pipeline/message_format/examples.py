"""An example message for each service of the table, ready to be sent."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.message_format.services import SERVICES, Service

# Stands for one's own subscription where none was given.
PLACEHOLDER_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def example_message(service: Service, subscription_id: str | None = None) -> dict[str, Any]:
    """A message that reads what the service's row gives as its example.

    It has no ``message_id``, so that each time it is sent it is a new collection.

    Args:
        service: row of the table.
        subscription_id: whose resources to read; a placeholder if None.
    """
    subscription_id = subscription_id or PLACEHOLDER_SUBSCRIPTION
    request: dict[str, Any] = {
        "service": service.name,
        "api_version": service.versions[0],
        "method": service.method,
        "resource_path": service.example_path,
    }
    if "{subscriptionId}" in service.example_path:
        request["parameters"] = {"subscriptionId": subscription_id}
    if service.query_params:
        request["query_params"] = service.query_params
    if service.body:
        request["body"] = _filled(service.body, subscription_id)
    return {"correlation_id": f"example-{service.name}", "api_requests": [request]}


def all_examples(subscription_id: str | None = None) -> list[dict[str, Any]]:
    """One message for each service of the table, by name."""
    return [example_message(service, subscription_id) for service in SERVICES.values()]


def as_text(message: dict[str, Any], indent: int = 2) -> str:
    """A message as JSON text.

    Args:
        indent: spaces a level; 0 for one line.
    """
    text = msgspec.json.encode(message)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()


def _filled(value: Any, subscription_id: str) -> Any:
    """A body with the subscription in the places that say ``{subscriptionId}``."""
    if isinstance(value, dict):
        return {key: _filled(item, subscription_id) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, subscription_id) for item in value]
    return subscription_id if value == "{subscriptionId}" else value

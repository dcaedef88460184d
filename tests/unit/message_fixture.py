"""Messages for tests: good ones, with what a test changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import BadMessage
from pipeline.message_format.rules import ParsedMessage, parse_message

SUBSCRIPTION = "6F0E8F4E-0f5e-4a5e-9e57-3d4b7f8b9c01"
NOT_GIVEN: Any = object()


def a_request(**fields: Any) -> dict[str, Any]:
    """A good request with some fields replaced, or left out where they are NOT_GIVEN."""
    request: dict[str, Any] = {
        "service": "compute",
        "api_version": "2024-07-01",
        "method": "GET",
        "resource_path": "/subscriptions",
        **fields,
    }
    return {name: value for name, value in request.items() if value is not NOT_GIVEN}


def a_message(*requests: Any, **fields: Any) -> str:
    return json.dumps({"api_requests": list(requests) or [a_request()], **fields})


def parse(raw: bytes | str, *, allow_writes: bool = False) -> ParsedMessage:
    return parse_message(raw, allow_writes=allow_writes)


def refusal(raw: bytes | str, *, allow_writes: bool = False) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        parse_message(raw, allow_writes=allow_writes)
    return caught.value

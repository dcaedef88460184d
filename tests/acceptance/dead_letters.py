"""Poison messages for tests: put there, looked at, taken out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stages.fetch.poison import envelope
from tests.acceptance.command import Ended, command
from tests.acceptance.stores import all_messages, queue

NOBODY = "00000000-0000-0000-0000-000000000000"
POISON = "-poison"
ORIGINAL = ' {"message_id": "m", "api_requests": "none <&> é\\u0000" }\n'


def dead_letter(settings: Mapping[str, str], *arguments: str) -> Ended:
    return command(["dead-letter", *arguments], settings)


def sealed(settings: Mapping[str, str], text: str = ORIGINAL, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "reason": "not JSON",
        "detail": "got text",
        "queue": settings["AZURE_QUEUE_NAME"],
        "queue_message_id": "1",
        "message_id": None,
        "dequeue_count": 1,
        "inserted_at": datetime.now(UTC),
        "text": text,
    }
    return envelope(**{**fields, **changes})


def put(settings: Mapping[str, str], *stored: str) -> list[str]:
    """Into the poison queue; the ids there."""
    with queue(settings, POISON) as client:
        return [str(client.send_message(text, time_to_live=-1).id) for text in stored]


def visible(settings: Mapping[str, str], suffix: str = "") -> list[str]:
    """Texts at the head of a queue, left where they are."""
    with queue(settings, suffix) as client:
        return [str(message.content) for message in client.peek_messages(32)]


def taken(settings: Mapping[str, str], suffix: str = "") -> list[str]:
    with queue(settings, suffix) as client:
        return all_messages(client)


def held(settings: Mapping[str, str], suffix: str = "") -> int:
    """How many messages a queue holds, hidden ones included."""
    with queue(settings, suffix) as client:
        return int(client.get_queue_properties().approximate_message_count or 0)


def audit(ended: Ended, action: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("action") == action]
    return dict(line)

"""What analysts look at first."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from stages.load.loader import Loader
from stages.load.session import Session
from tests.integration.snowflake_fixture import (
    NOW,
    batch,
    loader,
    request,
    resource,
    server,
    session,
)

__all__ = ["loader", "server", "session"]

ID = "/subscriptions/1/resourceGroups/RG/providers/x/vm"


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def seen(key: str, hours: float, state: str, **changes: Any) -> dict[str, Any]:
    """A row of the one resource, as it was so many hours from now."""
    named = {"RESOURCE_ID": ID, "COLLECTED_AT": at(hours), "BODY_HASH": state, "SOURCE": "provider"}
    return resource(key, **(named | changes))


def history(session: Session) -> list[tuple[Any, ...]]:
    return session.run(
        'SELECT "CHANGE", "SEEN_FROM", "SEEN_UNTIL", "PREVIOUS_HASH", "BODY_HASH"'
        ' FROM "RESOURCES_HISTORY" ORDER BY "SEEN_FROM"'
    )


def test_a_resource_has_one_newest_row_however_its_id_is_written(
    loader: Loader, session: Session
) -> None:
    rows = [seen("a", 0, "1"), seen("b", 1, "2", RESOURCE_ID=ID.lower()), seen("c", 0.5, "3")]
    loader.load([batch(rows)])
    assert session.run('SELECT "ROW_KEY" FROM "RESOURCES_LATEST"') == [("b",)]


def test_the_history_has_a_row_for_each_change_and_none_for_what_stayed(
    loader: Loader, session: Session
) -> None:
    rows = [
        seen("a", 0, "1"),
        seen("b", 1, "1", RESOURCE_ID=ID.upper()),
        seen("c", 2, "2", RESOURCE_ID=ID.lower()),
        seen("d", 3, "2"),
        seen("e", 4, "1"),
        seen("other", 2, "9", RESOURCE_ID=None),
    ]
    loader.load([batch(rows)])
    assert history(session) == [
        ("appeared", at(0), at(2), None, "1"),
        ("changed", at(2), at(4), "1", "2"),
        ("changed", at(4), None, "2", "1"),
    ]


def test_what_was_asked_otherwise_is_no_change_of_the_resource(
    loader: Loader, session: Session
) -> None:
    """Another API version writes the same resource differently, and so does Resource Graph."""
    rows = [
        seen("a", 0, "1", SOURCE=None),  # from before rows said who answered
        seen("b", 1, "1"),
        seen("c", 2, "new", API_VERSION="2025-04-01"),
        seen("d", 3, "graph", SOURCE="resource-graph"),
        seen("e", 4, "1"),
        seen("f", 5, "newer", API_VERSION="2025-04-01"),
    ]
    loader.load([batch(rows)])
    assert history(session) == [
        ("appeared", at(0), None, None, "1"),
        ("asked otherwise", at(2), at(5), None, "new"),
        ("asked otherwise", at(3), None, None, "graph"),
        ("changed", at(5), None, "new", "newer"),
    ]


def test_an_answer_without_a_body_is_a_state_too(loader: Loader, session: Session) -> None:
    rows = [
        seen("a", 0, "", BODY=None, BODY_HASH=None),
        seen("b", 1, "", BODY=None, BODY_HASH=None),
        seen("c", 2, "1"),
    ]
    loader.load([batch(rows)])
    assert history(session) == [
        ("appeared", at(0), at(2), None, None),
        ("changed", at(2), None, None, "1"),
    ]


def test_requests_that_are_not_complete_are_listed_with_what_to_do(
    loader: Loader, session: Session
) -> None:
    outcomes = ["complete", "not_found", "forbidden", "rejected", "throttled", "failed"]
    ledger = [request(f"m-{name}", OUTCOME=name) for name in outcomes]
    rows = [resource(key, MESSAGE_ID="m-rows", BODY="{") for key in ("x", "y")]
    loader.load([batch(rows, [*ledger, request("m-rows")])])
    found = session.run(
        'SELECT "OUTCOME", "ROWS_REJECTED", "WHAT_TO_DO" FROM "REQUESTS_INCOMPLETE"'
        ' ORDER BY "MESSAGE_ID"'
    )
    assert [row[:2] for row in found] == [
        ("failed", 0),
        ("forbidden", 0),
        ("not_found", 0),
        ("rejected", 0),
        ("failed", 2),
        ("throttled", 0),
    ]
    assert len({row[2] for row in found}) == 6
    assert "REJECTED_ROWS" in found[4][2]


def test_health_is_told_by_hour_service_and_outcome(loader: Loader, session: Session) -> None:
    def entry(message: str, hours: float, latency_ms: int, **changes: Any) -> dict[str, Any]:
        named: dict[str, Any] = {
            "COMPLETED_AT": at(hours),
            "LATENCY_MS": latency_ms,
            "ROWS": 10,
            "ATTEMPTS": 2,
        }
        return request(message, **(named | changes))

    ledger = [
        entry("m-1", 0, 100),
        entry("m-2", 0.25, 300),
        entry("m-3", 0.25, 900, OUTCOME="failed", ROWS=0),
        entry("m-4", 0.25, 50, SERVICE="network"),
        entry("m-5", 1, 70),
    ]
    loader.load([batch([], ledger)])
    hour = NOW.replace(minute=0, second=0, microsecond=0)
    found = session.run('SELECT * FROM "COLLECTION_HEALTH" ORDER BY 1, 2, 3')
    assert [tuple(row[:3]) + tuple(int(value) for value in row[3:]) for row in found] == [
        (hour, "compute", "complete", 2, 20, 4, 200, 300),
        (hour, "compute", "failed", 1, 0, 2, 900, 900),
        (hour, "network", "complete", 1, 10, 2, 50, 50),
        (hour + timedelta(hours=1), "compute", "complete", 1, 10, 2, 70, 70),
    ]

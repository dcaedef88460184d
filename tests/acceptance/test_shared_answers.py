"""One answer for all that ask the same, and Resource Graph's in a provider's place."""

from __future__ import annotations

import json
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.sandbox.arm.control import SimulatorControl
from tests.acceptance.command import Running, collect, collector
from tests.acceptance.stores import queue, request, tables
from tests.processes import until

FLAGGED = "useResourceGraph=true"


@pytest.fixture
def arm(settings: dict[str, str]) -> Iterator[SimulatorControl]:
    arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
    arm.reset()
    yield arm
    arm.reset()


def send(settings: dict[str, str], *requests: Any) -> str:
    """Send one message of these requests; its id."""
    message_id = f"shared-{secrets.token_hex(4)}"
    with queue(settings) as client:
        client.send_message(json.dumps({"message_id": message_id, "api_requests": requests}))
    return message_id


def ledger(settings: dict[str, str], message_id: str) -> list[dict[str, Any]]:
    """The requests of a message, in its order."""
    names = ("OUTCOME", "ROWS", "SOURCE", "CACHED", "ATTEMPTS", "STATUS_CODE", "PAGES")
    with tables(settings) as session:
        found = session.run(
            f"SELECT {', '.join(names)} FROM REQUESTS WHERE MESSAGE_ID = '{message_id}'"
            " ORDER BY REQUEST_INDEX"
        )
    return [dict(zip(names, row, strict=True)) for row in found]


def ids(settings: dict[str, str], message_id: str, index: int) -> list[tuple[str, str, bool]]:
    """Resource id, source and whether it was shared, of each row of a request."""
    with tables(settings) as session:
        found = session.run(
            f"SELECT RESOURCE_ID, SOURCE, CACHED FROM RESOURCES WHERE MESSAGE_ID = '{message_id}'"
            f" AND REQUEST_INDEX = {index} ORDER BY RESOURCE_ID"
        )
    return [tuple(row) for row in found]  # type: ignore[misc]


def expected(arm: SimulatorControl, path: str, version: str = "2024-07-01") -> list[str]:
    return sorted(arm.expected(f"{path}?api-version={version}")["ids"])


def calls(arm: SimulatorControl) -> int:
    return sum(arm.stats()["by_status"].values())


def vms(subscription: str) -> str:
    return f"/subscriptions/{subscription}/providers/Microsoft.Compute/virtualMachines"


# ── Resource Graph first ─────────────────────────────────────────────────────────────────────────


def test_resource_graph_answers_what_it_has_and_the_provider_the_rest(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    one, two, *_ = arm.catalogue()["subscriptions"]
    usages = f"/subscriptions/{one}/providers/Microsoft.Compute/locations/westeurope/usages"
    arm.settings(page_size=2)
    not_indexed, new = expected(arm, vms(two))[:2]
    arm.faults(
        [
            {"kind": "status", "status": 422, "regex": f"{not_indexed}[?].*{FLAGGED}"},
            {"kind": "status", "status": 404, "regex": f"{new}[?].*{FLAGGED}"},
        ]
    )
    prefer = {"prefer": "resource-graph"}
    message_id = send(
        settings,
        request(vms(one), **prefer),
        request(vms(one)),
        request(usages, **prefer),
        request(not_indexed, **prefer),
        request(new, **prefer),
        request(f"{new}-gone", **prefer),
    )
    collect(settings)
    found = ledger(settings, message_id)
    listed = expected(arm, vms(one))
    assert [(row["OUTCOME"], row["SOURCE"], row["ATTEMPTS"]) for row in found] == [
        ("complete", "resource-graph", 3),
        ("complete", "provider", 3),
        ("complete", "provider", 2),
        ("complete", "provider", 2),
        ("complete", "provider", 2),
        ("not_found", "provider", 2),
    ]
    assert sum(arm.stats()["faults"].values()) == 2
    assert ids(settings, message_id, 0) == [(one, "resource-graph", False) for one in listed]
    assert ids(settings, message_id, 1) == [(one, "provider", False) for one in listed]
    assert ids(settings, message_id, 4) == [(new, "provider", False)]


# ── single flight, CACHE_TTL, ETags ──────────────────────────────────────────────────────────────


def test_the_same_question_of_many_is_asked_once(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    one, *_ = arm.catalogue()["subscriptions"]
    arm.settings(latency_ms=300, page_size=2)
    same, other = request(vms(one)), request(vms(one), query_params={"$expand": "instanceView"})
    messages = [send(settings, *[same] * 10, other) for _ in range(3)]
    collect(settings)
    listed = expected(arm, vms(one))
    pages = len(listed) // 2
    assert calls(arm) == 2 * pages, "each question once, over all of its pages"
    shared = Counter()
    for message_id in messages:
        found = ledger(settings, message_id)
        assert {(row["OUTCOME"], row["ROWS"], row["PAGES"]) for row in found} == {
            ("complete", len(listed), pages)
        }
        for index, row in enumerate(found):
            rows = ids(settings, message_id, index)
            assert rows == [(found_id, "provider", row["CACHED"]) for found_id in listed]
            assert row["ATTEMPTS"] == (0 if row["CACHED"] else pages)
            shared[row["CACHED"]] += 1
    assert shared == {False: 2, True: 31}


def loaded(settings: dict[str, str], running: Running, message_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = until(
        lambda: ledger(settings, message_id), 30.0, what=running.output
    )
    return found


@pytest.mark.soak
def test_within_the_ttl_nothing_is_asked_and_after_it_what_has_an_etag_if_it_changed(
    arm: SimulatorControl, settings: dict[str, str], tmp_path: Path
) -> None:
    one, *_ = arm.catalogue()["subscriptions"]
    networks = f"/subscriptions/{one}/providers/Microsoft.Network/virtualNetworks"
    version = {"service": "network", "api_version": "2024-05-01"}
    network = expected(arm, networks, "2024-05-01")[0]
    requests = [request(vms(one)), request(network, **version)]
    settings["CACHE_TTL"] = "6"
    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        first = loaded(settings, running, send(settings, *requests))
        asked = calls(arm)
        again = send(settings, *requests)
        second = loaded(settings, running, again)
        assert calls(arm) == asked
        assert [row["CACHED"] for row in first] == [False, False]
        assert [(row["CACHED"], row["ATTEMPTS"]) for row in second] == [(True, 0), (True, 0)]
        assert ids(settings, again, 1) == [(network, "provider", True)]

        def confirmed() -> bool:
            found = loaded(settings, running, send(settings, *requests))
            if found[1]["CACHED"] and found[1]["ATTEMPTS"] == 0:
                return False  # still within the time
            assert (found[1]["STATUS_CODE"], found[1]["CACHED"]) == (304, True)
            assert (found[1]["OUTCOME"], found[1]["ROWS"]) == ("complete", 1)
            assert found[0]["CACHED"] is False  # a list has no ETag
            return True

        until(confirmed, 30.0, what=running.output)
        running.send(signal.SIGTERM)
        assert running.ended() == 0
    assert arm.stats()["by_status"]["304"] == 1


# ── what each keeps ──────────────────────────────────────────────────────────────────────────────


def bodies(settings: dict[str, str], message_id: str, index: int) -> list[tuple[str, Any]]:
    """Resource id and body of each row of a request, as Snowflake has them."""
    with tables(settings) as session:
        found = session.run(
            f"SELECT RESOURCE_ID, TO_JSON(BODY) FROM RESOURCES WHERE MESSAGE_ID = '{message_id}'"
            f" AND REQUEST_INDEX = {index} ORDER BY RESOURCE_ID"
        )
    return [(resource_id, json.loads(body)) for resource_id, body in found]


def body_hashes(settings: dict[str, str], message_id: str) -> list[str | None]:
    """The digest of all that came, of each request of a message."""
    with tables(settings) as session:
        found = session.run(
            f"SELECT BODY_HASH FROM REQUESTS WHERE MESSAGE_ID = '{message_id}'"
            " ORDER BY REQUEST_INDEX"
        )
    return [digest for (digest,) in found]


def test_of_one_answer_each_request_keeps_what_it_selects(
    arm: SimulatorControl, settings: dict[str, str]
) -> None:
    one, *_ = arm.catalogue()["subscriptions"]
    listed = expected(arm, vms(one))
    arm.settings(latency_ms=300)
    some = "{size: properties.hardwareProfile.vmSize, zones: zones, none: properties.none}"
    message_id = send(
        settings,
        request(vms(one)),
        request(vms(one), select=some),
        request(vms(one), select="properties.none"),
        request(vms(one), select="sum(id)"),
    )
    collect(settings)
    whole, kept, nothing, failed = (bodies(settings, message_id, index) for index in range(4))
    assert [row["OUTCOME"] for row in ledger(settings, message_id)] == [*["complete"] * 3, "failed"]
    assert [found_id for found_id, _ in whole] == listed
    assert kept == [
        (
            found_id,
            {
                "size": body["properties"]["hardwareProfile"]["vmSize"],
                "zones": body.get("zones"),
                "none": None,
            },
        )
        for found_id, body in whole
    ]
    assert nothing == [(found_id, None) for found_id in listed]
    assert failed == []
    digests = body_hashes(settings, message_id)
    assert digests == [digests[0]] * 3 + [None]
    assert digests[0] is not None
    # Only one whose own select fails asks for itself.
    assert calls(arm) in (1, 2)


def insert_old(settings: dict[str, str], key: str, days: int) -> None:
    """A row of a resource that is no more, so many days old."""
    moment = f"DATEADD(day, -{days}, CURRENT_TIMESTAMP())::TIMESTAMP_TZ"
    with tables(settings) as session:
        session.run(
            "INSERT INTO RESOURCES (ROW_KEY, MESSAGE_ID, REQUEST_INDEX, SERVICE, API_VERSION,"
            " BATCH_ID, RESOURCE_ID, ENQUEUED_AT, COLLECTED_AT)"
            f" SELECT '{key}', 'm-old', 0, 'x', '2024-07-01', 'b', '/gone', {moment}, {moment}"
        )


def test_a_running_collector_deletes_old_history_by_itself(
    arm: SimulatorControl, settings: dict[str, str], tmp_path: Path
) -> None:
    one, *_ = arm.catalogue()["subscriptions"]
    settings["RETENTION_DAYS"] = "9"

    def left() -> list[tuple[Any, ...]]:
        with tables(settings) as session:
            return session.run("SELECT ROW_KEY FROM RESOURCES WHERE MESSAGE_ID = 'm-old'")

    with collector(settings, tmp_path / "out") as running:
        running.await_stages()
        insert_old(settings, "newest-of-it", 12)
        insert_old(settings, "older", 13)
        message_id = send(settings, request(vms(one)))
        until(lambda: left() == [("newest-of-it",)], 30.0, what=running.output)
        assert ledger(settings, message_id), "not before there was something to load"
        running.send(signal.SIGTERM)
        assert running.ended() == 0

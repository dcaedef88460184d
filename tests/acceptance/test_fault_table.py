"""What becomes of a request under each fault of Azure's, alone and mixed: a table of outcomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.acceptance.chaos.job import Job
from tests.acceptance.command import command
from tests.acceptance.stores import request, tables

PAGE_SIZE = 2
# Rows a list needs to have three pages.
MIN_ROWS = 5
MAX_BODY_BYTES = 1_000_000
SETTINGS = {
    "MAX_RETRIES": "2",
    "INITIAL_RETRY_DELAY": "0.05",
    "MAX_BACKOFF": "0.2",
    "ARM_READ_TIMEOUT": "1",
    "MAX_RESPONSE_BYTES": str(MAX_BODY_BYTES),
    "NUM_THREADS": "8",
}
ALL, FIRST_PAGE = "all", "first page"


class Case(NamedTuple):
    """A fault, and what has to come of it.

    Attributes:
        fault: for every call of a list.
        always: outcome and error code when it does not end; an outcome ``complete`` has no code.
        once: outcome when only the first call is hit.
        rows: which a complete list has.
    """

    fault: dict[str, Any]
    always: tuple[str, str | None]
    once: str = "complete"
    rows: str = ALL


def fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **more}


def status(code: int) -> dict[str, Any]:
    return fault("status", status=code)


def throttled(**more: Any) -> dict[str, Any]:
    # Another provider's than ARM's own: that would hold up the subscription's other cases too.
    return fault("throttle", code="TooManyRequests", **more)


SIMULATED = "SimulatedFault"
COMPLETE = ("complete", None)
CASES = {
    "latency": Case(fault("latency", latency_s=0.2), COMPLETE),
    "400": Case(status(400), ("rejected", SIMULATED), "rejected"),
    "403": Case(status(403), ("forbidden", SIMULATED), "forbidden"),
    "404": Case(status(404), ("not_found", SIMULATED), "not_found"),
    "405": Case(status(405), ("rejected", SIMULATED), "rejected"),
    "408": Case(status(408), ("failed", SIMULATED)),
    "409": Case(status(409), ("rejected", SIMULATED), "rejected"),
    "410": Case(status(410), ("rejected", SIMULATED), "rejected"),
    "500": Case(status(500), ("failed", SIMULATED)),
    "501": Case(status(501), ("failed", SIMULATED), "failed"),
    "502": Case(status(502), ("failed", SIMULATED)),
    "503": Case(status(503), ("failed", SIMULATED)),
    "504": Case(status(504), ("failed", SIMULATED)),
    "429 in seconds": Case(throttled(retry_after_s=1), ("throttled", "TooManyRequests")),
    "429 in milliseconds": Case(
        throttled(retry_after_s=0.1, form="ms"), ("throttled", "TooManyRequests")
    ),
    "429 by date": Case(
        throttled(retry_after_s=1, form="date"), ("throttled", "TooManyRequests")
    ),
    "429 without a word": Case(throttled(form="none"), ("throttled", "TooManyRequests")),
    "503 with a wait": Case(
        throttled(retry_after_s=0.1, form="ms", status=503), ("failed", "TooManyRequests")
    ),
    "reset": Case(fault("reset"), ("failed", "ProtocolError")),
    "reset in the body": Case(fault("reset_mid_body"), ("failed", "ProtocolError")),
    "reset after the head": Case(
        fault("reset_mid_body", after_bytes=0), ("failed", "ProtocolError")
    ),
    "half of the JSON": Case(fault("broken_json"), ("failed", "BrokenBody")),
    "no JSON": Case(fault("broken_json", text="<html>"), ("failed", "BrokenBody")),
    "nothing": Case(fault("broken_json", text=""), ("failed", "BrokenBody")),
    "body too short": Case(fault("content_length", delta=10), ("failed", "ProtocolError")),
    "body runs over": Case(fault("content_length", delta=-10), ("failed", "BrokenBody")),
    "silence": Case(fault("stall", stall_s=3), ("failed", "ReadTimeoutError")),
    "silence in the body": Case(
        fault("stall", stall_s=3, after_bytes=50), ("failed", "ReadTimeoutError")
    ),
    "too large": Case(
        fault("huge_body", body_bytes=2 * MAX_BODY_BYTES), ("failed", "ResponseTooLarge"), "failed"
    ),
    "link elsewhere": Case(fault("next_link", form="foreign"), ("failed", "ForeignLink"), "failed"),
    "link in a loop": Case(fault("next_link", form="loop"), ("failed", "PagingLoop"), "failed"),
    "empty link": Case(fault("next_link", form="empty"), COMPLETE, rows=FIRST_PAGE),
    "null link": Case(fault("next_link", form="null"), COMPLETE, rows=FIRST_PAGE),
    # The last page gets such a link as well, and it leads to itself.
    "relative link": Case(fault("next_link", form="relative"), ("failed", "PagingLoop")),
    "redirect": Case(fault("redirect"), ("failed", "Redirected"), "failed"),
    "operation": Case(fault("operation", polls=1, retry_after_s=0), COMPLETE),
    "operation by location": Case(
        fault("operation", style="location", polls=1, retry_after_s=0), COMPLETE
    ),
    "operation failed": Case(
        fault("operation", outcome="Failed", polls=1, retry_after_s=0), ("failed", None), "failed"
    ),
    "operation canceled": Case(
        fault("operation", outcome="Canceled", polls=1, retry_after_s=0), ("failed", None), "failed"
    ),
}  # fmt: skip


class Asked(NamedTuple):
    """A list that is asked for under a fault."""

    name: str
    case: Case
    once: bool
    path: str
    count: int


@pytest.fixture
def job(settings: dict[str, str]) -> Iterator[Job]:
    settings |= SETTINGS
    job = Job(settings)
    job.arm.reset()
    job.arm.settings(page_size=PAGE_SIZE, buckets=False)
    yield job
    job.arm.settings(page_size=100, buckets=True)
    job.arm.reset()


def lists(job: Job) -> Iterator[tuple[str, int]]:
    """Paths of different lists with three pages or more, and their rows."""
    for subscription in job.arm.catalogue()["subscriptions"]:
        for kind in job.arm.catalogue()["types"]:
            if "/" in kind.partition("/")[2]:
                continue
            path = f"/subscriptions/{subscription}/providers/{kind}"
            found = job.arm.expected(f"{path}?api-version=2024-07-01")
            if found["status"] == 200 and found["count"] >= MIN_ROWS:
                yield path, found["count"]


def test_each_fault_alone_has_its_outcome(job: Job, settings: dict[str, str]) -> None:
    some = lists(job)
    asked = [
        Asked(name, case, once, *next(some))
        for name, case in CASES.items()
        for once in (False, True)
    ]
    job.arm.faults(
        [
            {**one.case.fault, "target": one.path, **({"first": 1} if one.once else {})}
            for one in asked
        ]
    )
    job.put(
        [
            json.dumps({"message_id": f"{job.run}-{number}", "api_requests": [request(one.path)]})
            for number, one in enumerate(asked)
        ]
    )
    ended = command(["--until-empty"], settings)
    assert ended.code == 0, ended.said
    hit = job.arm.stats()["faults"]
    assert set(hit) == {case.fault["kind"] for case in CASES.values()}
    with tables(settings) as session:
        ledger = session.run(
            'SELECT MESSAGE_ID, OUTCOME, ERROR_CODE, "ROWS" FROM REQUESTS'
            f" WHERE MESSAGE_ID LIKE '{job.run}-%'"
        )
        rows = dict(
            session.run(
                "SELECT MESSAGE_ID, COUNT(*) FROM RESOURCES"
                f" WHERE MESSAGE_ID LIKE '{job.run}-%' GROUP BY 1"
            )
        )
    found = {message_id: rest for message_id, *rest in ledger}
    wrong = []
    for number, one in enumerate(asked):
        message_id = f"{job.run}-{number}"
        outcome, code = (one.case.once, None) if one.once else one.case.always
        count = PAGE_SIZE if one.case.rows == FIRST_PAGE else one.count
        got_outcome, got_code, got_rows = found[message_id]
        wanted_rows = count if outcome == "complete" else 0
        right = (
            got_outcome == outcome
            and (one.once or code is None or got_code == code)
            and got_rows == rows.get(message_id, 0) == wanted_rows
        )
        if not right:
            when = "once" if one.once else "always"
            wrong.append(f"{one.name}, {when}: {found[message_id]}, not {outcome} {wanted_rows}")
    assert not wrong, "\n".join(wrong)
    assert job.left() == 0


# Of all calls, one in ten meets one of these, and each of them may be tried again.
PASSING = [
    status(408), status(500), status(502), status(503), status(504),
    fault("throttle", retry_after_s=0.1, form="ms"), throttled(form="none"),
    throttled(retry_after_s=1, form="date"), fault("reset"), fault("reset_mid_body"),
    fault("broken_json"), fault("broken_json", text=""), fault("content_length", delta=10),
    fault("content_length", delta=-10), fault("latency", latency_s=0.3),
    fault("operation", polls=1, retry_after_s=0),
]  # fmt: skip


def test_all_of_them_mixed_leave_every_list_whole(job: Job, settings: dict[str, str]) -> None:
    job.send(150)
    part = 0.1 / len(PASSING)
    job.arm.faults(
        [{**passing, "probability": part, "seed": seed} for seed, passing in enumerate(PASSING)]
    )
    ended = command(["--until-empty"], {**settings, "MAX_RETRIES": "8"})
    assert ended.code == 0, ended.said
    stats = job.arm.stats()
    assert sum(stats["faults"].values()) > 0.05 * job.requests
    assert set(stats["faults"]) == {passing["kind"] for passing in PASSING}
    job.arm.faults([])
    job.assert_whole()

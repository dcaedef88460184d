"""What a stage tells the supervisor with its heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from pipeline.links import ControlLink
from pipeline.log_events import MAX_AT_ONCE, MAX_KEPT, MAX_MESSAGE_CHARS, LogEvents
from pipeline.logs import log, setup
from pipeline.masking import add_secret
from pipeline.messages import Heartbeat, ScopeLevel
from pipeline.metrics.link_fill import fill_ratio
from pipeline.metrics.store import Store
from pipeline.reporting import SCOPES_EVERY_S, Reporting
from tests import secrets_seen

SECRET = secrets_seen.secret("of-a-log-event-4711")
LEVEL = ScopeLevel("reads", "0000", 3.0, 250.0, 0.0, True)


class Reported:
    """As little as a heartbeat is made of."""

    name = "execute-0"

    def __init__(self) -> None:
        self.metrics = Store()
        self.links = {}

    def idle(self) -> bool:
        return False

    def gauges(self) -> dict[str, float]:
        return {"calls_in_flight": 2.0}

    def reached(self, now_s: float) -> dict[str, float | None]:
        return {"queue": 1.0}

    def scope_levels(self, now_s: float) -> list[ScopeLevel]:
        return [LEVEL]


@pytest.fixture
def events() -> Iterator[LogEvents]:
    setup("INFO", "json", "load")
    watching = LogEvents("load")
    watching.watch()
    yield watching
    watching.unwatch()


def test_a_heartbeat_tells_what_has_changed_and_the_levels_now_and_then() -> None:
    stage = Reported()
    stage.metrics.counter("throttled_total", scope="reads").add()
    reporting = Reporting(stage)
    first = reporting.heartbeat(100.0)
    assert first.counters['throttled_total{scope="reads"}'] == 1
    assert first.counters['log_events_total{level="warning"}'] >= 0
    assert (first.gauges, first.reached) == ({"calls_in_flight": 2.0}, {"queue": 1.0})
    assert first.scopes == [LEVEL]
    second = reporting.heartbeat(100.5)
    assert list(second.counters) == ['process_cpu_seconds_total{process="execute-0"}']
    assert second.scopes is None
    assert reporting.heartbeat(100.0 + SCOPES_EVERY_S).scopes == [LEVEL]


def test_events_from_warning_on_are_told_masked_and_shortened(events: LogEvents) -> None:
    add_secret(SECRET)
    log.info("nothing to see")
    log.bind(action="away").warning("no answer to {}", SECRET + "x" * 2 * MAX_MESSAGE_CHARS)
    with contextlib.suppress(ValueError):
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            log.bind(action="failed").opt(exception=error).error("it failed")
    away, failed = events.take(1000.0)
    assert (away.level, away.process, away.action) == ("WARNING", "load", "away")
    assert away.message.startswith("no answer to ***x")
    assert len(away.message) == MAX_MESSAGE_CHARS
    assert failed.message == "it failed: ValueError: ***"
    assert events.take(1001.0) == []


def test_a_flood_of_events_is_told_slowly_and_at_the_end_all_that_is_kept(
    events: LogEvents,
) -> None:
    for number in range(200):
        log.warning("{}", number)
    told = events.take(1000.0)
    assert [event.message for event in told] == [str(150 + n) for n in range(MAX_AT_ONCE)]
    assert events.take(1000.0) == []
    assert len(events.take(1000.5)) == 5
    rest = events.take(1000.5, everything=True)
    assert len(rest) == MAX_KEPT - MAX_AT_ONCE - 5
    assert rest[-1].message == "199"


def test_a_link_that_nobody_reads_fills() -> None:
    writer, reader = socket.socketpair()
    with writer, reader:
        assert fill_ratio(writer) == 0
        writer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                writer.send(b"x" * 4096)
        assert fill_ratio(writer) > 0.9
    assert fill_ratio(writer) == 0


def test_what_a_dead_process_had_still_said_is_heard() -> None:
    async def test() -> list[object]:
        ours, theirs = socket.socketpair()
        heard: list[object] = []
        ended: list[bool] = []
        link = ControlLink(ours, lambda m, _: heard.append(m), lambda: ended.append(True))
        other = ControlLink(theirs, lambda *_: None, lambda: None)
        other.send(Heartbeat(True, {"batches_sealed_total": 1.0}, {}))
        other.close()
        link.read_rest()
        link.close()
        link.read_rest()
        return heard

    assert asyncio.run(test()) == [Heartbeat(True, {"batches_sealed_total": 1.0}, {})]

"""The collector as its supervisor sees it: what the pages show."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from datetime import UTC, datetime

from pipeline import __version__
from pipeline.child import Child
from pipeline.config import Config
from pipeline.log_events import LogEvents
from pipeline.metrics.series import by_name, series_of
from pipeline.ops import health, text_format
from pipeline.ops import status as shown
from pipeline.ops.process_figures import resident_bytes
from pipeline.ops.window import Sums, Window
from pipeline.supervisor import Supervisor

SUPERVISOR = "supervisor"
MAX_EVENTS = 50
MAX_SCOPES = 20
MAX_SERVICES = 10

_DELETED = series_of("messages_finished_total", "deleted")
_POISONED = series_of("messages_finished_total", "poisoned")
_ROWS = series_of("rows_loaded_total", "RESOURCES")


class View:
    """What is known of one collector.

    Args:
        config: its settings.
        supervisor: its supervisor.
        events: the supervisor's own log.
    """

    def __init__(self, config: Config, supervisor: Supervisor, events: LogEvents) -> None:
        self._config = config
        self._supervisor = supervisor
        self._events = events
        self._window = Window()
        self._began_s = time.monotonic()
        self._started_s = time.time()
        # The process that told of it may have been replaced by one that has not loaded yet.
        self._last_load_at_s = 0.0

    def tick(self) -> None:
        """Look at how things are; called a few times a second."""
        now_s = time.monotonic()
        self._last_load_at_s = max(
            self._last_load_at_s, self._supervisor.gauge("last_load_timestamp_seconds")
        )
        if self._window.due(now_s):
            self._window.add(self._sums(now_s, self._counters()))

    # ── for probes ───────────────────────────────────────────────────────────────────────────

    def alive(self) -> health.Judged:
        """For ``/healthz``."""
        heard = [child.name for child in self._children if child.beaten]
        return health.alive(self._states(time.monotonic()), heard)

    def ready(self) -> health.Judged:
        """For ``/readyz``."""
        now_s = time.monotonic()
        return health.ready(self._state, self._states(now_s), self._ages(now_s))

    @property
    def _state(self) -> str:
        if self._supervisor.draining:
            return "draining"
        return "collecting" if self._supervisor.begun else "starting"

    @property
    def _children(self) -> list[Child]:
        return list(self._supervisor.children.values())

    def _states(self, now_s: float) -> dict[str, str]:
        return {child.name: self._state_of(child, now_s) for child in self._children}

    def _state_of(self, child: Child, now_s: float) -> str:
        return health.process_state(
            alive=child.alive,
            beaten=child.beaten,
            ready=child.ready,
            heartbeat_age_s=now_s - child.last_beat_s,
            limit_s=self._config.heartbeat_limit,
        )

    def _ages(self, now_s: float) -> dict[str, float | None]:
        """How old each dependency's last answer is."""
        ages: dict[str, float | None] = {}
        for child in self._children:
            for name, age_s in child.reached.items():
                ages[name] = None if age_s is None else age_s + now_s - child.last_beat_s
        return ages

    # ── for machines ─────────────────────────────────────────────────────────────────────────

    def metrics(self) -> str:
        """For ``/metrics``."""
        now_s = time.monotonic()
        values: dict[str, float] = dict(self._counters())
        for child in self._children:
            for series, value in child.gauges.items():
                values[series] = values.get(series, 0.0) + value
            name = child.name
            up = self._state_of(child, now_s) == health.READY
            values[series_of("stage_up", name)] = float(up)
            values[series_of("stage_restarts_total", name)] = child.restarts
            age_s = round(now_s - child.last_beat_s, 3)
            values[series_of("heartbeat_age_seconds", name)] = age_s
            values[series_of("process_resident_bytes", name)] = resident_bytes(child.pid)
        ages = self._ages(now_s)
        for name in health.DEPENDENCIES:
            reached = health.is_reached(ages.get(name))
            values[series_of("dependency_ready", name)] = float(reached)
        values[series_of("process_resident_bytes", SUPERVISOR)] = resident_bytes(os.getpid())
        values["last_load_timestamp_seconds"] = self._last_load_at_s
        values[series_of("info", __version__, self._config.profile or "")] = 1.0
        return text_format.page(values, self._histograms())

    def _counters(self) -> Counter[str]:
        total = self._supervisor.totals()
        own: Counter[str] = Counter()
        self._events.count(own)
        total.update(own)
        total.update({series_of("process_cpu_seconds_total", SUPERVISOR): time.process_time()})
        return total

    def _histograms(self) -> dict[str, list[float]]:
        total: dict[str, list[float]] = {}
        for child in self._children:
            child.add_histograms(total)
        return total

    def _sums(self, now_s: float, counters: Counter[str]) -> Sums:
        return Sums(
            at_s=now_s,
            messages=counters[_DELETED] + counters[_POISONED],
            calls=by_name(counters)["calls_total"],
            rows=counters[_ROWS],
            histograms=self._histograms(),
        )

    # ── for people ───────────────────────────────────────────────────────────────────────────

    def status(self) -> shown.Status:
        """For ``/status``."""
        now_s = time.monotonic()
        counters = self._counters()
        sums = self._sums(now_s, counters)
        messages, calls, rows = self._window.rates(sums)
        rates = shown.Rates(round(messages, 2), round(calls, 1), round(rows, 1))
        gauges: dict[str, float] = {}
        for child in self._children:
            for series, value in child.gauges.items():
                gauges[series] = gauges.get(series, 0.0) + value
        ages = self._ages(now_s)
        return shown.Status(
            version=__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            profile=self._config.profile,
            started=_iso(self._started_s),
            uptime_s=round(now_s - self._began_s, 1),
            state=self._state,
            processes=self._processes(now_s, counters),
            dependencies=[
                shown.Dependency(name, health.is_reached(ages.get(name)), _rounded(ages.get(name)))
                for name in health.DEPENDENCIES
            ],
            rates=rates,
            queue=_queue(gauges, messages),
            in_flight=shown.InFlight(
                messages=int(gauges.get("messages_leased", 0)),
                requests=int(gauges.get("requests_in_flight", 0)),
                requests_waiting=int(gauges.get("requests_waiting", 0)),
                calls=int(gauges.get("calls_in_flight", 0)),
            ),
            scopes=self._scopes(),
            slowest_services=self._window.slowest(sums, MAX_SERVICES),
            recent_errors=self._recent(),
            spool=shown.Spool(
                bytes=int(gauges.get("spool_bytes", 0)),
                batches=int(gauges.get("spool_batches", 0)),
                limit_bytes=self._config.spool_bytes,
            ),
            last_load=shown.LastLoad(
                at=_iso(self._last_load_at_s) if self._last_load_at_s else None,
                seconds=round(gauges.get("last_load_seconds", 0.0), 3),
                failures=int(gauges.get("load_failures", 0)),
            ),
        )

    def _processes(self, now_s: float, counters: Counter[str]) -> list[shown.Process]:
        own = shown.Process(
            SUPERVISOR, os.getpid(), health.READY, 0, "", None, 0.0,
            round(time.process_time(), 2), resident_bytes(os.getpid()),
        )  # fmt: skip
        return [own, *(self._process(child, now_s, counters) for child in self._children)]

    def _process(self, child: Child, now_s: float, counters: Counter[str]) -> shown.Process:
        cpu_s = counters[series_of("process_cpu_seconds_total", child.name)]
        return shown.Process(
            name=child.name,
            pid=child.pid,
            state=self._state_of(child, now_s),
            restarts=child.restarts,
            last_cause=child.last_cause,
            last_died_at=_iso(child.last_died_at_s) if child.last_died_at_s else None,
            heartbeat_age_s=round(now_s - child.last_beat_s, 2),
            cpu_s=round(cpu_s, 2),
            memory_bytes=resident_bytes(child.pid),
        )

    def _scopes(self) -> list[shown.Scope]:
        told = [(child.name, of) for child in self._children for of in child.scopes]
        lowest = sorted(told, key=lambda one: one[1].urgency())[:MAX_SCOPES]
        return [
            shown.Scope(name, of.kind, of.id, of.left, of.size, of.paused_s, of.waiting)
            for name, of in lowest
        ]

    def _recent(self) -> list[shown.Event]:
        events = [event for child in self._children for event in child.events]
        events += self._events.recent()
        latest = sorted(events, key=lambda event: event.at)[-MAX_EVENTS:]
        return [shown.Event(e.at, e.level, e.process, e.action, e.message) for e in latest]


def _queue(gauges: dict[str, float], messages_per_s: float) -> shown.Queue:
    waiting = gauges.get("queue_messages")
    to_empty_s = None
    if waiting is not None and messages_per_s > 0.0:
        to_empty_s = round(waiting / messages_per_s, 1)
    poison = gauges.get("poison_messages")
    return shown.Queue(
        messages=None if waiting is None else int(waiting),
        oldest_age_s=_rounded(gauges.get("queue_oldest_age_seconds")),
        poison_messages=None if poison is None else int(poison),
        seconds_to_empty=to_empty_s,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

"""Every metric of the collector, as data: the pages, the checks and the documentation read it.

Names follow Prometheus' rules: base units, ``_total`` for counters. On the page each has the prefix
``azure_collector_``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PREFIX = "azure_collector_"

Kind = Literal["counter", "gauge", "histogram"]

# Sets of label values that a metric has at most in one process; what comes beyond is OTHER.
USUAL_LIMIT = 100
OTHER = "other"

# Upper bounds, in the metric's unit.
CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
AGE_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 86400.0, 7 * 86400.0)
LOAD_SECONDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ROWS = (10.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
BYTES = tuple(float(4**n * 1024) for n in range(1, 11))


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One metric.

    Attributes:
        name: without :data:`PREFIX`.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: what it says, in one sentence.
        labels: names, in the order in which values are given.
        buckets: of a histogram, upper bounds in rising order; the one without a bound goes without
            saying.
        limit: sets of label values in one process; further ones are counted as :data:`OTHER`.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    limit: int = USUAL_LIMIT

    @property
    def full_name(self) -> str:
        """As it stands on the page."""
        return PREFIX + self.name


METRICS = (
    # Messages
    Metric("messages_received_total", "counter", "Messages received from the queues."),
    Metric(
        "messages_finished_total",
        "counter",
        "Messages that left this collector: deleted after all of their rows were committed, "
        "poisoned, released into the queue, or lost to another holder.",
        ("result",),
    ),
    Metric(
        "message_age_seconds",
        "histogram",
        "Seconds from a message's enqueueing to its receiving.",
        buckets=AGE_SECONDS,
    ),
    Metric(
        "messages_put_off_total",
        "counter",
        "Messages given back, invisible until the wait is over that Azure asked for.",
    ),
    Metric("messages_leased", "gauge", "Messages held under a lease."),
    Metric("leases_lost_total", "counter", "Leases that ended, or that someone else has now."),
    Metric("leases_regained_total", "counter", "Leased messages that came again and were kept on."),
    Metric(
        "queue_messages",
        "gauge",
        "Messages in the queues, as Azure estimates it, invisible ones too.",
    ),
    Metric(
        "queue_oldest_age_seconds",
        "gauge",
        "Age of the message that is next in the queues; 0: none.",
    ),
    Metric("poison_messages", "gauge", "Messages in the poison queues, as Azure estimates it."),
    # Requests and calls
    Metric(
        "requests_total",
        "counter",
        "API requests that have their outcome.",
        ("service", "outcome"),
        limit=400,
    ),
    Metric("requests_in_flight", "gauge", "API requests that the execute processes hold."),
    Metric("requests_waiting", "gauge", "API requests that wait to be handed out."),
    Metric(
        "requests_redone_total",
        "counter",
        "API requests handed out again because a process died or a batch was damaged.",
    ),
    Metric(
        "requests_held_back_total",
        "counter",
        "Times that an API request began anew because the disk had no room for its rows.",
    ),
    Metric(
        "shared_answers_total",
        "counter",
        "API requests that were answered by the same call as another one.",
    ),
    Metric(
        "calls_total",
        "counter",
        "HTTP calls to Azure, by status; `error` where no whole answer came.",
        ("service", "status"),
        limit=400,
    ),
    Metric(
        "call_seconds",
        "histogram",
        "Seconds of a call, from its sending to its whole answer or its failure.",
        ("service",),
        buckets=CALL_SECONDS,
    ),
    Metric("calls_in_flight", "gauge", "HTTP calls to Azure under way."),
    Metric("throttled_total", "counter", "Calls that Azure refused for their number.", ("scope",)),
    Metric(
        "scopes_paused",
        "gauge",
        "Scopes whose requests all have to wait until Azure allows more calls.",
        ("scope",),
    ),
    # Links, batches, loads
    Metric(
        "link_fill_ratio",
        "gauge",
        "How full the link from one process to another is: 1 holds its writer up.",
        ("from", "to"),
    ),
    Metric("batches_sealed_total", "counter", "Batches written to the spool."),
    Metric("batch_rows", "histogram", "Resource rows of a sealed batch.", buckets=ROWS),
    Metric("batch_bytes", "histogram", "Bytes of a sealed batch's file.", buckets=BYTES),
    Metric("open_batch_rows", "gauge", "Resource rows in the batch that is being filled."),
    Metric("writes_refused", "gauge", "Writes to the spool that wait for room on its disk."),
    Metric("loads_total", "counter", "Loads into Snowflake: committed or failed.", ("result",)),
    Metric("load_seconds", "histogram", "Seconds of a committed load.", buckets=LOAD_SECONDS),
    Metric("last_load_seconds", "gauge", "Seconds of the last load."),
    Metric("load_failures", "gauge", "Loads that have failed since the last one that did not."),
    Metric(
        "rows_loaded_total",
        "counter",
        "Rows that a committed load has inserted or replaced.",
        ("table",),
    ),
    Metric("rows_set_aside_total", "counter", "Rows that Snowflake cannot take."),
    Metric("batches_loaded_total", "counter", "Batches committed in Snowflake."),
    Metric(
        "last_load_timestamp_seconds", "gauge", "Unix time of the last committed load; 0: none."
    ),
    Metric("spool_bytes", "gauge", "Bytes of the sealed batches that wait to be loaded."),
    Metric("spool_batches", "gauge", "Sealed batches that wait to be loaded."),
    Metric("spool_limit_bytes", "gauge", "SPOOL_BYTES: from here on nothing is received."),
    Metric("spool_disk_free_bytes", "gauge", "Room on the spool's disk."),
    Metric("spool_disk_full", "gauge", "1 while the spool's disk has no room for another batch."),
    # Processes
    Metric(
        "stage_restarts_total",
        "counter",
        "Processes that were started in the place of one that died.",
        ("process",),
    ),
    Metric("stage_up", "gauge", "1 if the process stands and is ready.", ("process",)),
    Metric(
        "heartbeat_age_seconds",
        "gauge",
        "Seconds since the process has last answered.",
        ("process",),
    ),
    Metric(
        "process_cpu_seconds_total",
        "counter",
        "Processor time of all processes that have stood in this place.",
        ("process",),
    ),
    Metric("process_resident_bytes", "gauge", "Memory in use.", ("process",)),
    Metric(
        "workers_killed_total", "counter", "Deaths of an execute process put down to a message."
    ),
    Metric(
        "dependency_ready",
        "gauge",
        "1 if it has answered within the last interval: the queue, Snowflake.",
        ("dependency",),
    ),
    Metric("log_events_total", "counter", "Log events from INFO on.", ("level",)),
    Metric("info", "gauge", "1; the labels tell the program.", ("version", "profile")),
)

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}

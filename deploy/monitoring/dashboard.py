"""Writes ``dashboard.json``, for Grafana: ``python deploy/monitoring/dashboard.py``.

This file is the layout and the words; :mod:`panels` beside it knows what Grafana wants. With
``--check`` nothing is written, and the exit code is 1 where the file is not what this would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from panels import (
    PREFIX,
    Panel,
    Row,
    dashboard,
    increase,
    metric,
    quantiles,
    rate,
    steps,
)

FILE = Path(__file__).with_name("dashboard.json")
BAD_LEVELS = 'level=~"warning|error|critical"'
POISONED = 'result="poisoned"'
DONE = 'result=~"deleted|poisoned"'
READY = {0: ("no", "red"), 1: ("yes", "green")}

WELL = Row(
    "Is it well",
    Panel(
        "Ready", "stat", 4, "none",
        "Every stage is up, and the queue and Snowflake have answered lately. If not, /readyz says "
        "why: docs/operations.md, Not ready, or not healthy.",
        (f"min({metric('stage_up')} or {metric('dependency_ready')})", ""),
        mappings=READY,
    ),
    Panel(
        "Dependencies", "stat", 4, "none",
        "Whether each has answered within the last interval. If not, see docs/operations.md, "
        "Connection, and receive_failed or load_failed in the log.",
        (f"min by (dependency) ({metric('dependency_ready')})", "{{dependency}}"),
        mappings=READY,
    ),
    Panel(
        "Oldest heartbeat", "stat", 4, "s",
        "Of the stage that has answered least lately. Stages answer twice a second; at 10 s "
        "/healthz fails, at HEARTBEAT_LIMIT the stage is killed and replaced.",
        (f"max({metric('heartbeat_age_seconds')})", ""),
        thresholds=steps("green", (3, "orange"), (10, "red")),
    ),
    Panel(
        "Restarts", "stat", 4, "none",
        "Stages replaced in the time shown. One is mended by itself; for several look for "
        "stage_died in the log, which says of what.",
        (f"sum(increase({metric('stage_restarts_total')}[$__range]))", ""),
        thresholds=steps("green", (1, "orange"), (4, "red")), decimals=0,
    ),
    Panel(
        "Collectors", "stat", 4, "none",
        "Those that answer, by version and profile. If there are fewer than you run, see how the "
        "others ended: docs/operations.md, Exit codes.",
        (f"count by (version, profile) ({metric('info')})", "{{version}} {{profile}}"),
    ),
    Panel(
        "Time to empty", "stat", 4, "s",
        "Messages in the queue divided by the rate at which they are finished; nothing where none "
        "is. Longer than you can bear: docs/scaling.md.",
        (
            f"max({metric('queue_messages')}) / (sum("
            f"{rate('messages_finished_total', DONE)}) > 0)",
            "",
        ),
        decimals=0,
    ),
    Panel(
        "Stages", "state-timeline", 24, "none",
        "Green: up and ready. Red: down, or silent for ten seconds. A gap: the collector itself "
        "was not there.",
        (f"min by (instance, process) ({metric('stage_up')})", "{{process}} {{instance}}"),
        mappings={0: ("down", "red"), 1: ("up", "green")}, height=6,
    ),
)  # fmt: skip

BACKLOG = Row(
    "Backlog",
    Panel(
        "Messages", "timeseries", 6, "none",
        "In the queue, those under a lease too, as Azure estimates it each half minute; leased "
        "here; in the poison queue. Rising: docs/operations.md, The backlog grows.",
        (f"max by (job) ({metric('queue_messages')})", "queue"),
        (f"sum({metric('messages_leased')})", "leased"),
        (f"max by (job) ({metric('poison_messages')})", "poison"),
    ),
    Panel(
        "Oldest message", "timeseries", 6, "s",
        "Age of the message that is next. Azure drops messages after seven days unless the sender "
        "said otherwise.",
        (f"max by (job) ({metric('queue_oldest_age_seconds')})", "next"),
        thresholds=steps("green", (3600, "orange"), (5 * 86400, "red")),
    ),
    Panel(
        "Message rate", "timeseries", 6, "mps",
        "Received, and how they ended. Much released or lost beside deleted: leases, see Spool and "
        "leases. Poisoned: azure-collector dead-letter list.",
        (f"sum({rate('messages_received_total')})", "received"),
        (f"sum by (result) ({rate('messages_finished_total')})", "{{result}}"),
    ),
    Panel(
        "Age when received", "timeseries", 6, "s",
        "How long messages had waited. It follows the backlog; high with a short queue means that "
        "messages come again, after a wait that Azure asked for or a lost lease.",
        *quantiles("message_age_seconds", 0.5, 0.95),
    ),
)  # fmt: skip

CALLS = Row(
    "Calls",
    Panel(
        "Calls by status", "timeseries", 8, "reqps",
        "429: throttled. 401, 403: permission. error: no whole answer came, see "
        "docs/operations.md, A name, a port, a proxy, a certificate.",
        (f"sum by (status) ({rate('calls_total')})", "{{status}}"),
        stacked=True,
    ),
    Panel(
        "Calls by service", "timeseries", 8, "reqps",
        "Who is asked most. The ten busiest.",
        (f"topk(10, sum by (service) ({rate('calls_total')}))", "{{service}}"),
    ),
    Panel(
        "Requests by outcome", "timeseries", 8, "reqps",
        "complete and not_found are answers. forbidden: a role is missing. rejected: the request "
        "is wrong. failed, throttled: given up, send them again; REQUESTS_INCOMPLETE lists them.",
        (f"sum by (outcome) ({rate('requests_total')})", "{{outcome}}"),
    ),
    Panel(
        "Latency", "timeseries", 6, "s",
        "Of a call to Azure, half of them and all but one in twenty. If it is high with little "
        "processor time used, raise NUM_THREADS and MAX_IN_FLIGHT.",
        *quantiles("call_seconds", 0.5, 0.95),
    ),
    Panel(
        "Latency p95 by service", "timeseries", 6, "s",
        "The ten slowest. One alone: that provider has trouble, see status.azure.com.",
        (
            "topk(10, histogram_quantile(0.95, sum by (le, service) "
            f"({rate('call_seconds_bucket')})))",
            "{{service}}",
        ),
    ),
    Panel(
        "Throttling", "timeseries", 6, "reqps",
        "Calls refused for their number, by the kind of limit, and scopes that wait for it. A few "
        "are how the limit is found; many: docs/operations.md, Azure throttles.",
        (f"sum by (scope) ({rate('throttled_total')})", "{{scope}} refused"),
        (f"sum by (scope) ({metric('scopes_paused')})", "{{scope}} paused"),
        unit_of={"paused": "none"},
    ),
    Panel(
        "In flight", "timeseries", 6, "none",
        "Requests handed out, requests that wait for that, and calls under way. Requests at "
        "MAX_IN_FLIGHT with few calls: they wait for Azure's limits.",
        (f"sum({metric('requests_in_flight')})", "requests"),
        (f"sum({metric('requests_waiting')})", "waiting"),
        (f"sum({metric('calls_in_flight')})", "calls"),
    ),
)  # fmt: skip

LOADS = Row(
    "Rows and loads",
    Panel(
        "Rows by table", "timeseries", 6, "rowsps",
        "Committed in Snowflake. It comes in steps, a load at a time. Nothing while there is work: "
        "see Last load.",
        (f"sum by (table) ({rate('rows_loaded_total')})", "{{table}}"),
    ),
    Panel(
        "Load time", "timeseries", 6, "s",
        "Of committed loads. Growing: a larger warehouse, other statements on the tables, or too "
        "many collectors, see docs/loading.md.",
        *quantiles("load_seconds", 0.5, 0.95),
    ),
    Panel(
        "Batch size", "timeseries", 4, "bytes",
        "Mean of sealed batches. Small ones cost a load each: raise BATCH_TIMEOUT if rows may come "
        "later.",
        (
            f"sum({rate('batch_bytes_sum')}) / sum({rate('batch_bytes_count')})",
            "bytes",
        ),
    ),
    Panel(
        "Batch rows", "timeseries", 4, "none",
        "Mean of sealed batches, and what is in the open one.",
        (f"sum({rate('batch_rows_sum')}) / sum({rate('batch_rows_count')})", "sealed"),
        (f"sum({metric('open_batch_rows')})", "open"),
    ),
    Panel(
        "Last load", "timeseries", 4, "s",
        "Seconds since the last committed load. It may rise while there is nothing to do; with "
        "work in the queue see docs/operations.md, Snowflake is away, or slow.",
        (
            f"time() - max by (instance) ({metric('last_load_timestamp_seconds')} > 0)",
            "{{instance}}",
        ),
        thresholds=steps("green", (900, "orange"), (1800, "red")),
    ),
    Panel(
        "Loads", "timeseries", 8, "cps",
        "By result. failed: load_failed in the log says what stands behind it; what is collected "
        "waits in the spool.",
        (f"sum by (result) ({rate('loads_total')})", "{{result}}"),
    ),
    Panel(
        "Failures in a row", "timeseries", 8, "none",
        "Loads that have failed since the last that did not. Three and more: docs/operations.md, "
        "Snowflake is away, or slow.",
        (f"max by (instance) ({metric('load_failures')})", "{{instance}}"),
        thresholds=steps("green", (1, "orange"), (3, "red")),
    ),
    Panel(
        "Rows set aside", "timeseries", 8, "none",
        "Rows that Snowflake does not take; REJECTED_ROWS says which and why.",
        (f"sum({increase('rows_set_aside_total')})", "rows"),
        thresholds=steps("green", (1, "red")),
    ),
)  # fmt: skip

SPOOL = Row(
    "Spool and leases",
    Panel(
        "Spool", "timeseries", 6, "percentunit",
        "Sealed batches that wait to be loaded, as a part of SPOOL_BYTES; at 100 % receiving "
        "pauses. Rising: Snowflake takes less than is collected. Never delete its files.",
        (
            f"max by (instance) ({metric('spool_bytes')} / {metric('spool_limit_bytes')})",
            "{{instance}}",
        ),
        thresholds=steps("green", (0.5, "orange"), (0.95, "red")), least=1,
    ),
    Panel(
        "Waiting batches", "timeseries", 6, "none",
        "Sealed and not loaded yet, and writes that wait for room on the disk. The second above 0: "
        "docs/operations.md, The disk is full.",
        (f"sum({metric('spool_batches')})", "batches"),
        (f"sum({metric('writes_refused')})", "refused writes"),
    ),
    Panel(
        "Room on the disk", "timeseries", 6, "bytes",
        "Of the spool. Receiving pauses while less than two batches have room.",
        (f"min by (instance) ({metric('spool_disk_free_bytes')})", "{{instance}}"),
    ),
    Panel(
        "Leases", "timeseries", 6, "none",
        "Lost: docs/operations.md, Leases are lost, if it goes on. Put off: Azure asked for a long "
        "wait. Redone: a stage had died.",
        (f"sum({increase('leases_lost_total')})", "lost"),
        (f"sum({increase('leases_regained_total')})", "regained"),
        (f"sum({increase('messages_put_off_total')})", "put off"),
        (f"sum({increase('requests_redone_total')})", "requests redone"),
    ),
)  # fmt: skip

PROCESSES = Row(
    "Processes",
    Panel(
        "Processor", "timeseries", 8, "none",
        "Cores in use by each process. If all cores of the host are: more cores, or another host. "
        "One execute process at 1: raise NUM_PROCESSES.",
        (f"sum by (process) ({rate('process_cpu_seconds_total')})", "{{process}}"),
        stacked=True,
    ),
    Panel(
        "Memory", "timeseries", 8, "bytes",
        "Resident, of the largest process of each name. It follows from settings, not from the "
        "queue: docs/operations.md, Memory grows, or the process is killed.",
        (f"max by (process) ({metric('process_resident_bytes')})", "{{process}}"),
    ),
    Panel(
        "Links", "timeseries", 8, "percentunit",
        "How full each link between processes is; 1 holds its writer up. A full one says that the "
        "stage it leads to is what everything waits for.",
        (f"max by (from, to) ({metric('link_fill_ratio')})", "{{from}} to {{to}}"),
        least=1,
    ),
)  # fmt: skip

ERRORS = Row(
    "Errors",
    Panel(
        "Warnings and errors", "timeseries", 12, "none",
        "Log events. Errors are rare and most say what to do: azure-collector status shows the "
        "last of them.",
        (
            "sum by (level) "
            f"({increase('log_events_total', BAD_LEVELS)})",
            "{{level}}",
        ),
        thresholds=steps("green", (1, "orange")),
    ),
    Panel(
        "Restarts by stage", "timeseries", 6, "none",
        "When each stage was replaced.",
        (f"sum by (process) ({increase('stage_restarts_total')})", "{{process}}"),
    ),
    Panel(
        "Messages given up", "timeseries", 6, "none",
        "Poisoned messages, and deaths of a worker put down to a message: azure-collector "
        "dead-letter list shows each with its reason.",
        (f"sum({increase('messages_finished_total', POISONED)})", "poisoned"),
        (f"sum({increase('workers_killed_total')})", "workers killed"),
    ),
)  # fmt: skip

ROWS = (WELL, BACKLOG, CALLS, LOADS, SPOOL, PROCESSES, ERRORS)


def text() -> str:
    """The file's content."""
    made = dashboard("Azure cloud collector", ROWS, f"{PREFIX}info")
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or compare it."""
    if sys.argv[1:] == ["--check"]:
        return int(FILE.read_text(encoding="utf-8") != text())
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What ``/status`` says, field by field. Programs may rely on the names; more may come.

The documentation's table is made of the descriptions here.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


def _said(text: str) -> Meta:
    return Meta(description=text)


class Process(Struct):
    """A stage's process, or the supervisor."""

    name: Annotated[str, _said("e.g. `fetch`, `execute-0`")]
    pid: Annotated[int | None, _said("process id; null while there is none")]
    state: Annotated[
        str,
        _said(
            "`ready`; `starting`: it answers and is not ready; `silent`: it stands and does not "
            "answer; `down`: there is none, and another will be started"
        ),
    ]
    restarts: Annotated[int, _said("processes that were started in the place of one that died")]
    last_cause: Annotated[str, _said("of the last death, e.g. `killed by SIGKILL`; empty: none")]
    last_died_at: Annotated[str | None, _said("when that was, ISO 8601")]
    heartbeat_age_s: Annotated[float, _said("seconds since it has last answered")]
    cpu_s: Annotated[float, _said("processor time, dead processes included, in seconds")]
    memory_bytes: Annotated[int, _said("resident memory")]


class Rates(Struct):
    """Within the last minute, per second."""

    messages: Annotated[float, _said("messages finished: deleted or poisoned")]
    calls: Annotated[float, _said("HTTP calls to Azure")]
    rows: Annotated[float, _said("rows loaded into `RESOURCES`")]


class Queue(Struct):
    """All queues together, as asked every 30 seconds; null where they did not answer."""

    messages: Annotated[int | None, _said("as Azure estimates it, leased ones too")]
    oldest_age_s: Annotated[float | None, _said("age of the message that is next, in seconds")]
    poison_messages: Annotated[int | None, _said("in the poison queues")]
    seconds_to_empty: Annotated[
        float | None, _said("messages divided by their rate; null while that is 0 or unknown")
    ]


class InFlight(Struct):
    """What is being worked on."""

    messages: Annotated[int, _said("leased")]
    requests: Annotated[int, _said("handed out to the execute processes")]
    requests_waiting: Annotated[int, _said("waiting to be handed out")]
    calls: Annotated[int, _said("HTTP calls under way")]


class Scope(Struct):
    """A scope of calls, as Azure counts them."""

    process: Annotated[str, _said("the execute process that keeps it")]
    kind: Annotated[str, _said("`reads`, `writes`, `graph` or `microsoft_graph`")]
    id: Annotated[str, _said("the subscription's, shortened; empty for the tenant")]
    left: Annotated[float | None, _said("calls that are left; null if Azure has not said")]
    size: Annotated[float | None, _said("calls when it is full; null if Azure has not said")]
    paused_s: Annotated[float, _said("seconds for which Azure has asked to pause; 0: none")]
    waiting: Annotated[bool, _said("requests wait for it")]


class Service(Struct):
    """How long the calls of a service took."""

    service: Annotated[str, _said("as the messages name it")]
    calls: Annotated[int, _said("of the last minute")]
    mean_s: Annotated[float, _said("seconds of a call on average")]
    p95_s: Annotated[float, _said("what 95 % of them did not exceed, estimated from buckets")]


class Event(Struct):
    """A line of the log, from WARNING on."""

    at: Annotated[str, _said("ISO 8601")]
    level: Annotated[str, _said("`WARNING`, `ERROR` or `CRITICAL`")]
    process: Annotated[str, _said("whose log it is")]
    action: Annotated[str, _said("what happened, in a stable word")]
    message: Annotated[str, _said("what happened, secrets masked, shortened")]


class Spool(Struct):
    """Sealed batches that wait to be loaded."""

    bytes: Annotated[int, _said("their size")]
    batches: Annotated[int, _said("how many")]
    limit_bytes: Annotated[int, _said("`SPOOL_BYTES`; from here on nothing is received")]


class LastLoad(Struct):
    """The last committed load."""

    at: Annotated[str | None, _said("when, ISO 8601; null: none yet")]
    seconds: Annotated[float, _said("how long the last load took")]
    failures: Annotated[int, _said("loads that have failed since")]


class Dependency(Struct):
    """The queue, or Snowflake."""

    name: Annotated[str, _said("`queue` or `snowflake`")]
    ready: Annotated[bool, _said("it has answered within the last interval")]
    answered_s_ago: Annotated[float | None, _said("null: it did not answer the last question")]


class Status(Struct):
    """The document."""

    version: Annotated[str, _said("of the collector")]
    host: Annotated[str, _said("name of this machine")]
    pid: Annotated[int, _said("of the supervisor")]
    profile: Annotated[str | None, _said("`--profile`")]
    started: Annotated[str, _said("ISO 8601")]
    uptime_s: Annotated[float, _said("seconds since then")]
    state: Annotated[str, _said("`starting`, `collecting` or `draining`")]
    processes: Annotated[list[Process], _said("the supervisor and every stage")]
    dependencies: Annotated[list[Dependency], _said("what the collector cannot do without")]
    rates: Annotated[Rates, _said("of the last minute")]
    queue: Annotated[Queue, _said("what waits in the queues")]
    in_flight: Annotated[InFlight, _said("what is being worked on")]
    scopes: Annotated[list[Scope], _said("the 20 with least calls left, those that pause first")]
    slowest_services: Annotated[
        list[Service], _said("those whose calls took longest within the last minute")
    ]
    recent_errors: Annotated[list[Event], _said("the last 50, the newest last")]
    spool: Annotated[Spool, _said("sealed batches")]
    last_load: Annotated[LastLoad, _said("into Snowflake")]

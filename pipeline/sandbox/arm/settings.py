"""What a simulator can be told: at its start, and while it runs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]

# The longest a simulated answer is delayed, so that a typing error cannot park a test for a day.
LATENCY_MAX_MS = 600_000
# A single resource of a larger size is a typing error.
ANSWER_MAX_BYTES = 16 * 2**20
# Environment variables with the accepted tokens; arguments show in ps.
TOKEN_VARIABLE = "SANDBOX_ARM_TOKEN"  # noqa: S105 - a name
GRAPH_TOKEN_VARIABLE = "SANDBOX_GRAPH_TOKEN"  # noqa: S105 - a name


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulator is set up.

    Attributes:
        port: 0 takes any free one.
        graph_port: the same for Microsoft Graph.
        subscriptions: how many the tenant has.
        vms: virtual machines in each subscription; the other types grow with them.
        groups: resource groups in each subscription.
        seed: another seed is another tenant with other ids.
        buckets: whether requests are throttled.
        bucket_size: reads that a full bucket holds.
        bucket_refill: reads a second that come back.
        write_size: the same for POST, PUT, PATCH and DELETE.
        write_refill: the same for POST, PUT, PATCH and DELETE.
        graph_quota: Resource Graph queries in a window of ``graph_window_s``.
        graph_window_s: length of that window, seconds.
        graph_get_quota: GETs that Resource Graph answers for a principal in a subscription, in a
            window of ``graph_get_window_s``.
        graph_get_window_s: length of that window, seconds.
        latency_ms: milliseconds that each answer waits.
        page_size: rows a page of a list.
        graph_page_size: rows a page of Resource Graph at most.
        answer_bytes: a shorter single resource is made that long; 0 leaves them as they are.
        users: people in the directory; its groups, devices and applications grow with them.
        token: the only bearer token that is accepted; ``None`` accepts any.
        graph_token: the same for Microsoft Graph. Neither API accepts the other's.
        gzip: compress when the client takes it.
        certfile: PEM certificate chain; with ``keyfile`` the simulator speaks TLS.
        keyfile: PEM key.
        max_connections: more are answered 503 and closed.
        idle_timeout_s: a connection that neither sends nor waits this long is closed.
        cache_mb: megabytes of answers that are kept ready; a benchmark wants all of its own kept.
        log_requests: how many of the last requests are kept for ``/_simulator/stats``; 0 is none.
    """

    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    graph_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    subscriptions: Annotated[int, Meta(ge=1, le=100_000)] = 3
    vms: Annotated[int, Meta(ge=0, le=100_000)] = 100
    groups: Annotated[int, Meta(ge=1, le=980)] = 5
    seed: str = "simulator"
    buckets: bool = True
    bucket_size: Positive = 250
    bucket_refill: Annotated[float, Meta(gt=0, le=1_000_000)] = 25.0
    write_size: Positive = 200
    write_refill: Annotated[float, Meta(gt=0, le=1_000_000)] = 10.0
    graph_quota: Positive = 15
    graph_window_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    graph_get_quota: Positive = 4000
    graph_get_window_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    latency_ms: Annotated[float, Meta(ge=0, le=LATENCY_MAX_MS)] = 0.0
    page_size: Annotated[int, Meta(ge=1, le=5000)] = 100
    graph_page_size: Annotated[int, Meta(ge=1, le=1000)] = 1000
    answer_bytes: Annotated[int, Meta(ge=0, le=ANSWER_MAX_BYTES)] = 0
    users: Annotated[int, Meta(ge=0, le=100_000)] = 250
    token: str | None = None
    graph_token: str | None = None
    gzip: bool = False
    certfile: str | None = None
    keyfile: str | None = None
    max_connections: Positive = 10_000
    idle_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    cache_mb: Annotated[int, Meta(ge=0, le=65_536)] = 64
    log_requests: Annotated[int, Meta(ge=0, le=100_000)] = 0


# Of a change, what is not a setting.
_TOKENS = frozenset({"tokens", "graph_tokens"})


class SettingsChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``PUT /_simulator/settings`` may change; what is left out stays.

    ``tokens`` is the whole set of accepted ones: ``null`` accepts any, ``[]`` none;
    ``graph_tokens`` is the same for Microsoft Graph.
    """

    buckets: bool | msgspec.UnsetType = msgspec.UNSET
    bucket_size: Positive | msgspec.UnsetType = msgspec.UNSET
    bucket_refill: Annotated[float, Meta(gt=0, le=1_000_000)] | msgspec.UnsetType = msgspec.UNSET
    write_size: Positive | msgspec.UnsetType = msgspec.UNSET
    write_refill: Annotated[float, Meta(gt=0, le=1_000_000)] | msgspec.UnsetType = msgspec.UNSET
    graph_quota: Positive | msgspec.UnsetType = msgspec.UNSET
    graph_window_s: Annotated[float, Meta(gt=0, le=3600)] | msgspec.UnsetType = msgspec.UNSET
    graph_get_quota: Positive | msgspec.UnsetType = msgspec.UNSET
    graph_get_window_s: Annotated[float, Meta(gt=0, le=3600)] | msgspec.UnsetType = msgspec.UNSET
    latency_ms: Annotated[float, Meta(ge=0, le=LATENCY_MAX_MS)] | msgspec.UnsetType = msgspec.UNSET
    page_size: Annotated[int, Meta(ge=1, le=5000)] | msgspec.UnsetType = msgspec.UNSET
    graph_page_size: Annotated[int, Meta(ge=1, le=1000)] | msgspec.UnsetType = msgspec.UNSET
    gzip: bool | msgspec.UnsetType = msgspec.UNSET
    log_requests: Annotated[int, Meta(ge=0, le=100_000)] | msgspec.UnsetType = msgspec.UNSET
    tokens: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    graph_tokens: list[str] | msgspec.UnsetType | None = msgspec.UNSET

    def apply(self, settings: Settings) -> Settings:
        """The settings with these changes (accepted tokens are none of them)."""
        changed = {
            name: value
            for name in self.__struct_fields__
            if name not in _TOKENS and (value := getattr(self, name)) is not msgspec.UNSET
        }
        return msgspec.structs.replace(settings, **changed)

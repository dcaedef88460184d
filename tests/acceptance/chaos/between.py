"""A fault proxy before each of the three services, and the settings that lead through them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.acceptance.chaos.proxy import FaultProxy
from tests.acceptance.command import with_endpoint

QUEUE = "AZURE_QUEUE_CONNECTION_STRING"


@dataclass(frozen=True)
class Between:
    """The proxies, and how a collector reaches the services through them.

    Attributes:
        proxies: by service: ``queue``, ``arm``, ``snowflake``.
        settings: a collector's environment.
    """

    proxies: dict[str, FaultProxy]
    settings: dict[str, str]

    @property
    def queue(self) -> FaultProxy:
        return self.proxies["queue"]

    @property
    def arm(self) -> FaultProxy:
        return self.proxies["arm"]

    @property
    def snowflake(self) -> FaultProxy:
        return self.proxies["snowflake"]

    def figures(self) -> str:
        """Faults by service and kind, a line each."""
        lines = []
        for service, proxy in self.proxies.items():
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(proxy.counts.items()))
            lines.append(f"{service}: {proxy.passed} passed; {kinds}")
        return "\n".join(lines)


@contextmanager
def proxies_between(settings: Mapping[str, str], seed: int = 1) -> Iterator[Between]:
    """Stand between a collector and the services of these settings."""
    endpoint = re.search("QueueEndpoint=([^;]*)", settings[QUEUE])
    assert endpoint is not None
    queue, arm = urlsplit(endpoint[1]), urlsplit(settings["AZURE_ARM_ENDPOINT"])
    with ExitStack() as stack:
        proxies = {
            "queue": FaultProxy(queue.hostname or "", queue.port or 0, "queue", seed),
            "arm": FaultProxy(arm.hostname or "", arm.port or 0, "arm", seed + 1),
            "snowflake": FaultProxy(
                settings["SNOWFLAKE_HOST"], int(settings["SNOWFLAKE_PORT"]), "plain", seed + 2
            ),
        }
        for proxy in proxies.values():
            stack.enter_context(proxy)
        changes = {
            QUEUE: with_endpoint(settings[QUEUE], f"http://{proxies['queue'].address}"),
            "AZURE_ARM_ENDPOINT": f"http://{proxies['arm'].address}",
            "SNOWFLAKE_PORT": str(proxies["snowflake"].port),
        }
        yield Between(proxies, {**settings, **changes})

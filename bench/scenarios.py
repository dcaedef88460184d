"""What is measured: who is asked for what, over which connection, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

# Who does the work. ``collector`` is this project's; the others are in bench/peers.
COLLECTOR = "collector"
PEERS = ("script", "azure-sdk", "dlt", "aiohttp")
FLOOR = "pycurl"
# The floor next to the collector: a machine is not equally fast for minutes.
EVERYBODY = (COLLECTOR, FLOOR, *PEERS)

LIST_PAGE_ROWS = 100
PAGES_PER_LIST = 20
ROWS_PER_LIST = LIST_PAGE_ROWS * PAGES_PER_LIST
# A simulated tenant's for single resources: a bucket each, and each message of one of them.
SUBSCRIPTIONS = 20

# ``compare``: the collector beside its peers. ``steady``: the collector's memory under a long run.
# ``start`` and ``drain``: how long each takes.
Kind = Literal["compare", "steady", "start", "drain"]


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        name: for the command line and for files.
        title: in a few words.
        kind: how it is measured.
        requests: API calls of a run; a list's pages are one each.
        peer_requests: API calls of a peer's run where it would take too long otherwise.
        per_message: requests in a message.
        lists: lists of PAGES_PER_LIST pages are asked for in place of single resources.
        answer_bytes: size of the answer to a single resource; rows of lists have 0.9 kB.
        latency_ms: milliseconds that each answer waits.
        tls: over TLS, with a certificate of the run's own.
        gzip: answers are compressed for a client that takes it.
        buckets: calls are throttled as ARM does.
        contestants: who takes part.
    """

    name: str
    title: str
    kind: Kind = "compare"
    requests: int = 20_000
    peer_requests: int | None = None
    per_message: int = 20
    lists: bool = False
    answer_bytes: int = 1_200
    latency_ms: float = 0.0
    tls: bool = False
    gzip: bool = False
    buckets: bool = False
    contestants: tuple[str, ...] = EVERYBODY

    def requests_of(self, contestant: str) -> int:
        """API calls of a run of this one."""
        if contestant != COLLECTOR and self.peer_requests is not None:
            return self.peer_requests
        return self.requests

    def of_size(self, requests: int) -> Scenario:
        """The same with another number of calls, and no more of them for a peer."""
        fewer = None if self.peer_requests is None else min(self.peer_requests, requests)
        return replace(self, requests=requests, peer_requests=fewer)


# One handle waits for each answer before it asks for the next: no floor where answers wait.
_WITHOUT_FLOOR = (COLLECTOR, *PEERS)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("small-gets", "answers of 1.2 kB, 20 calls a message"),
        Scenario(
            "one-a-message",
            "answers of 1.2 kB, one call a message",
            requests=4_000,
            per_message=1,
        ),
        Scenario(
            "long-lists",
            f"lists of {PAGES_PER_LIST} pages of {LIST_PAGE_ROWS} rows of 0.9 kB, one a message",
            requests=400,
            per_message=1,
            lists=True,
        ),
        Scenario("answers-20k", "answers of 20 kB", requests=5_000, answer_bytes=20_000),
        Scenario("answers-200k", "answers of 200 kB", requests=2_000, answer_bytes=200_000),
        Scenario(
            "latency-50",
            "answers after 50 ms",
            requests=20_000,
            peer_requests=5_000,
            latency_ms=50,
            contestants=_WITHOUT_FLOOR,
        ),
        Scenario(
            "latency-300",
            "answers after 300 ms",
            requests=20_000,
            peer_requests=2_000,
            latency_ms=300,
            contestants=_WITHOUT_FLOOR,
        ),
        Scenario("tls", "over TLS", requests=10_000, tls=True),
        Scenario("gzip", "compressed answers", requests=10_000, gzip=True),
        Scenario(
            "buckets",
            "throttled as ARM does",
            requests=10_000,
            buckets=True,
            contestants=_WITHOUT_FLOOR,
        ),
        Scenario(
            "steady",
            "a long queue",
            kind="steady",
            requests=100_000,
            contestants=(COLLECTOR,),
        ),
        Scenario(
            "start-up",
            "from the start to the first row in the table",
            kind="start",
            requests=20,
            contestants=_WITHOUT_FLOOR,
        ),
        Scenario(
            "drain",
            "told to stop in the middle",
            kind="drain",
            requests=10_000,
            latency_ms=50,
            contestants=(COLLECTOR,),
        ),
    )
}

"""Several collectors on one bucket of Azure's, simulated: each is told only what answers say."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count

from pipeline.arm_limits import Scope
from pipeline.sandbox.arm.buckets import TokenBucket
from stages.execute.throttle import Bucket, Ticket

SIZE, REFILL_PER_S = 250, 25.0
LEFT = "x-ms-ratelimit-remaining-subscription-reads"
SCOPE = Scope("s", "reads")
# Of each half of an answer's way.
JITTER = 0.3
# A process looks for what is due no more often.
TICK_S = 0.001


@dataclass
class Collector:
    """One that asks as fast as it may."""

    threads: int
    bucket: Bucket = field(default_factory=lambda: Bucket(SCOPE))
    done: int = 0
    refused: int = 0
    wake_s: float | None = None


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        done: calls answered, by collector.
        refused: calls refused, by collector.
        allowed: what the bucket would have allowed in that time.
    """

    done: list[int]
    refused: list[int]
    allowed: float

    @property
    def used(self) -> float:
        """Part of the budget that was used."""
        return sum(self.done) / self.allowed

    @property
    def refused_part(self) -> float:
        """Refused calls for each answered one."""
        return sum(self.refused) / sum(self.done)


def ask(
    collectors: int, latency_s: float, seconds: float, threads: int = 25, late_s: float = 0.0
) -> Outcome:
    """Let collectors ask for so long.

    Args:
        collectors: how many share the bucket.
        latency_s: of an answer, both ways, without jitter.
        seconds: how long.
        threads: of each.
        late_s: each starts so much after the one before it.
    """
    chance = random.Random(1)
    azure = TokenBucket(SIZE, REFILL_PER_S, 0.0)
    all_of_them = [Collector(threads) for _ in range(collectors)]
    order = count()
    events: list[tuple[float, int, str, Collector, tuple[Ticket, bool, int] | Ticket | None]] = [
        (late_s * number, next(order), "look", one, None) for number, one in enumerate(all_of_them)
    ]

    def way_s() -> float:
        return latency_s / 2 * chance.uniform(1 - JITTER, 1 + JITTER)

    def push(at_s: float, what: str, one: Collector, value: object = None) -> None:
        heapq.heappush(events, (at_s, next(order), what, one, value))  # type: ignore[misc]

    while events and events[0][0] < seconds:
        now_s, _, what, one, value = heapq.heappop(events)
        if what == "server":
            taken = azure.take(now_s)
            push(now_s + way_s(), "answer", one, (value, taken, azure.remaining))
            continue
        if what == "look" and one.wake_s == now_s:
            one.wake_s = None
        if what == "answer":
            ticket, taken, left = value  # type: ignore[misc]
            one.done += taken
            one.refused += not taken
            if not taken:
                one.bucket.block(ticket, 1.0, now_s, whole_scope=True)
            one.bucket.answered(ticket, {LEFT: str(left)}, now_s, refused=not taken)
        while one.bucket.under_way < one.threads:
            ready_s = one.bucket.ready_at(now_s, "")
            if ready_s > now_s:
                ready_s = max(ready_s, now_s + TICK_S)
                if one.wake_s is None or ready_s < one.wake_s:
                    one.wake_s = ready_s
                    push(ready_s, "look", one)
                break
            push(now_s + way_s(), "server", one, one.bucket.take(now_s, ""))
    return Outcome(
        [one.done for one in all_of_them],
        [one.refused for one in all_of_them],
        SIZE + REFILL_PER_S * seconds,
    )

"""What the simulator counts, and the log of its last requests."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

# Names that are counted; what comes after them is counted as "other".
KINDS_MAX = 2000
# Headers kept in the log. The token never is: only whether there was one.
LOGGED_HEADERS = (
    b"host",
    b"user-agent",
    b"accept",
    b"accept-encoding",
    b"content-type",
    b"connection",
    b"x-ms-client-request-id",
    b"x-ms-correlation-request-id",
    b"traceparent",
)


class Stats:
    """Counters since the start or the last reset.

    Args:
        log_requests: how many of the last requests are kept; 0 is none.
    """

    def __init__(self, log_requests: int = 0) -> None:
        self.under_way = 0
        self.reset()
        self.keep(log_requests)

    def reset(self) -> None:
        """Begin again at nothing."""
        self.answers = 0
        self.first_request_s: float | None = None
        self.last_answer_s: float | None = None
        self.by_status: Counter[int] = Counter()
        self.by_kind: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.connections_total = 0
        self.connections_most = 0
        # Those under way stay so.
        self.under_way_most = self.under_way
        if hasattr(self, "log"):
            self.log.clear()

    def keep(self, log_requests: int) -> None:
        """Keep so many of the last requests from now on."""
        self.log: deque[dict[str, Any]] = deque(maxlen=log_requests)

    def connected(self, open_now: int) -> None:
        """A connection was made; so many are open now."""
        self.connections_total += 1
        self.connections_most = max(self.connections_most, open_now)

    def began(self) -> None:
        """A request was read."""
        if self.first_request_s is None:
            self.first_request_s = time.time()
        self.under_way += 1
        if self.under_way > self.under_way_most:
            self.under_way_most = self.under_way

    def answered(self, kind: str, status: int) -> None:
        """An answer was sent; status 0 is a reset in its place."""
        self.under_way -= 1
        self.answers += 1
        self.last_answer_s = time.time()
        self.by_status[status] += 1
        if kind not in self.by_kind and len(self.by_kind) >= KINDS_MAX:
            kind = "other"
        self.by_kind[kind] += 1

    def abandoned(self, count: int) -> None:
        """The client went before so many of its answers."""
        self.under_way -= count

    def record(self, method: str, target: str, headers: dict[bytes, bytes], status: int) -> None:
        """Remember a request."""
        kept = {
            name.decode(): headers[name].decode("latin-1")
            for name in LOGGED_HEADERS
            if name in headers
        }
        self.log.append(
            {
                "method": method,
                "target": target,
                "headers": kept,
                "authorized": b"authorization" in headers,
                "status": status,
            }
        )

    def report(self, connections: int) -> dict[str, Any]:
        """All of it, for ``GET /_simulator/stats``."""
        return {
            "answers": self.answers,
            "first_request_s": self.first_request_s,
            "last_answer_s": self.last_answer_s,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "by_kind": dict(sorted(self.by_kind.items())),
            "faults": dict(self.faults),
            "connections": connections,
            "connections_total": self.connections_total,
            "connections_most": self.connections_most,
            "under_way": self.under_way,
            "under_way_most": self.under_way_most,
            "requests": list(self.log),
        }

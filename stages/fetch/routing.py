"""Which execute process gets a request: always the same one for a subscription.

Azure counts calls by subscription, so a scope that lives in one process needs no shared state. A
subscription seen for the first time goes to the process that is home to the fewest: it stays there,
so what the processes have to do at the moment says little. Pure.
"""

from __future__ import annotations

from collections import OrderedDict

# Subscriptions remembered; the one not used for longest is forgotten, its bucket relearned.
MAX_SUBSCRIPTIONS = 100_000


class Router:
    """Sticky routing of subscriptions to execute processes.

    Args:
        workers: names of the execute processes.

    Attributes:
        outstanding: requests that the processes hold, as far as this one handed them out.
    """

    def __init__(self, workers: list[str]) -> None:
        self.outstanding = 0
        self._outstanding = dict.fromkeys(workers, 0)
        self._home: OrderedDict[str, str] = OrderedDict()
        self._homes = dict.fromkeys(workers, 0)

    def route(self, subscription_id: str) -> str:
        """The process for a request of this subscription ("" for tenant-level requests)."""
        worker = self._home.get(subscription_id)
        if worker is None:
            worker = min(self._homes, key=lambda w: (self._homes[w], self._outstanding[w]))
            self._home[subscription_id] = worker
            self._homes[worker] += 1
            if len(self._home) > MAX_SUBSCRIPTIONS:
                _, left = self._home.popitem(last=False)
                self._homes[left] -= 1
        else:
            self._home.move_to_end(subscription_id)
        return worker

    def handed(self, worker: str, requests: int) -> None:
        """Count requests handed to a process, or, negative, taken off it."""
        requests = max(-self._outstanding[worker], requests)
        self._outstanding[worker] += requests
        self.outstanding += requests

    def reset(self, worker: str) -> None:
        """The process was replaced and has nothing to do yet."""
        self.handed(worker, -self._outstanding[worker])

"""What is left of the scopes of calls, for the status page. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from pipeline.messages import ScopeLevel
from stages.execute.throttle import Bucket

# Told of: the lowest ones, of those that were used last.
MAX_TOLD = 20
MAX_LOOKED_AT = 500
# Of a subscription's id: enough to tell it from others in a list, and too little to ask for it.
ID_CHARS = 8


def lowest(scopes: Iterable[tuple[Bucket, bool]], now_s: float) -> list[ScopeLevel]:
    """The scopes that Azure has least left of: those that pause first, then by what is left.

    Args:
        scopes: the last used first, each with whether requests wait for it.
        now_s: monotonic seconds.
    """
    found = [_level(bucket, waiting, now_s) for bucket, waiting in islice(scopes, MAX_LOOKED_AT)]
    return sorted(found, key=ScopeLevel.urgency)[:MAX_TOLD]


def _level(bucket: Bucket, waiting: bool, now_s: float) -> ScopeLevel:
    known = [level for m in bucket.gate.meters.values() if (level := m.level(now_s)) is not None]
    left, size = min(known, key=lambda level: level[0] / max(1.0, level[1]), default=(None, None))
    return ScopeLevel(
        kind=bucket.scope.kind,
        id=shortened(bucket.scope.subscription_id),
        left=None if left is None else round(max(0.0, left), 1),
        size=size,
        paused_s=round(bucket.gate.blocked_for_s(now_s), 1),
        waiting=waiting,
    )


def shortened(subscription_id: str) -> str:
    """The beginning of an id, with a mark where something is left out."""
    return subscription_id[:ID_CHARS] + ("…" if len(subscription_id) > ID_CHARS else "")

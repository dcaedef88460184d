"""What messages would ask of Azure: calls by subscription and service, and the least time. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.arm_limits import LIMITS, Scope, least_time_s, scope_of
from pipeline.commands.message_files import FileMessage, FileProblem
from pipeline.messages import PlannedRequest
from pipeline.permissions import Need, need_of

# Refused messages that are kept; the others are counted.
MAX_REFUSED_KEPT = 10_000

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S


@dataclass
class Plan:
    """What a collection would take, added up message by message.

    Attributes:
        messages: good ones.
        refused_count: messages, and files, that cannot be taken.
        refused: the first of those.
        calls: one for each request, by what Azure counts it in.
        by_service: the same calls.
        needs: permissions by subscription, where they are wanted.
    """

    messages: int = 0
    refused_count: int = 0
    refused: list[FileProblem] = field(default_factory=list)
    calls: Counter[Scope] = field(default_factory=Counter)
    by_service: Counter[str] = field(default_factory=Counter)
    needs: dict[str, set[Need]] = field(default_factory=lambda: defaultdict(set))

    @property
    def requests(self) -> int:
        """Requests of the good messages: the least number of calls."""
        return self.calls.total()

    def by_subscription(self) -> list[SubscriptionCalls]:
        """The calls of each subscription and of the tenant, most first."""
        kinds: dict[str, dict[str, int]] = defaultdict(dict)
        for scope, calls in self.calls.items():
            kinds[scope.subscription_id][scope.kind] = calls
        rows = [SubscriptionCalls(name, counted) for name, counted in kinds.items()]
        return sorted(rows, key=lambda row: (-row.calls, row.subscription_id))

    def slowest(self) -> Scope | None:
        """The scope that decides how long it takes at least; None if each one's calls go at once.

        Of two that take as long it is the one with more calls.
        """
        times = {scope: _time_s(scope, calls) for scope, calls in self.calls.items()}
        found = max(
            times, key=lambda scope: (times[scope], self.calls[scope], str(scope)), default=None
        )
        return found if found is not None and times[found] > 0 else None

    def least_time_s(self) -> float:
        """Seconds that ARM's published limits take at least."""
        slowest = self.slowest()
        return _time_s(slowest, self.calls[slowest]) if slowest is not None else 0.0

    def needs_by_calls(self) -> dict[str, set[Need]]:
        """What is needed in each subscription, the one with most calls first."""
        order = [row.subscription_id for row in self.by_subscription()]
        return {name: self.needs[name] for name in order if name in self.needs}


@dataclass(frozen=True)
class SubscriptionCalls:
    """The calls in one subscription, or "" for the tenant, by kind of :class:`Scope`."""

    subscription_id: str
    kinds: dict[str, int]

    @property
    def calls(self) -> int:
        """All of them."""
        return sum(self.kinds.values())

    @property
    def least_time_s(self) -> float:
        """Seconds that the slowest kind takes at least."""
        return max(
            _time_s(Scope(self.subscription_id, kind), calls) for kind, calls in self.kinds.items()
        )


def plan_of(items: Iterable[FileMessage | FileProblem], *, with_needs: bool = False) -> Plan:
    """Add up what these messages would ask.

    Args:
        items: see :func:`pipeline.commands.message_files.read_messages`; none of them is kept.
        with_needs: also collect the permissions that are needed.
    """
    plan = Plan()
    for item in items:
        if isinstance(item, FileProblem):
            plan.refused_count += 1
            if len(plan.refused) < MAX_REFUSED_KEPT:
                plan.refused.append(item)
            continue
        plan.messages += 1
        for request in item.parsed.requests:
            _add(plan, request, with_needs)
    return plan


def _add(plan: Plan, request: PlannedRequest, with_needs: bool) -> None:
    scope = scope_of(request.method, request.target, request.subscription_id, request.audience)
    plan.calls[scope] += 1
    plan.by_service[request.service] += 1
    if with_needs and request.subscription_id:
        plan.needs[request.subscription_id].add(need_of(request.method, request.target))


def _time_s(scope: Scope, calls: int) -> float:
    return least_time_s(calls, LIMITS.get(scope.kind))


def duration(seconds: float) -> str:
    """A time for people, in one unit or two, rounded up: ``30 s``, ``2 h 5 min``."""
    whole_s = math.ceil(seconds)
    if whole_s < _MINUTE_S:
        return f"{whole_s} s"
    if whole_s < _HOUR_S:
        return _two(whole_s, _MINUTE_S, "min", 1, "s")
    whole_s = math.ceil(whole_s / _MINUTE_S) * _MINUTE_S
    if whole_s < _DAY_S:
        return _two(whole_s, _HOUR_S, "h", _MINUTE_S, "min")
    return _two(math.ceil(whole_s / _HOUR_S) * _HOUR_S, _DAY_S, "d", _HOUR_S, "h")


def _two(whole_s: int, large_s: int, large: str, small_s: int, small: str) -> str:
    count, rest_s = divmod(whole_s, large_s)
    return f"{count:,} {large} {rest_s // small_s} {small}" if rest_s else f"{count:,} {large}"

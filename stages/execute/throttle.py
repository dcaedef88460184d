"""How fast a scope may be asked: never faster than Azure says, never slower than it allows.

Pure: the time is an argument. A scope is what Azure counts for one principal: a subscription (or
the tenant) and a kind of operation. Nothing is known of a scope at first, so a few calls go ahead;
from the first answer on its counts are followed (:mod:`stages.execute.meter`). A scope that says
nothing of its counts is asked ever more calls at a time until it refuses one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.arm_limits import Scope
from stages.execute.limit_headers import Reading, readings
from stages.execute.meter import Meter, Window

# Calls at once while nothing is known of a scope, and after it has refused one.
ROOM_AT_FIRST = 4
ROOM_AFTER_REFUSAL = 1
# A count that so many answers did not name is none any more.
FORGOTTEN_AFTER = 50
# Of one scope: counts of providers, and operations that they count apart.
MAX_METERS = 64
MAX_GATES = 256


@dataclass(slots=True)
class Ticket:
    """A call that was let through.

    Attributes:
        scope: it counts in.
        operation: what a provider may count it by.
        numbers: of the call, in each meter that counted it.
        gate: the operation's own, if there is one.
    """

    scope: Scope
    operation: str
    numbers: dict[Meter | Window, int]
    gate: Gate | None = None


class Gate:
    """Lets calls through: as many at once as go well, as fast as its meters say."""

    __slots__ = ("_blocked_until_s", "_room", "meters", "under_way")

    def __init__(self) -> None:
        self.meters: dict[str, Meter | Window] = {}
        self.under_way = 0
        self._room = ROOM_AT_FIRST
        self._blocked_until_s = -math.inf

    def ready_at(self, now_s: float) -> float:
        """When the next call may be made: ``now_s`` or before for now, infinite for not before
        an answer has come.
        """
        if now_s < self._blocked_until_s:
            return self._blocked_until_s
        if self.under_way >= self._room:
            return math.inf
        ready_s = now_s
        for meter in self.meters.values():
            if (meter_s := meter.ready_at(now_s)) > ready_s:
                ready_s = meter_s
        return ready_s

    def take(self, now_s: float, numbers: dict[Meter | Window, int]) -> None:
        """Let a call through; its numbers are added to these."""
        self.under_way += 1
        for meter in self.meters.values():
            numbers[meter] = meter.take(now_s)

    def done(self, went_well: bool) -> None:
        """A call came back."""
        self.under_way -= 1
        if went_well:
            self._room += 1

    def block(self, until_s: float, now_s: float) -> None:
        """Azure has refused a call and asked for a pause."""
        self._blocked_until_s = max(self._blocked_until_s, until_s)
        self._room = ROOM_AFTER_REFUSAL
        for meter in self.meters.values():
            meter.slow_down(now_s)

    def blocked_for_s(self, now_s: float) -> float:
        """How long a pause lasts that Azure asked for, in seconds; 0 for none."""
        return max(0.0, self._blocked_until_s - now_s)

    def unnamed(self, meters: Iterable[str], ticket: Ticket) -> None:
        """A call's answer did not name these: it did not count there, as far as one can tell."""
        for name in meters:
            meter = self.meters[name]
            meter.unread += 1
            if meter.unread > FORGOTTEN_AFTER:
                del self.meters[name]
            elif meter in ticket.numbers:
                meter.give_back()


@dataclass(slots=True)
class Bucket:
    """The calls a scope may make now: one gate for all, and one for each operation that its
    provider counts apart or has refused.
    """

    scope: Scope
    gate: Gate = field(default_factory=Gate)
    operations: dict[str, Gate] = field(default_factory=dict)

    @property
    def under_way(self) -> int:
        """Calls that have not come back."""
        return self.gate.under_way

    def ready_at(self, now_s: float, operation: str) -> float:
        """When the next call of an operation may be made; see :meth:`Gate.ready_at`."""
        ready_s = self.gate.ready_at(now_s)
        return ready_s if ready_s > now_s else self.operation_ready_at(now_s, operation)

    def operation_ready_at(self, now_s: float, operation: str) -> float:
        """The same where all of the scope may call."""
        gate = self.operations.get(operation)
        return gate.ready_at(now_s) if gate is not None else now_s

    def take(self, now_s: float, operation: str) -> Ticket:
        """Let a call through that is ready."""
        numbers: dict[Meter | Window, int] = {}
        gate = self.operations.get(operation)
        self.gate.take(now_s, numbers)
        if gate is not None:
            gate.take(now_s, numbers)
        return Ticket(self.scope, operation, numbers, gate)

    def answered(
        self, ticket: Ticket, headers: Mapping[str, str], now_s: float, refused: bool = False
    ) -> None:
        """A call came back: follow its headers.

        Args:
            ticket: the call's.
            headers: of the answer, found in any case.
            now_s: monotonic seconds.
            refused: it was answered 429.
        """
        self._done(ticket, not refused)
        provider = ticket.operation.partition(" ")[2].partition("/")[0]
        shared, apart = readings(headers, self.scope.kind, provider)
        self._read(self.gate, shared, ticket, now_s)
        if apart or ticket.gate is not None:
            gate = self._operation(ticket.operation)
            for reading in apart:
                # Operations share what their provider counts together.
                if reading.name not in gate.meters and (meter := self._meter(reading.name)):
                    gate.meters[reading.name] = meter
            self._read(gate, apart, ticket, now_s)

    def lost(self, ticket: Ticket) -> None:
        """A call got no answer."""
        self._done(ticket, False)

    def block(self, ticket: Ticket, wait_s: float, now_s: float, whole_scope: bool) -> None:
        """Azure has refused a call.

        Args:
            ticket: the call's.
            wait_s: seconds until it may be tried again.
            now_s: monotonic seconds.
            whole_scope: not only its operation.
        """
        gate = self.gate if whole_scope else self._operation(ticket.operation)
        gate.block(now_s + wait_s, now_s)

    def _done(self, ticket: Ticket, went_well: bool) -> None:
        self.gate.done(went_well)
        if ticket.gate is not None:
            ticket.gate.done(went_well)

    def _operation(self, operation: str) -> Gate:
        gate = self.operations.get(operation)
        if gate is None:
            if len(self.operations) >= MAX_GATES:
                idle = next((n for n, g in self.operations.items() if not g.under_way), None)
                if idle is not None:
                    del self.operations[idle]
            gate = self.operations[operation] = Gate()
        return gate

    def _meter(self, name: str) -> Meter | Window | None:
        for gate in self.operations.values():
            if (meter := gate.meters.get(name)) is not None:
                return meter
        return None

    @staticmethod
    def _read(gate: Gate, found: list[Reading], ticket: Ticket, now_s: float) -> None:
        meters = gate.meters
        if len(meters) != len(found) or any(reading.name not in meters for reading in found):
            gate.unnamed(meters.keys() - {reading.name for reading in found}, ticket)
        for reading in found:
            meter = gate.meters.get(reading.name)
            if meter is None:
                if len(gate.meters) >= MAX_METERS:
                    continue
                meter = gate.meters[reading.name] = _meter_for(reading, now_s, gate.under_way)
                number = 0
            else:
                taken = ticket.numbers.get(meter)
                if taken is None:
                    continue  # a call from before the meter was made: others tell more
                number = taken
            if isinstance(meter, Window):
                meter.read(reading.left, number, now_s, reading.resets_after_s or 0.0)
            else:
                meter.read(reading.left, number, now_s)


def _meter_for(reading: Reading, now_s: float, under_way: int) -> Meter | Window:
    """A meter for a count that was not known; the calls under way count in it too."""
    meter: Meter | Window
    if reading.resets_after_s is not None:
        meter = Window(now_s)
    else:
        meter = Meter(reading.size, reading.refill_per_s, now_s)
    for _ in range(under_way):
        meter.take(now_s)
    return meter

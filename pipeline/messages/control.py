"""What the supervisor and its stages say to each other over the control links."""

from __future__ import annotations

import math

import msgspec

from pipeline.messages.base import Link


class Attach(Link, frozen=True):
    """This process's end of a new link; its file descriptor travels beside this frame.

    Attributes:
        peer: process at the other end, e.g. ``execute-1``.
        generation: counts the processes that have stood in the peer's place, from 1.
        descriptors: how many come with the frame.
    """

    peer: str
    generation: int
    descriptors: int = 1


class Assume(Link, frozen=True):
    """To a process that stands by: be the stage from now on."""


class Begin(Link, frozen=True):
    """Every stage stands: start taking messages.

    Attributes:
        until_empty: the collector ends once the queue is empty, so nothing waits for company.
        draining: it is ending, and the process is in the place of one that died: take none.
    """

    until_empty: bool = False
    draining: bool = False


class Drain(Link, frozen=True):
    """Take nothing new, finish what is here, then say :class:`Drained`.

    Attributes:
        within_s: seconds to finish in; what is left then is let go.
        last: for ``fetch``: everything is loaded, so delete what is done and release the rest.
        after: processes that have drained already. Each has said :class:`Drained` on its links,
            after its last word: who drains after it hears it out first.
    """

    within_s: float
    last: bool = False
    after: tuple[str, ...] = ()


class Stop(Link, frozen=True):
    """Exit now; everything is done."""


class Ready(Link, frozen=True):
    """The stage stands and has reached what it depends on."""


class Drained(Link, frozen=True):
    """The stage holds nothing any more. To the supervisor, and to its peers on every link."""


class StartFailed(Link, frozen=True):
    """The stage cannot start: ends the collector with this exit code and text."""

    exit_code: int
    problem: str


class Excused(Link, frozen=True):
    """From ``fetch``: the last death of this process was a message's doing, so no crash loop."""

    process: str


class LogEvent(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A line of a log, without secrets.

    Attributes:
        at: ISO 8601.
        level: e.g. ``WARNING``.
        process: whose, e.g. ``execute-0``.
        action: what happened, in a stable word.
        message: what happened, shortened.
    """

    at: str
    level: str
    process: str
    action: str
    message: str


class ScopeLevel(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What Azure has left of one scope of calls, as far as is known.

    Attributes:
        kind: ``reads``, ``writes``, ``graph`` or ``microsoft_graph``.
        id: the subscription's, shortened; empty for the tenant.
        left: calls; None if Azure has not said.
        size: calls when it is full; None if Azure has not said.
        paused_s: seconds for which Azure has asked to pause; 0 for none.
        waiting: requests wait for it.
    """

    kind: str
    id: str
    left: float | None
    size: float | None
    paused_s: float
    waiting: bool

    def urgency(self) -> tuple[bool, float]:
        """For sorting: those that pause come first, then those with the least part left."""
        left = math.inf if self.left is None else self.left / max(1.0, self.size or 1.0)
        return not self.paused_s, left


class Heartbeat(Link, frozen=True):
    """The stage's loop turns.

    Attributes:
        idle: nothing is held, in flight or waiting here.
        counters: by series, those that have changed; each only grows.
        gauges: by series, all of them as of now.
        histograms: by series, those that have changed: sum, then count of each bucket.
        reached: for each dependency the seconds since it has last answered; None if it did not.
        events: of the log, from WARNING on.
        scopes: the lowest levels; None for as they were.
    """

    idle: bool
    counters: dict[str, float]
    gauges: dict[str, float]
    histograms: dict[str, list[float]] = msgspec.field(default_factory=dict)
    reached: dict[str, float | None] = msgspec.field(default_factory=dict)
    events: list[LogEvent] = msgspec.field(default_factory=list)
    scopes: list[ScopeLevel] | None = None

"""What the supervisor and its stages say to each other over the control links."""

from __future__ import annotations

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
    """

    until_empty: bool = False


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


class Heartbeat(Link, frozen=True):
    """The stage's loop turns. Counters only grow; gauges are as of now.

    Attributes:
        idle: nothing is held, in flight or waiting here.
    """

    idle: bool
    counters: dict[str, float]
    gauges: dict[str, float]

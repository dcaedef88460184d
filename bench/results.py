"""What came of the runs, and the figures in it: medians with their spread, ratios pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from bench.scenarios import Scenario

MICROSECOND = 1e-6


class Spread(NamedTuple):
    """A figure of several runs."""

    median: float
    least: float
    most: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one contestant.

    Attributes:
        contestant: its name.
        title: of it, for a table.
        round: number of the round, from 0; the runs of a round are compared with each other.
        problem: why it does not count; empty for a whole one.
        calls: that it had to make.
        rows: that it had to load.
        messages: that it had to read; 0 for the floor.
        wall_s: from its start to its end.
        processor_s: of its whole process tree.
        system_s: of that, in the kernel.
        start_processor_s: of that, before its first call.
        first_call_s: from its start to its first call.
        calling_s: from its first call to the last answer.
        steady_per_s: calls a second between a tenth and nine tenths of them; 0 if not known.
        refused: calls that were answered 429.
        peak_bytes: the most memory its tree had at once.
        by_process: processor time by what the processes call themselves.
    """

    contestant: str
    title: str
    round: int
    problem: str = ""
    calls: int = 0
    rows: int = 0
    messages: int = 0
    wall_s: float = 0.0
    processor_s: float = 0.0
    system_s: float = 0.0
    start_processor_s: float = 0.0
    first_call_s: float = 0.0
    calling_s: float = 0.0
    steady_per_s: float = 0.0
    refused: int = 0
    peak_bytes: int = 0
    by_process: dict[str, float] = {}

    @property
    def call_us(self) -> float:
        """Processor time a call, everything included, microseconds."""
        return self.processor_s / self.calls / MICROSECOND

    @property
    def started_call_us(self) -> float:
        """The same without what came before the first call."""
        return (self.processor_s - self.start_processor_s) / self.calls / MICROSECOND

    @property
    def message_us(self) -> float:
        """Processor time a message without what came before the first call, microseconds."""
        used_s = self.processor_s - self.start_processor_s
        return used_s / self.messages / MICROSECOND if self.messages else 0.0

    @property
    def calls_per_s(self) -> float:
        """From the first call to the last answer."""
        return self.calls / self.calling_s if self.calling_s > 0 else 0.0

    @property
    def whole_per_s(self) -> float:
        """Calls a second from its start to its end, with all rows loaded."""
        return self.calls / self.wall_s


def spread(values: Iterable[float]) -> Spread:
    """Of one value at least."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1])


def whole(runs: Iterable[Run], title: str) -> list[Run]:
    """The runs of a contestant that count, by its title."""
    return [run for run in runs if run.title == title and not run.problem]


def ratios(ours: Sequence[Run], theirs: Sequence[Run], figure: str) -> Spread | None:
    """A figure of ours as a multiple of theirs, run by run of the same round.

    Args:
        ours: runs that count.
        theirs: of another.
        figure: name of a property of :class:`Run`.

    Returns:
        ``None`` if no round has both.
    """
    other = {run.round: float(getattr(run, figure)) for run in theirs}
    found = [float(getattr(run, figure)) / other[run.round] for run in ours if other.get(run.round)]
    return spread(found) if found else None


def steady_rate(samples: Sequence[tuple[float, int]], calls: int) -> float:
    """Calls a second between a tenth and nine tenths of all calls.

    Args:
        samples: seconds, and calls answered so far, in the order of time.
        calls: all of them.

    Returns:
        0 if the samples do not tell.
    """
    middle = [(at_s, done) for at_s, done in samples if calls * 0.1 <= done <= calls * 0.9]
    if len(middle) < 2:
        return 0.0
    (first_s, first), (last_s, last) = middle[0], middle[-1]
    return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a contestant took to start, or to drain.

    Attributes:
        contestant: its name.
        title: of it, for a table.
        round: number of the round, from 0.
        problem: why it does not count; empty if it does.
        seconds: from its start to its first row in the table; or from the signal to its end.
        note: what else there is to say, in a few words.
    """

    contestant: str
    title: str
    round: int
    problem: str = ""
    seconds: float = 0.0
    note: str = ""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a process tree over a run.

    Attributes:
        title: of the contestant.
        peak_bytes: the most that the whole tree had at once, what is shared counted once.
        quarters: by process, the most it had resident in each quarter of the calls' time.
        times_s: seconds since its start, of the samples.
        series: by process, bytes at those times; 0 while it is not there.
    """

    title: str
    peak_bytes: int
    quarters: dict[str, list[int]]
    times_s: list[float]
    series: dict[str, list[int]]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All of a scenario; what is written as JSON.

    Attributes:
        scenario: as it was run.
        profile: of the collector.
        at_once: calls that the collector has under way at most.
        batch_timeout_s: of its profile.
        command: that made it.
        made_on: day, as 2026-01-31.
        machine: in general words.
        runs: of a comparison.
        timed: of a start or a drain.
        memory: of the collector over a long run.
    """

    scenario: Scenario
    profile: str
    at_once: int
    batch_timeout_s: float
    command: str
    made_on: str
    machine: str
    runs: list[Run] = []
    timed: list[Timed] = []
    memory: list[Memory] = []

    @property
    def problems(self) -> list[str]:
        """What does not count, and why, in a line each."""
        made: list[Run | Timed] = [*self.runs, *self.timed]
        return [
            f"{one.title}, round {one.round + 1}: {one.problem.splitlines()[0]}"
            for one in made
            if one.problem
        ]

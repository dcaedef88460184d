"""What a soak has shown, in Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.figures import machine, table
from tests.acceptance.chaos.figures import summary
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.memory import MIB
from tests.acceptance.chaos.strikes import Strike

GIB = 1024 * MIB


@dataclass
class Soaked:
    """What happened.

    Attributes:
        collectors: at once.
        faulty_s: seconds with faults.
        seconds: until the queue was empty.
        strikes: on processes, those that were not timed too.
        timed: those on a collector that was hit by nothing else until it had got over it.
        drains: collectors that were asked to end.
        faults: of ARM and the network: requests that they befell, by where and kind.
        calls: answers of the simulator.
        peaks: largest resident size in bytes, by kind of process.
        restarts: stages that came back.
        starts: of collectors.
        exits: of collectors, by exit code; negative is a signal.
        gave_up: collectors that ended by themselves, by exit code.
        failed: stages that ended by themselves.
    """

    collectors: int
    faulty_s: float = 0.0
    seconds: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    timed: list[Strike] = field(default_factory=list)
    drains: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    peaks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    restarts: int = 0
    starts: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    gave_up: Counter[int] = field(default_factory=Counter)
    failed: int = 0

    def struck(self) -> Counter[str]:
        """How often each kind of process, or pair, was killed."""
        return Counter(strike.kind for strike in self.strikes)


def report(done: Soaked, job: Job) -> str:
    """The report of a soak whose tables were found whole.

    Args:
        done: what happened.
        job: what was sent.
    """
    parts = [
        "# Soak",
        f"{done.collectors} collectors on one queue and one host. For {done.faulty_s:.0f} s their "
        "processes were killed, they were drained and started again, ARM answered with errors and "
        "the network broke, all at random; then they were left alone until the queue was empty, "
        f"{done.seconds:.0f} s after the start. The tables and the poison queue were compared with "
        "what was sent, row by row: **nothing is lost, nothing is doubled**, nothing is besides.",
        _figures(_outcome(done, job)),
        "## Faults",
        _figures(_faults(done)),
        "## Until work went on",
        "From SIGKILL until a new process of that name did its work again; for the supervisor, "
        "until a new collector had all its stages, which includes a random pause before its "
        "start. Only where nothing else hit that collector meanwhile.",
        _resumptions(done),
        "## Memory",
        "Largest resident size of any process of that kind.",
        table(("process", "MiB"), [(k, f"{v / MIB:.0f}") for k, v in sorted(done.peaks.items())]),
        "## Made with",
        f"`python -m tests.acceptance.chaos.soak`, {datetime.now(UTC):%Y-%m-%d}, {machine()}; "
        "Azurite, the ARM simulator, fakesnow and the fault proxies on the same machine.",
    ]
    return "\n\n".join(parts) + "\n"


def _outcome(done: Soaked, job: Job) -> Mapping[str, int]:
    return {
        "messages": job.sent,
        "of them poison, each with its reason": job.poison,
        "requests": job.requests,
        "calls answered": done.calls,
        "rows": job.rows,
        **{
            f"messages finished at delivery {delivery}": count
            for delivery, count in job.deliveries().items()
        },
        "rows lost": 0,
        "rows doubled": 0,
        "stages restarted": done.restarts,
        "collectors started": done.starts,
        "collectors that gave up because a dependency was away": done.gave_up.total(),
        "stages that failed by themselves": done.failed,
    }


def _faults(done: Soaked) -> Mapping[str, int]:
    killed = {f"SIGKILL: {kind}": count for kind, count in sorted(done.struck().items())}
    return {**killed, "SIGTERM: drained": done.drains, **dict(sorted(done.faults.items()))}


def _figures(figures: Mapping[str, int]) -> str:
    return table(("", "number"), [(name, f"{count:,}") for name, count in figures.items()])


def _resumptions(done: Soaked) -> str:
    by_kind: dict[str, list[float]] = defaultdict(list)
    for strike in done.timed:
        by_kind[strike.kind].append(strike.seconds)
    rows = [(kind, *summary(seconds)) for kind, seconds in sorted(by_kind.items())]
    return table(("killed", "timed", "median s", "max s"), rows)

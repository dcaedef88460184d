"""SIGKILL of every process of a collector at random moments under load, and the figures of it.

As a command it starts a sandbox of its own, and holds the collector to its times too::

    python -m tests.acceptance.chaos.kills

Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

from bench.figures import table
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.events import EventLog
from tests.acceptance.chaos.figures import summary
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.strikes import STAGES, SUPERVISOR, Strike, Target
from tests.acceptance.supervised import DRAIN_TIMEOUT_S, Supervisord, supervisord
from tests.processes import until

KILLS = 50
MESSAGES = 3_000
# Every so-many-th message breaks a rule.
BAD_EACH = 40
# Of the kills: the supervisor alone, two stages, the supervisor and a stage; the rest one stage.
SUPERVISOR_SHARE, STAGES_SHARE, BOTH_SHARE = 0.1, 0.18, 0.06
# Sent before the first kill, so that work is there from the beginning.
FIRST_MESSAGES = 200
# Between two kills, at random up to this.
PAUSE_S = 0.7
# Kills that come before the collector has got over the last one.
OVERLAPPING_SHARE = 0.15
# After which the run is broken; what is asked of a quiet machine is far less.
RESUME_LIMIT_S = 20.0
# So that a run is always in its middle: about 200 calls a second by 8 threads.
LATENCY_MS = 40
SETTINGS = {
    "NUM_THREADS": "4",
    "MAX_IN_FLIGHT": "400",
    "VISIBILITY_TIMEOUT": "20",
    "BATCH_TIMEOUT": "0.3",
    "BATCH_SIZE": "200",
    "LOG_LEVEL": "DEBUG",
}
ARM_OPTIONS = ["--subscriptions", "16", "--vms", "6", "--page-size", "5"]
# Of the table: how often, and seconds until a new process stood and until it did its work; apart
# where its restart was held back.
FIGURES = (
    *("killed", "times", "prompt", "stands, median s", "max s", "works, median s", "max s"),
    *("held back", "works, max s"),
)
# What the collector is held to on a machine that does nothing else, in seconds.
STAGE_LIMIT_S = 2.0
SUPERVISOR_LIMIT_S = 5.0


@dataclass
class Kills:
    """What happened.

    Attributes:
        strikes: in their order.
        clean: those after which nothing else was struck until the collector had got over it.
        depths: messages in the queue at each.
        deliveries: messages by the delivery that finished them.
        seconds: from the first kill to the last.
    """

    strikes: list[Strike] = field(default_factory=list)
    clean: list[Strike] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    deliveries: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def processes(self) -> Counter[str]:
        """How often each process was killed."""
        return Counter(name for strike in self.strikes for name in strike.names)

    def kinds(self) -> Counter[str]:
        """How many strikes of each kind there were."""
        return Counter(strike.kind for strike in self.strikes)

    def figures(self) -> str:
        """Seconds until work went on, by kind; apart where a restart was held back."""
        rows = []
        for kind, count in sorted(self.kinds().items()):
            timed = [strike for strike in self.clean if strike.kind == kind]
            prompt = [strike for strike in timed if not strike.held_back]
            held_back = summary([strike.seconds for strike in timed if strike.held_back])
            stands = summary([max(strike.stands_s.values()) for strike in prompt])
            works = summary([strike.seconds for strike in prompt])
            rows.append([kind, count, *stands, *works[1:], held_back[0], held_back[2]])
        delivered = ", ".join(f"{count} at {number}" for number, count in self.deliveries.items())
        return (
            f"{table(FIGURES, rows)}\n\n{len(self.strikes)} kills in {self.seconds:.0f} s; "
            f"messages by the delivery that finished them: {delivered}"
        )

    def late(self) -> list[Strike]:
        """Those of one process, not held back, after which work went on later than it has to."""
        limits = dict.fromkeys(STAGES, STAGE_LIMIT_S) | {SUPERVISOR: SUPERVISOR_LIMIT_S}
        return [
            strike
            for strike in self.clean
            if len(strike.names) == 1
            and not strike.held_back
            and strike.seconds > limits[strike.names[0]]
        ]


def plan(count: int, chance: random.Random) -> list[tuple[str, ...]]:
    """Who is killed together, in a random order: each stage as often as the others.

    Args:
        count: how many kills.
        chance: of the order, and of the pairs.
    """
    supervisor, two, both = (
        round(count * share) for share in (SUPERVISOR_SHARE, STAGES_SHARE, BOTH_SHARE)
    )
    pairs = list(combinations(STAGES, 2))
    chance.shuffle(pairs)
    planned: list[tuple[str, ...]] = [(SUPERVISOR,)] * supervisor
    planned += islice(cycle(pairs), two)
    planned += [(SUPERVISOR, chance.choice(STAGES)) for _ in range(both)]
    planned += [(name,) for name in islice(cycle(STAGES), count - len(planned))]
    chance.shuffle(planned)
    return planned


def run(
    settings: dict[str, str],
    folder: Path,
    *,
    kills: int = KILLS,
    messages: int = MESSAGES,
    seed: int = 1,
    say: Callable[[str], object] = print,
) -> tuple[Kills, Job]:
    """Kill a collector under supervisord while it collects, until everything is collected.

    Args:
        settings: of a sandbox with an empty queue.
        folder: for the collector's log and spool.
        kills: how often.
        messages: good and bad ones.
        seed: of who is killed when.
        say: told how it goes, a line at a time.

    Returns:
        What happened, and the job to compare the tables with.
    """
    settings = {**settings, **SETTINGS}
    job = Job(settings, seed)
    job.arm.settings(latency_ms=LATENCY_MS)
    chance = random.Random(seed)
    done = Kills()

    def allowed() -> int:
        share = len(done.strikes) / kills
        return FIRST_MESSAGES + int((messages - FIRST_MESSAGES) * share)

    with (
        supervisord(settings, folder) as up,
        job.feeding(messages, BAD_EACH, allowed) as feeder,
    ):
        up.await_collecting()
        target = Target(
            EventLog(up.log_file), up.collector, urlsplit(settings["AZURE_ARM_ENDPOINT"]).port or 0
        )
        job.await_calls(1)
        began_s = time.monotonic()
        for names in plan(kills, chance):
            time.sleep(chance.uniform(0.0, PAUSE_S))
            done.depths.append(job.left())
            strike = target.strike(names)
            done.strikes.append(strike)
            if SUPERVISOR in names or chance.random() >= OVERLAPPING_SHARE:
                target.await_working(strike, RESUME_LIMIT_S)
                done.clean.append(strike)
            say(f"{len(done.strikes):3} {' and '.join(names)}: {_outcome(strike)}")
        done.seconds = time.monotonic() - began_s
        job.arm.settings(latency_ms=0)
        feeder.join()
        job.await_empty()
        _end(up)
    done.deliveries = job.deliveries()
    return done, job


def _outcome(strike: Strike) -> str:
    return f"{strike.seconds:.2f} s" if strike.over else "not waited for"


def _end(up: Supervisord) -> None:
    up.process.terminate()
    until(lambda: up.process.poll() is not None, DRAIN_TIMEOUT_S + 10, up.log[-4000:])
    assert up.process.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it in a sandbox of its own; 1 if work went on later than it has to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, Sandbox(arm_options=ARM_OPTIONS) as sandbox:
        done, job = run(
            sandbox.settings,
            Path(folder),
            kills=given.kills,
            messages=given.messages,
            seed=given.seed,
        )
        job.assert_whole()
    print(f"\n{done.figures()}\n")
    for strike in done.late():
        print(f"late: {strike}")
    return 1 if done.late() else 0


if __name__ == "__main__":
    sys.exit(main())

"""A scenario in rounds: in each, every contestant once, one after the other.

What is compared was measured within the same minutes, because a machine is not the same for long.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.contestants import PEERS_FOLDER, URLS_FILE, Contestant
from bench.measured import Usage
from bench.one_run import run_once
from bench.results import Run
from bench.scenarios import Scenario
from bench.stand import Arm, BenchError, Stand, environment
from bench.work import Work, work_of

WARM_LIMIT_S = 600.0

Say = Callable[[str], None]


class Compared(NamedTuple):
    """What came of a scenario.

    Attributes:
        scenario: as it was run.
        runs: in the order in which they were made.
        usages: of the collector's runs that count, with their samples.
    """

    scenario: Scenario
    runs: list[Run]
    usages: list[tuple[Run, Usage]]


def compare(
    stand: Stand, scenario: Scenario, taking_part: Sequence[Contestant], rounds: int, say: Say
) -> Compared:
    """Run a scenario.

    Args:
        stand: where.
        scenario: what.
        taking_part: who.
        rounds: how often.
        say: told each run in a line.

    Raises:
        BenchError: the simulator does not answer as it should.
        SandboxError: it does not start.
    """
    runs: list[Run] = []
    usages: list[tuple[Run, Usage]] = []
    with stand.arm(scenario) as arm:
        work = work_of(scenario, arm)
        warm(stand, arm, work)
        for number in range(rounds):
            for contestant in in_turn(taking_part, number):
                mine = work.first(scenario.requests_of(contestant.name))
                run, usage = run_once(stand, arm, scenario, contestant, mine, number)
                runs.append(run)
                if usage is not None and contestant.is_collector and not run.problem:
                    usages.append((run, usage))
                say(line(run))
    return Compared(scenario, runs, usages)


def in_turn(taking_part: Sequence[Contestant], number: int) -> list[Contestant]:
    """Forwards and backwards in turn: the first may find the machine other than the last.

    Neighbours stay neighbours.
    """
    return list(taking_part if number % 2 == 0 else reversed(taking_part))


def warm(stand: Stand, arm: Arm, work: Work) -> None:
    """Have every answer made once, so that the simulator has it ready.

    Raises:
        BenchError: one was refused.
    """
    (stand.folder / URLS_FILE).write_text("\n".join(work.urls))
    done = subprocess.run(
        [sys.executable, str(PEERS_FOLDER / "pycurl_floor.py"), URLS_FILE],
        cwd=stand.folder,
        env=environment(dict(arm.settings)),
        capture_output=True,
        text=True,
        timeout=WARM_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the simulator did not answer: {done.stdout}{done.stderr}")


def line(run: Run) -> str:
    """A run in a line."""
    if run.problem:
        return f"round {run.round + 1}, {run.title}: does not count: {run.problem}"
    return (
        f"round {run.round + 1}, {run.title}: {run.wall_s:.1f} s, "
        f"{run.call_us:,.0f} µs of processor a call ({run.started_call_us:,.0f} without its start),"
        f" {run.calls_per_s:,.0f} calls/s, {run.peak_bytes / 2**20:,.0f} MiB"
    )

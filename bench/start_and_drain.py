"""How long it takes to start, until the first row is in the table, and to stop, until it ended."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import msgspec

from bench.compare import in_turn, warm
from bench.contestants import Contestant
from bench.one_run import Running, configure, running
from bench.queue_messages import send
from bench.results import Timed
from bench.scenarios import Scenario
from bench.stand import Arm, BenchError, Place, Stand
from bench.work import Work, work_of
from pipeline.errors import CollectorError
from stages.load.session import Session

FIRST_ROW_LIMIT_S = 120.0
HALF_LIMIT_S = 300.0
END_LIMIT_S = 120.0
LOOK_S = 0.05

Say = Callable[[str], None]
# One of them, measured once.
Measure = Callable[[Stand, Arm, Contestant, Work, Timed], Timed]


def start_up(
    stand: Stand, scenario: Scenario, taking_part: Sequence[Contestant], rounds: int, say: Say
) -> list[Timed]:
    """From the start of each contestant to its first row in the table.

    Args:
        stand: where.
        scenario: what.
        taking_part: who.
        rounds: how often.
        say: told each run in a line.
    """
    return _rounds(stand, scenario, taking_part, rounds, say, _start_once)


def drain(
    stand: Stand, scenario: Scenario, taking_part: Sequence[Contestant], rounds: int, say: Say
) -> list[Timed]:
    """From the signal to the collector's end, when half of the calls are made.

    Another collector then does what is left: a drain counts if every row is in the table once.
    The arguments are those of :func:`start_up`.
    """

    def once(stand: Stand, arm: Arm, contestant: Contestant, work: Work, timed: Timed) -> Timed:
        return _drain_once(stand, arm, scenario, contestant, work, timed)

    return _rounds(stand, scenario, taking_part, rounds, say, once)


def _rounds(
    stand: Stand,
    scenario: Scenario,
    taking_part: Sequence[Contestant],
    rounds: int,
    say: Say,
    measure: Measure,
) -> list[Timed]:
    found: list[Timed] = []
    with stand.arm(scenario) as arm:
        work = work_of(scenario, arm)
        warm(stand, arm, work)
        for number in range(rounds):
            for contestant in in_turn(taking_part, number):
                timed = Timed(contestant=contestant.name, title=contestant.title, round=number)
                configure(arm, scenario)
                try:
                    timed = measure(stand, arm, contestant, work, timed)
                except CollectorError as error:
                    timed = msgspec.structs.replace(timed, problem=str(error))
                say(line(timed))
                found.append(timed)
    return found


def line(timed: Timed) -> str:
    """One of them in a line."""
    if timed.problem:
        return f"round {timed.round + 1}, {timed.title}: does not count: {timed.problem}"
    return f"round {timed.round + 1}, {timed.title}: {timed.seconds:.2f} s; {timed.note}"


# ── start ────────────────────────────────────────────────────────────────────────────────────────


def _start_once(stand: Stand, arm: Arm, contestant: Contestant, work: Work, timed: Timed) -> Timed:

    with stand.place(arm) as place, stand.session(place.settings) as session:
        send(place.settings, list(work.texts()))
        with running(contestant, place, until_empty=False) as program:
            _wait(program, lambda: _rows(session), FIRST_ROW_LIMIT_S, "no row was loaded")
            seconds = time.time() - program.began_s
            _stop(program) if contestant.is_collector else _ended(program)
            usage = program.usage()
        contestant.collected(session, work)
        first_s = seconds - (program.began_s - usage.began_s)
        return msgspec.structs.replace(
            timed, seconds=first_s, note=f"{usage.processor_s:.1f} s of processor from start to end"
        )


def _rows(session: Session) -> int:
    try:
        return int(session.value("SELECT COUNT(*) FROM RESOURCES"))
    except CollectorError:
        return 0  # the table is not there yet


# ── drain ────────────────────────────────────────────────────────────────────────────────────────


def _drain_once(
    stand: Stand,
    arm: Arm,
    scenario: Scenario,
    contestant: Contestant,
    work: Work,
    timed: Timed,
) -> Timed:
    def half() -> bool:
        return _answered(arm) >= work.calls / 2

    with stand.place(arm) as place, stand.session(place.settings) as session:
        send(place.settings, list(work.texts()))
        with running(contestant, place, until_empty=False) as program:
            _wait(program, half, HALF_LIMIT_S, "half of the calls were not made")
            signalled_s, before = time.time(), _answered(arm)
            _stop(program)
            seconds = program.usage().ended_s - signalled_s
        after, loaded, left = _answered(arm), _rows(session), place.messages_left()
        if not left:
            raise BenchError("there was nothing left to drain")
        configure(arm, scenario)
        with running(contestant, _again(place)) as program:
            _ended(program, HALF_LIMIT_S)
            program.usage()
        contestant.collected(session, work)
    note = f"{after - before:,} more calls answered, {loaded:,} rows loaded, {left:,} messages left"
    return msgspec.structs.replace(timed, seconds=seconds, note=note)


def _answered(arm: Arm) -> int:
    return int(arm.control.stats()["by_status"].get("200", 0))


def _again(place: Place) -> Place:
    """The same place for another collector."""
    (place.folder / "usage.json").unlink()
    return place


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────


def _wait(program: Running, what: Callable[[], object], limit_s: float, problem: str) -> None:
    deadline_s = time.monotonic() + limit_s
    while not what():
        if not program.runs:
            if what():  # it came with its end
                return
            raise BenchError(f"it ended, and {problem}; its last output:\n{program.said()}")
        if time.monotonic() > deadline_s:
            raise BenchError(f"{problem} within {limit_s:.0f} s")
        time.sleep(LOOK_S)


def _stop(program: Running) -> None:
    program.process.send_signal(signal.SIGTERM)
    _ended(program)


def _ended(program: Running, limit_s: float = END_LIMIT_S) -> None:
    try:
        program.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise BenchError(f"it has not ended after {limit_s:.0f} s") from None

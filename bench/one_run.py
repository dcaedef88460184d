"""One run of one contestant: a queue with messages in it, the program, and what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench import measured
from bench.contestants import URLS_FILE, Contestant
from bench.measured import Usage
from bench.queue_messages import send
from bench.results import Run, steady_rate
from bench.scenarios import Scenario
from bench.stand import Arm, BenchError, Place, Stand
from bench.work import Work
from pipeline.errors import CollectorError

# A run that takes longer than this, and so many times what its latency and buckets ask for, failed.
LIMIT_S = 120.0
LIMIT_PER_CALL_S = 0.03
LIMIT_FACTOR = 3.0
# ARM's refill of a bucket, which the simulator has too.
REFILL_PER_S = 25.0
# Peers have as few calls under way at once.
FEWEST_AT_ONCE = 25
# How often the simulator is asked how far it is.
LOOK_S = 0.25
KILL_LIMIT_S = 20.0
# Of multiprocessing, which starts it beside every program that uses it.
RESOURCE_TRACKER = "multiprocessing.resource_tracker"
# Of a program's output, what an error shows.
SHOWN_CHARS = 2000

Say = Callable[[str], None]


@dataclass
class Running:
    """A contestant that runs.

    Attributes:
        process: of :mod:`bench.measured`, which passes signals on.
        place: where it works.
        began_s: seconds since the epoch.
        looks: seconds since the epoch, and calls answered by then.
    """

    process: subprocess.Popen[bytes]
    place: Place
    began_s: float
    looks: list[tuple[float, int]] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def usage(self) -> Usage:
        """What it used; after its end.

        Raises:
            BenchError: it was not measured, or failed.
        """
        file = self.place.folder / "usage.json"
        if not file.exists():
            raise BenchError(f"it was not measured; its last output:\n{self.said()}")
        usage = measured.read(file)
        if usage.exit_code != 0:
            raise BenchError(f"exit code {usage.exit_code}; its last output:\n{self.said()}")
        return usage

    def said(self) -> str:
        """The end of its output."""
        return _output(self.place).read_text(errors="replace")[-SHOWN_CHARS:]


@contextmanager
def running(contestant: Contestant, place: Place, *, until_empty: bool = True) -> Iterator[Running]:
    """Start a contestant; it does not outlive the context."""
    command = [sys.executable, "-m", "bench.measured", "--out", "usage.json", "--"]
    with _output(place).open("ab") as output:
        began_s = time.time()
        process = subprocess.Popen(
            [*command, *contestant.command(until_empty=until_empty)],
            env=contestant.environment(place),
            cwd=place.folder,  # no .env file is there
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Running(process, place, began_s)
        finally:
            _end(process)


def limit_s(scenario: Scenario, work: Work) -> float:
    """Seconds that a run may take."""
    waits_s = work.calls * scenario.latency_ms / 1000 / FEWEST_AT_ONCE
    if scenario.buckets:
        waits_s += work.calls / REFILL_PER_S
    return LIMIT_S + work.calls * LIMIT_PER_CALL_S + LIMIT_FACTOR * waits_s


def configure(arm: Arm, scenario: Scenario) -> None:
    """Counts at nothing, buckets full, and the waiting that the scenario asks for."""
    arm.control.reset()
    if scenario.latency_ms or scenario.buckets:
        arm.control.settings(latency_ms=scenario.latency_ms, buckets=scenario.buckets)


def run_once(
    stand: Stand, arm: Arm, scenario: Scenario, contestant: Contestant, work: Work, number: int
) -> tuple[Run, Usage | None]:
    """Measure once.

    Args:
        stand: where.
        arm: the simulator, which has this scenario's answers ready.
        scenario: what waits and what is throttled.
        contestant: who.
        work: what is asked for.
        number: of the round.

    Returns:
        What came of it, and the samples; a run that failed or is not whole says so.
    """
    run = Run(
        contestant=contestant.name,
        title=contestant.title,
        round=number,
        calls=work.calls,
        rows=work.rows,
        messages=work.messages if contestant.loads else 0,
    )
    try:
        with stand.place(arm) as place:
            if contestant.loads:
                send(place.settings, list(work.texts()))
            else:
                (place.folder / URLS_FILE).write_text("\n".join(work.urls))
            configure(arm, scenario)
            usage, looks = _watched(arm, scenario, contestant, work, place)
            stats = arm.control.stats()
            if contestant.loads:
                with stand.session(place.settings) as session:
                    contestant.collected(session, work)
                if left := place.messages_left():
                    raise BenchError(f"{left:,} messages are left in the queue")
    except CollectorError as error:
        return msgspec.structs.replace(run, problem=str(error)), None
    answered = int(stats["by_status"].get("200", 0))
    if answered != work.calls:
        return msgspec.structs.replace(
            run, problem=f"{work.calls:,} calls expected, {answered:,} made"
        ), usage
    first_s, last_s = float(stats["first_request_s"]), float(stats["last_answer_s"])
    return (
        msgspec.structs.replace(
            run,
            wall_s=usage.wall_s,
            processor_s=usage.processor_s,
            system_s=usage.system_s,
            start_processor_s=usage.processor_until(first_s),
            first_call_s=first_s - usage.began_s,
            calling_s=last_s - first_s,
            steady_per_s=steady_rate(looks, work.calls),
            refused=int(stats["by_status"].get("429", 0)),
            peak_bytes=usage.peak_bytes,
            by_process=by_process(usage),
        ),
        usage,
    )


def by_process(usage: Usage) -> dict[str, float]:
    """Processor time by the names of the processes, as the last sample of each tells it."""
    last: dict[int, float] = {}
    for sample in usage.samples:
        last |= sample.processor_s
    found: dict[str, float] = defaultdict(float)
    for pid, processor_s in last.items():
        found[process_name(usage.names.get(pid, ""))] += processor_s
    return {name: round(processor_s, 3) for name, processor_s in sorted(found.items())}


def process_name(title: str) -> str:
    """A process's name without paths and numbers, so that two runs' are the same."""
    if RESOURCE_TRACKER in title:
        return "resource tracker"
    if ": " in title:
        return title.partition(": ")[2]
    words = [word for word in title.split() if not word.startswith("-")]
    return Path(words[1] if len(words) > 1 else words[0]).name if words else "short"


def _watched(
    arm: Arm, scenario: Scenario, contestant: Contestant, work: Work, place: Place
) -> tuple[Usage, list[tuple[float, int]]]:
    most_s = limit_s(scenario, work)
    with running(contestant, place) as program:
        while program.runs:
            if time.time() - program.began_s > most_s:
                raise BenchError(f"not done after {most_s:.0f} s")
            stats = arm.control.stats()
            program.looks.append((time.time(), int(stats["by_status"].get("200", 0))))
            try:
                program.process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                continue
        return program.usage(), program.looks


def _output(place: Place) -> Path:
    return place.folder / "output"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it if it runs: its program is told to stop, then left to itself no longer."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(KILL_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # a second signal stops the collector at once
        try:
            process.wait(KILL_LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

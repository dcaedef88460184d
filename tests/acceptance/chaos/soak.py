"""Several collectors on one queue and one host, struck at random for as long as is wanted.

Processes get SIGKILL, collectors are drained and started again, ARM answers with errors and the
network breaks; then all is left alone until the queue is empty. As a command it starts a sandbox of
its own and writes a report::

    python -m tests.acceptance.chaos.soak --minutes 5 --collectors 3 --report docs/soak.md
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from pipeline.entry_points import kind_of
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.chaos.between import Between, proxies_between
from tests.acceptance.chaos.job import Job
from tests.acceptance.chaos.memory import peak_bytes
from tests.acceptance.chaos.proxy import KINDS, Kind
from tests.acceptance.chaos.seats import Seat, processes_with
from tests.acceptance.chaos.soak_report import Soaked, report
from tests.acceptance.chaos.strikes import STAGES, SUPERVISOR, Strike
from tests.processes import until

ARM_OPTIONS = ["--subscriptions", "16", "--vms", "6", "--page-size", "5"]
BAD_EACH = 40
LATENCY_MS = 30
SETTINGS = {
    "NUM_THREADS": "4",
    "MAX_IN_FLIGHT": "200",
    "VISIBILITY_TIMEOUT": "20",
    # Struck and drained that often, a message is delivered more often than in years of operation.
    "MAX_DEQUEUE_COUNT": "10",
    "DRAIN_TIMEOUT": "10",
    "BATCH_TIMEOUT": "0.5",
    "BATCH_SIZE": "500",
    # A fault of a moment is no reason to give a request up.
    "MAX_RETRIES": "50",
    "INITIAL_RETRY_DELAY": "0.1",
    "MAX_BACKOFF": "2",
    "ARM_READ_TIMEOUT": "3",
    "LOG_LEVEL": "DEBUG",
}
# What is done is drawn from a deck: each as often as it stands here, in a random order.
DECK = (
    *["stage"] * 5,
    "two stages",
    "supervisor",
    "supervisor and a stage",
    *["drain"] * 2,
    *["ARM"] * 2,
    *["network"] * 3,
)
# Seconds between two of them. A collector's start takes seconds of the processor, so that faster
# ones leave it no time to collect.
PAUSE_S = (0.2, 4.0)
# Seconds from the end of a collector to the start of the next.
AGAIN_S = (0.0, 2.0)
# Seconds that ARM has a fault, and that a blackhole lasts.
ARM_FAULT_S = (0.5, 3.0)
BLACKHOLE_S = 1.0
# Seconds that are added until a network fault has befallen a request.
BEFALL_LIMIT_S = 60.0
# Requests that a network fault befalls.
MOST_BEFALLEN = 4
ARM_FAULTS: tuple[Mapping[str, object], ...] = (
    {"kind": "throttle", "probability": 0.2, "retry_after_s": 1},
    {"kind": "status", "status": 503, "probability": 0.3},
    {"kind": "status", "status": 500, "probability": 0.3},
    {"kind": "reset", "probability": 0.3},
    {"kind": "reset_mid_body", "probability": 0.2},
)
# On a silent connection to Snowflake a load waits for minutes, so it is not among these.
NETWORK: Mapping[str, tuple[Kind, ...]] = {
    "queue": KINDS,
    "arm": KINDS,
    "snowflake": tuple(kind for kind in KINDS if kind != "half_open"),
}
TICK_S = 0.02
MEMORY_EACH_S = 1.0
SAY_EACH_S = 10.0
START_LIMIT_S = 60.0
# To collect what is left, and to drain.
END_LIMIT_S = 120.0


class Soak:
    """Runs it.

    Args:
        settings: of a sandbox with an empty queue.
        folder: for logs and the spool.
        collectors: how many at once.
        pause_s: least and greatest time between two faults.
        seed: of what happens when.
        say: told how it goes, a line at a time.

    Attributes:
        job: to compare the tables with.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        folder: Path,
        *,
        collectors: int,
        pause_s: tuple[float, float] = PAUSE_S,
        seed: int = 1,
        say: Callable[[str], object] = print,
    ) -> None:
        self._settings = {**settings, **SETTINGS, "SPOOL_DIR": str(folder / "spool")}
        self._folder = folder
        self._collectors = collectors
        self._pause_s = pause_s
        self._chance = random.Random(seed)
        self._say = say
        self._deck: list[str] = []
        self._played = 0
        self._seats: list[Seat] = []
        self._pending: list[tuple[Seat, Strike]] = []
        # What is over at a time: monotonic seconds, and what ends it.
        self._ends: list[tuple[float, Callable[[], object]]] = []
        self._looked_s = 0.0
        self._done = Soaked(collectors)
        self.job = Job(self._settings, seed)

    def run(self, seconds: float) -> Soaked:
        """Have faults, then wait until everything is collected, and end in order.

        Args:
            seconds: with faults; more if the deck was not played to its end by then.
        """
        began_s = time.monotonic()
        self.job.arm.settings(latency_ms=LATENCY_MS)
        with ExitStack() as stack:
            between = stack.enter_context(proxies_between(self._settings))
            for number in range(self._collectors):
                seat = Seat(f"collector-{number}", between.settings, self._folder)
                self._seats.append(stack.enter_context(seat))
            until(lambda: all(seat.collecting for seat in self._seats), START_LIMIT_S)
            faulty_since_s = time.monotonic()
            with self.job.feeding(sys.maxsize, BAD_EACH):
                self._fault(between, faulty_since_s + seconds)
            self._done.faulty_s = time.monotonic() - faulty_since_s
            self._calm(between)
            self._collect_the_rest()
            self._done.seconds = time.monotonic() - began_s
            self._end()
            for service, proxy in between.proxies.items():
                self._count(f"network before {service}", proxy.counts)
        stats = self.job.arm.stats()
        self._done.calls = int(stats["answers"])
        self._count("ARM", stats["faults"])
        return self._done

    def _count(self, where: str, faults: Mapping[str, int]) -> None:
        for kind, count in faults.items():
            self._done.faults[f"{where}: {kind.replace('_', ' ')}"] += count

    # ── faults ───────────────────────────────────────────────────────────────────────────────

    def _fault(self, between: Between, end_s: float) -> None:
        next_s = said_s = time.monotonic()

        def done(now_s: float) -> bool:
            # Few requests go to Snowflake: what is meant for them may befall none for a while.
            befallen = any(sum(proxy.counts.values()) for proxy in between.proxies.values())
            played = now_s >= end_s and self._played >= len(DECK)
            return played and (befallen or now_s >= end_s + BEFALL_LIMIT_S)

        while not done(now_s := time.monotonic()):
            if now_s >= next_s:
                self._play(between)
                next_s = now_s + self._chance.uniform(*self._pause_s)
            if now_s >= said_s:
                said_s = now_s + SAY_EACH_S
                self._say(
                    f"{max(0, end_s - now_s):4.0f} s to go: {self.job.sent} messages sent, "
                    f"{len(self._done.strikes)} strikes, {self._done.drains} drains"
                )
            self._tick()

    def _play(self, between: Between) -> None:
        if not self._deck:
            self._deck = list(DECK)
            self._chance.shuffle(self._deck)
        # What cannot be done just now, because no collector stands, is done next time.
        if self._act(self._deck[-1], between):
            self._deck.pop()
            self._played += 1

    def _act(self, what: str, between: Between) -> bool:
        match what:
            case "ARM":
                self.job.arm.faults([self._chance.choice(ARM_FAULTS)])
                self._later(self._chance.uniform(*ARM_FAULT_S), lambda: self.job.arm.faults([]))
                return True
            case "network":
                self._break(between)
                return True
            case "drain":
                return self._drain()
            case "stage":
                return self._strike(self._chance.choice(STAGES))
            case "two stages":
                return self._strike(*self._chance.sample(STAGES, 2))
            case "supervisor":
                return self._strike(SUPERVISOR)
            case _:
                return self._strike(SUPERVISOR, self._chance.choice(STAGES))

    def _break(self, between: Between) -> None:
        service = self._chance.choice(list(NETWORK))
        kind = self._chance.choice(NETWORK[service])
        proxy = between.proxies[service]
        if kind == "blackhole":
            proxy.fault(kind)
            self._later(BLACKHOLE_S, proxy.heal)
        else:
            proxy.fault(kind, first=self._chance.randint(1, MOST_BEFALLEN))

    def _drain(self) -> bool:
        seats = [seat for seat in self._seats if seat.collecting]
        if not seats:
            return False
        seat = self._chance.choice(seats)
        self._forget(seat)
        seat.drain()
        self._done.drains += 1
        return True

    def _strike(self, *names: str) -> bool:
        """Strike a collector, whatever it does just now."""
        seats = [seat for seat in self._seats if set(names) <= set(seat.target.processes())]
        if not seats:
            return False
        seat = self._chance.choice(seats)
        overlaps = self._forget(seat)
        timed = seat.collecting and not overlaps
        try:
            strike = seat.target.strike(names, limit_s=0)
        except (AssertionError, ProcessLookupError):
            return False  # it has just ended by itself
        self._done.strikes.append(strike)
        if timed:
            self._pending.append((seat, strike))
        return True

    def _forget(self, seat: Seat) -> bool:
        """Time nothing that is under way here; whether there was something."""
        before = len(self._pending)
        self._pending = [entry for entry in self._pending if entry[0] is not seat]
        return len(self._pending) < before

    def _later(self, after_s: float, what: Callable[[], object]) -> None:
        self._ends.append((time.monotonic() + after_s, what))

    # ── meanwhile ────────────────────────────────────────────────────────────────────────────

    def _tick(self) -> None:
        time.sleep(TICK_S)
        now_s = time.monotonic()
        for seat in self._seats:
            seat.look(self._chance.uniform(*AGAIN_S))
        for seat, strike in list(self._pending):
            if seat.target.look(strike):
                self._pending.remove((seat, strike))
                self._done.timed.append(strike)
        due = [end for end in self._ends if now_s >= end[0]]
        for end in due:
            self._ends.remove(end)
            end[1]()
        if now_s - self._looked_s >= MEMORY_EACH_S:
            self._looked_s = now_s
            self._measure()

    def _measure(self) -> None:
        for seat in self._seats:
            for name, pid in seat.target.processes().items():
                kind = kind_of(name)
                self._done.peaks[kind] = max(self._done.peaks[kind], peak_bytes(pid) or 0)

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    def _calm(self, between: Between) -> None:
        self._ends.clear()
        self.job.arm.faults([])
        self.job.arm.settings(latency_ms=0)
        for proxy in between.proxies.values():
            proxy.heal()

    def _collect_the_rest(self) -> None:
        self._say(f"no more faults; {self.job.sent} messages sent, {self.job.left()} are left")

        def collected() -> bool:
            self._tick()
            return self.job.left() == 0

        until(collected, END_LIMIT_S, "messages stay in the queue")

    def _end(self) -> None:
        until(self._all_collecting, END_LIMIT_S, "a collector does not start")
        for seat in self._seats:
            seat.drain()
        for seat in self._seats:
            assert seat.await_end(END_LIMIT_S) == 0
            self._done.exits += seat.exits
            self._done.starts += seat.starts
            log = seat.target.log
            self._done.restarts += log.count("stage_restarted")
            self._done.failed += log.count("stage_failed")
            self._done.gave_up += Counter(event.line["exit_code"] for event in log.of("gave_up"))
        until(
            lambda: not processes_with("SPOOL_DIR", self._settings["SPOOL_DIR"]),
            what="processes are left",
        )

    def _all_collecting(self) -> bool:
        self._tick()
        return all(seat.collecting for seat in self._seats)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it in a sandbox of its own, compare everything, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="with faults")
    parser.add_argument("--collectors", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="folder to keep the logs in")
    parser.add_argument("--report", type=Path, help="file to write, in Markdown")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as passing, Sandbox(arm_options=ARM_OPTIONS) as sandbox:
        folder = given.logs or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(sandbox.settings, folder, collectors=given.collectors, seed=given.seed)
        done = soak.run(given.minutes * 60)
        soak.job.assert_whole()
        text = report(done, soak.job)
    print(text)
    if given.report is not None:
        given.report.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Signals to the processes of a collector, and how long it takes until they work again.

A process works again when a new one of its name does what it is there for:

===========  =====================================================
fetch        it goes on with the messages it held, or received some
execute-N    a connection to ARM is open: calls are made
batch        a batch was sealed
load         a batch was loaded
supervisor   a collector has started, all its stages stand
===========  =====================================================
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.child import STABLE_S
from pipeline.entry_points import kind_of, processes
from tests.acceptance.chaos.events import EventLog
from tests.acceptance.command import stages_of
from tests.processes import until

SUPERVISOR = "supervisor"
EXECUTES = 2
STAGES = tuple(processes(EXECUTES))
# What the log says when a kind of stage has done its work.
_SIGNS = {
    "fetch": ("leases_resumed", "received"),
    "batch": ("sealed",),
    "load": ("loaded",),
}
# A stage that dies again before it has stood so long is restarted with a growing delay; supervisord
# does the same with a collector that ends so soon after its start (startsecs).
HELD_BACK_S = STABLE_S
# As /proc/net/tcp has it.
_ESTABLISHED = "01"


@dataclass
class Strike:
    """Processes that got a signal in the same instant.

    Attributes:
        names: of the processes.
        at_s: wall time, seconds since 1970.
        held_back: one of them had died shortly before, so that its restart waits a while.
        stands_s: seconds until a new process of each name stood.
        works_s: seconds until each worked again.
    """

    names: tuple[str, ...]
    at_s: float
    held_back: bool
    stands_s: dict[str, float] = field(default_factory=dict)
    works_s: dict[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What was struck, in the words of a report."""
        if len(self.names) == 1:
            return kind_of(self.names[0])
        return "supervisor and a stage" if SUPERVISOR in self.names else "two stages"

    @property
    def awaited(self) -> tuple[str, ...]:
        """Who has to work again: with the supervisor go all its stages."""
        return (SUPERVISOR,) if SUPERVISOR in self.names else self.names

    @property
    def over(self) -> bool:
        """All work again."""
        return len(self.works_s) == len(self.awaited)

    @property
    def seconds(self) -> float:
        """Until the last one worked again."""
        return max(self.works_s.values())


class Target:
    """A collector whose processes are struck.

    Args:
        log: what it writes, at level DEBUG.
        supervisor: process id of its supervisor, None while there is none.
        arm_port: port of the ARM endpoint.
    """

    def __init__(self, log: EventLog, supervisor: Callable[[], int | None], arm_port: int) -> None:
        self.log = log
        self._supervisor = supervisor
        self._arm_port = arm_port

    def processes(self) -> dict[str, int]:
        """Process ids by name, as far as they are there."""
        if (pid := self._supervisor()) is None:
            return {}
        titled = {title.replace(" ", "-"): stage for title, stage in stages_of(pid).items()}
        return {SUPERVISOR: pid} | {name: titled[name] for name in STAGES if name in titled}

    def strike(
        self, names: Sequence[str], number: signal.Signals = signal.SIGKILL, limit_s: float = 30.0
    ) -> Strike:
        """Signal these processes at once, as soon as all of them are there."""

        def there() -> list[int] | None:
            found = self.processes()
            return [found[name] for name in names] if set(names) <= set(found) else None

        pids: list[int] = until(there, limit_s, f"not all of {names} are there")
        now_s = time.time()
        held_back = any(self._held_back(name, now_s - HELD_BACK_S) for name in names)
        strike = Strike(tuple(names), now_s, held_back)
        for pid in pids:
            os.kill(pid, number)
        return strike

    def look(self, strike: Strike) -> bool:
        """Note which of the struck processes work again; whether all do."""
        for name in strike.awaited:
            if name not in strike.works_s:
                self._look(strike, name)
        return strike.over

    def await_working(self, strike: Strike, limit_s: float) -> None:
        """Wait until all that were struck work again."""
        until(lambda: self.look(strike), limit_s, f"{strike} after {limit_s} s")

    def _held_back(self, name: str, since_s: float) -> bool:
        if name == SUPERVISOR:
            return self.log.first("starting", since_s) is not None
        # A new supervisor counts anew.
        since_s = max([since_s, *(event.at_s for event in self.log.of("starting"))])
        return self.log.first("stage_restarted", since_s, process=name) is not None

    def _look(self, strike: Strike, name: str) -> None:
        if name == SUPERVISOR:
            up = self.log.first("started", strike.at_s)
        else:
            up = self.log.first("stage_restarted", strike.at_s, process=name)
        if up is None:
            return
        strike.stands_s[name] = up.at_s - strike.at_s
        if name == SUPERVISOR:
            strike.works_s[name] = up.at_s - strike.at_s
        elif (signs := _SIGNS.get(kind_of(name))) is None:
            if (pid := self.processes().get(name)) and has_connection(pid, self._arm_port):
                strike.works_s[name] = time.time() - strike.at_s
        elif done := [
            event.at_s
            for sign in signs
            if (event := self.log.first(sign, strike.at_s, stage=name)) is not None
        ]:
            # A stage may be at work just before the supervisor has read that it stands.
            strike.works_s[name] = max(up.at_s, min(done)) - strike.at_s


def has_connection(pid: int, port: int) -> bool:
    """Whether a process has a TCP connection open to this port of loopback."""
    remote = f"0100007F:{port:04X}"
    ours = set()
    for descriptor in _descriptors(pid):
        with suppress(OSError):  # closed while we look
            ours.add(str(descriptor.readlink()))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[2] == remote and columns[3] == _ESTABLISHED and f"socket:[{columns[9]}]" in ours:
            return True
    return False


def _descriptors(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # the process is gone
        return []

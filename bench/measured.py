"""Runs a program and says what its whole process tree used: ``python -m bench.measured``.

::

    python -m bench.measured --out usage.json [--sample 0.1] -- PROGRAM ARGUMENTS…

Processor time is the system's own account of every process that was waited for. What the program
does not wait for itself comes to this process when the program ends (it is its tree's reaper), and
is waited for here: so none is left out, and none is left running.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.process_tree import all_processes, below, name_of, proportional_bytes

# linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
PR_SET_PDEATHSIG = 1
# Between two looks at the processes, seconds.
SAMPLE_S = 0.1
# Reading proportional memory holds up the process that is looked at: not at each look.
PROPORTIONAL_EVERY = 10
# What is left when the program has ended has so long to end by itself.
ORPHANS_LIMIT_S = 10.0
ORPHAN_POLL_S = 0.02
MS_PER_S = 1000


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The tree at a moment.

    Attributes:
        at_s: seconds since the epoch.
        processor_s: by process id, of those that are alive.
        resident_bytes: the same.
        proportional_bytes: the same, or empty: it is taken at each tenth sample.
    """

    at_s: float
    processor_s: dict[int, float]
    resident_bytes: dict[int, int]
    proportional_bytes: dict[int, int]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a program used.

    Attributes:
        exit_code: negative for a signal.
        began_s: when it was started, seconds since the epoch.
        ended_s: when it had ended.
        user_s: processor time of the whole tree in programs.
        system_s: and in the kernel.
        orphans: processes that it left behind, which were waited for or killed.
        names: of processes, by id; the last that each had.
        samples: in the order of time.
    """

    exit_code: int
    began_s: float
    ended_s: float
    user_s: float
    system_s: float
    orphans: int = 0
    names: dict[int, str] = {}
    samples: list[Sample] = []

    @property
    def processor_s(self) -> float:
        """Processor time of the whole tree."""
        return self.user_s + self.system_s

    @property
    def wall_s(self) -> float:
        """From its start to its end."""
        return self.ended_s - self.began_s

    @property
    def peak_bytes(self) -> int:
        """The most memory that the tree had at once, what is shared counted once."""
        return max((sum(one.proportional_bytes.values()) for one in self.samples), default=0)

    def processor_until(self, at_s: float) -> float:
        """Processor time of the tree up to a moment, as the samples tell it."""
        used: dict[int, float] = {}
        before_s, before = self.began_s, 0.0
        for sample in self.samples:
            used |= sample.processor_s
            total = sum(used.values())
            if sample.at_s >= at_s:
                part = (at_s - before_s) / max(sample.at_s - before_s, 1e-9)
                return before + max(0.0, part) * (total - before)
            before_s, before = sample.at_s, total
        return before


def run(command: Sequence[str], sample_s: float = SAMPLE_S) -> Usage:
    """Run a program to its end.

    Args:
        command: program and arguments; it has this process's environment, folder and output.
        sample_s: seconds between two samples; 0 takes none.

    Raises:
        OSError: it cannot be started.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    samples: list[Sample] = []
    names: dict[int, str] = {}
    began_s = time.time()
    process = subprocess.Popen(command)
    with _passing_on(process):
        watched = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(watched, select.POLLIN)
            while not poll.poll(sample_s * MS_PER_S if sample_s else None):
                samples.append(_sample(len(samples), names))
        finally:
            os.close(watched)
        exit_code = process.wait()
        ended_s = time.time()
    orphans = _reap()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(
        exit_code=exit_code,
        began_s=began_s,
        ended_s=ended_s,
        user_s=after.ru_utime - before.ru_utime,
        system_s=after.ru_stime - before.ru_stime,
        orphans=orphans,
        names=names,
        samples=samples,
    )


def read(file: Path) -> Usage:
    """What :func:`main` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=Usage, strict=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, write the usage as JSON, and end as the program ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.measured")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--sample", type=float, default=SAMPLE_S, metavar="SECONDS")
    parser.add_argument("command", nargs="+", metavar="PROGRAM")
    options = parser.parse_args(argv)
    # Whoever asked for this may be killed: then this ends, and with it what it runs.
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    usage = run(options.command, options.sample)
    options.out.write_bytes(msgspec.json.encode(usage))
    return 0 if usage.exit_code == 0 else 1


def _sample(number: int, names: dict[int, str]) -> Sample:
    processes = all_processes()
    pids = below(os.getpid(), processes)
    proportional: dict[int, int] = {}
    if number % PROPORTIONAL_EVERY == 0:
        names |= {pid: name for pid in pids if (name := name_of(pid))}
        proportional = {pid: size for pid in pids if (size := proportional_bytes(pid))}
    return Sample(
        at_s=time.time(),
        processor_s={pid: processes[pid].processor_s for pid in pids},
        resident_bytes={pid: processes[pid].resident_bytes for pid in pids},
        proportional_bytes=proportional,
    )


@contextlib.contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand the signals to stop to the program."""
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, lambda got, _: process.send_signal(got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reap() -> int:
    """Wait for what the program left behind, and kill what does not end; how many there were."""
    deadline_s = time.monotonic() + ORPHANS_LIMIT_S
    count = 0
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return count
        if pid:
            count += 1
            continue
        if time.monotonic() > deadline_s:
            for orphan in below(os.getpid(), all_processes()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)
        time.sleep(ORPHAN_POLL_S)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())

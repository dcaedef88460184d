"""What the processes of a tree have used at a moment, as ``/proc`` tells it.

Only how it went over time is taken from here; what a run used in all is the system's own account
(:mod:`bench.measured`), which forgets no process that was short.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Of a command line, what names a process.
NAME_CHARS = 120
# Fields of /proc/PID/stat after the name in brackets (proc(5) counts from 1, and these from 3).
_PARENT, _USER, _SYSTEM, _RESIDENT = 1, 11, 12, 21


class Usage(NamedTuple):
    """One process.

    Attributes:
        parent: process id of its parent.
        processor_s: of all its threads so far.
        resident_bytes: of its memory now; what it shares with others is in each one's figure.
    """

    parent: int
    processor_s: float
    resident_bytes: int


def all_processes(proc: Path = PROC) -> dict[int, Usage]:
    """Every process of the machine, by its id."""
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found[int(folder.name)] = parsed((folder / "stat").read_text())
    return found


def parsed(stat: str) -> Usage:
    """The usage in the text of ``/proc/PID/stat``."""
    # A name may hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return Usage(
        parent=int(fields[_PARENT]),
        processor_s=(int(fields[_USER]) + int(fields[_SYSTEM])) / TICKS_PER_S,
        resident_bytes=int(fields[_RESIDENT]) * PAGE_BYTES,
    )


def below(root: int, processes: Mapping[int, Usage]) -> set[int]:
    """Ids of a process's descendants, itself left out."""
    children: dict[int, list[int]] = {}
    for pid, usage in processes.items():
        children.setdefault(usage.parent, []).append(pid)
    found: set[int] = set()
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def proportional_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident memory of a process, what it shares divided among those that share it; 0 if gone."""
    with contextlib.suppress(OSError):
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def name_of(pid: int, proc: Path = PROC) -> str:
    """What a process calls itself: its title, or the beginning of its command line."""
    with contextlib.suppress(OSError):
        line = (proc / str(pid) / "cmdline").read_bytes().rstrip(b"\0")
        return line.replace(b"\0", b" ").decode(errors="replace")[:NAME_CHARS]
    return ""

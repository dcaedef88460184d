"""Processes of this machine as tests look at them, and waiting without luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLL_S = 0.02


def until(condition: Callable[[], Any], limit_s: float = 30.0, what: str = "") -> Any:
    """Poll until the condition holds, and return what it gave."""
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, what or "it did not come to be in time"
        time.sleep(POLL_S)
    return found


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(number) for number in listed.split()]


def title_of(pid: int) -> str:
    """What ``ps`` shows of a process; "" once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    except OSError:
        return ""


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that waits to be reaped has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def open_descriptors(pid: int | str = "self") -> int:
    """How many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())

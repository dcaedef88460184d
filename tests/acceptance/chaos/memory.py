"""Peak resident size of processes, as the kernel counts it: nothing between two looks is missed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
# Written to clear_refs: the peak is the present size again (proc(5)).
_RESET_PEAK = "5"


def peak_bytes(pid: int) -> int | None:
    """Largest resident size since the start or the last :func:`reset_peak`; None if it is gone."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found is not None else None


def reset_peak(pid: int) -> None:
    """Have the peak counted anew."""
    with suppress(OSError):  # it is gone
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def peaks(processes: Mapping[str, int]) -> dict[str, int]:
    """Peak of each process by name, in bytes, counted anew from now on."""
    found = {}
    for name, pid in processes.items():
        if (peak := peak_bytes(pid)) is not None:
            found[name] = peak
            reset_peak(pid)
    return found

"""Memory of processes, as Linux has it."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes(pid: int | None) -> int:
    """Memory in use by a process; 0 where that cannot be told.

    Args:
        pid: process id, or None.
    """
    if pid is None:
        return 0
    try:
        # proc(5): /proc/pid/statm, the second number, in pages.
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")

"""What every page of figures has: tables, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

GIB = 1 << 30


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns are aligned, so that it reads well as it stands too.

    Args:
        head: names of the columns.
        rows: cells; the first column is aligned left, the others right.
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(cells[0]), line(ruler), *map(line, cells[1:])])


def machine() -> str:
    """The machine in general words."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"{memory_bytes / GIB:.0f} GiB, Python {platform.python_version()}"
    )

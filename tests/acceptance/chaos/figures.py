"""Figures of a chaos run as tables that a person reads, on a terminal or in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def summary(values: Sequence[float]) -> list[str]:
    """How many, median and greatest, in words of a table."""
    if not values:
        return ["0", "-", "-"]
    return [str(len(values)), f"{statistics.median(values):.2f}", f"{max(values):.2f}"]


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

"""What a run looks like on a terminal: a live line while it goes, a table at its end."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.metrics.series import by_name
from pipeline.run_summary import DELETED, ROWS, summary_fields
from pipeline.supervisor import Supervisor

# The rate of calls is shown over so many seconds.
RATE_WINDOW_S = 5.0
REFRESHES_PER_S = 4


class Progress:
    """The live display, as a context manager."""

    def __init__(self) -> None:
        self._live = Live(
            console=Console(), refresh_per_second=REFRESHES_PER_S, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._calls: deque[tuple[float, float]] = deque()

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, supervisor: Supervisor) -> None:
        """Show how things are now."""
        totals = supervisor.totals()
        now_s = time.monotonic()
        calls = by_name(totals)["calls_total"]
        self._calls.append((now_s, calls))
        while now_s - self._calls[0][0] > RATE_WINDOW_S:
            self._calls.popleft()
        since_s, before = self._calls[0]
        rate = (calls - before) / (now_s - since_s) if now_s > since_s else 0.0
        parts = {
            "messages": f"{totals[DELETED]:.0f}/{totals['messages_received_total']:.0f}",
            "calls": f"{calls:.0f} ({rate:.0f}/s)",
            "throttled scopes": f"{_paused(supervisor):.0f}",
            "rows loaded": f"{totals[ROWS]:.0f}",
            "batches": f"{totals['batches_loaded_total']:.0f}",
        }
        line = Text("  ")
        for name, value in parts.items():
            line.append(f"{name} ", style="dim").append(f"{value}   ", style="bold")
        if not supervisor.begun:
            line = Text("  starting the stages …", style="dim")
        self._live.update(line)


def _paused(supervisor: Supervisor) -> float:
    gauges = (child.gauges for child in supervisor.children.values())
    return sum(by_name(of_one)["scopes_paused"] for of_one in gauges)


def summary(supervisor: Supervisor, console: Console | None = None) -> None:
    """Print the run as a table."""
    table = Table(title="This run", title_justify="left", show_header=False)
    for name, value in summary_fields(supervisor).items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    (console or Console()).print(table)

"""One step of ``test-connection`` or ``test-snowflake``: what was tried and how it went."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import CollectorError, DependencyError

# Widths of a line on the terminal.
_NAME_CHARS = 22


@dataclass(frozen=True)
class Check:
    """The result of one step.

    Attributes:
        name: what was tried, in a few words.
        ok: it passed.
        detail: what was found, or what went wrong; without secrets.
        hint: what to do about it, e.g. the statement to run; empty if it passed.
        elapsed_s: seconds it took.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
    elapsed_s: float = 0.0

    def line(self) -> str:
        """The check as text for a terminal; the hint stands on a line of its own."""
        mark = "ok    " if self.ok else "FAILED"
        text = f"{mark} {self.name:<{_NAME_CHARS}} {self.elapsed_s:6.2f} s  {self.detail}"
        return f"{text}\n       -> {self.hint}" if self.hint else text


def timed(name: str, probe: Callable[[], str]) -> Check:
    """Run one step.

    Args:
        name: what is tried.
        probe: returns the detail; raises a :class:`~pipeline.errors.CollectorError` if it fails.
            Any other error is a bug and passes through.
    """
    start_s = time.monotonic()
    try:
        detail = probe()
    except DependencyError as error:
        return Check(name, False, error.problem, error.hint, time.monotonic() - start_s)
    except CollectorError as error:
        return Check(name, False, str(error), "", time.monotonic() - start_s)
    return Check(name, True, detail, "", time.monotonic() - start_s)

"""What the scenarios show: tables in Markdown that read well on a terminal too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.contestants import CALLS_AT_ONCE
from bench.figures import table
from bench.results import Memory, Outcome, Run, Spread, ratios, spread, whole
from bench.scenarios import COLLECTOR, Scenario

MIB = 1 << 20
# In a cell of what does not count.
NONE = "-"
MS_PER_S = 1000


def figures(outcome: Outcome) -> str:
    """The tables of a scenario."""
    parts = []
    if outcome.scenario.kind in ("compare", "steady"):
        parts.append(_compared(outcome))
        parts += [_memory(memory) for memory in outcome.memory]
    else:
        parts.append(_timed(outcome))
    parts += [f"Does not count: {problem}" for problem in outcome.problems]
    return "\n\n".join(parts)


def setting(scenario: Scenario) -> str:
    """A scenario in a sentence."""
    what = f"{scenario.requests:,} calls"
    if scenario.peer_requests is not None:
        what += f" of the collector and {scenario.peer_requests:,} of each peer"
    plural = "requests" if scenario.per_message > 1 else "request"
    waits = f", each answered after {scenario.latency_ms:g} ms" if scenario.latency_ms else ""
    return f"{what}{waits}, {scenario.per_message} {plural} a message."


def text(value: Spread, digits: int = 0) -> str:
    """A median with its spread."""
    shown = f"{value.median:,.{digits}f}"
    if value.least == value.most:
        return shown
    return f"{shown} ({value.least:,.{digits}f}-{value.most:,.{digits}f})"


# ── a comparison ─────────────────────────────────────────────────────────────────────────────────


def _compared(outcome: Outcome) -> str:
    latency_ms = outcome.scenario.latency_ms
    head = ["", "processor µs a call", "collector / it", "without the start", "collector / it"]
    head += ["calls/s", "collector / it"]
    if latency_ms:
        head.append("of its bound")
    head += ["start to end, s", "peak MiB"]
    if outcome.scenario.buckets:
        head.append("answered 429")
    titles = list(dict.fromkeys(run.title for run in ordered(outcome.runs)))
    # Of several profiles, the first is compared with the others.
    ours = next((runs for title in titles if _is_ours(runs := whole(outcome.runs, title))), [])
    rows = []
    for title in titles:
        runs = whole(outcome.runs, title)
        if not runs:
            rows.append([title, *[NONE] * (len(head) - 1)])
            continue
        rows.append(_row(title, runs, ours, outcome))
    return table(head, rows)


def _row(title: str, runs: Sequence[Run], ours: Sequence[Run], outcome: Outcome) -> list[str]:
    figure = partial(_figure, runs)
    ratio = partial(_ratio, ours, runs)
    row = [
        title,
        figure("call_us"),
        ratio("call_us"),
        figure("started_call_us"),
        ratio("started_call_us"),
        figure("calls_per_s"),
        ratio("calls_per_s"),
    ]
    if outcome.scenario.latency_ms:
        bound = bound_per_s(outcome, runs[0].contestant)
        row.append(f"{spread(rate(run) for run in runs).median / bound:.1%} of {bound:,.0f}")
    row += [figure("wall_s", 1), f"{spread(run.peak_bytes / MIB for run in runs).most:,.0f}"]
    if outcome.scenario.buckets:
        row.append(figure("refused"))
    return row


def rate(run: Run) -> float:
    """Calls a second without the first and the last of them, where that is known."""
    return run.steady_per_s or run.calls_per_s


def bound_per_s(outcome: Outcome, contestant: str) -> float:
    """Calls a second that latency allows: calls under way at once, divided by it."""
    ours = contestant == COLLECTOR
    at_once = outcome.at_once if ours else CALLS_AT_ONCE[contestant]
    return at_once / outcome.scenario.latency_ms * MS_PER_S


def ordered(runs: Sequence[Run]) -> list[Run]:
    """In the order of the contestants, not that of the rounds."""
    first = [run for run in runs if run.round == 0]
    return [*first, *(run for run in runs if run.round)]


def _is_ours(runs: Sequence[Run]) -> bool:
    return bool(runs) and runs[0].contestant == COLLECTOR


def _figure(runs: Sequence[Run], name: str, digits: int = 0) -> str:
    return text(spread(float(getattr(run, name)) for run in runs), digits)


def _ratio(ours: Sequence[Run], theirs: Sequence[Run], name: str) -> str:
    if not ours or ours[0].title == theirs[0].title:
        return ""
    found = ratios(ours, theirs, name)
    return text(found, 2) if found else NONE


# ── memory, start and drain ──────────────────────────────────────────────────────────────────────


def _memory(memory: Memory) -> str:
    rows = [
        (name, *(f"{peak / MIB:,.0f}" for peak in peaks)) for name, peaks in memory.quarters.items()
    ]
    caption = (
        f"Memory of {memory.title}, the most in each quarter of the time in which calls are made, "
        f"MiB; the whole tree had {memory.peak_bytes / MIB:,.0f} MiB at its peak."
    )
    return f"{caption}\n\n{table(('', 'first', 'second', 'third', 'fourth'), rows)}"


def _timed(outcome: Outcome) -> str:
    start = outcome.scenario.kind == "start"
    head = ["", "s", "without `BATCH_TIMEOUT`", "last time"] if start else ["", "s", "last time"]
    rows = []
    titles = dict.fromkeys(one.title for one in sorted(outcome.timed, key=lambda one: one.round))
    for title in titles:
        counted = [one for one in outcome.timed if one.title == title and not one.problem]
        if not counted:
            rows.append([title, *[NONE] * (len(head) - 1)])
            continue
        row = [title, text(spread(one.seconds for one in counted), 2)]
        if start:
            ours = counted[0].contestant == COLLECTOR
            waited_s = outcome.batch_timeout_s if ours else 0.0
            left = spread(one.seconds - waited_s for one in counted)
            row.append(text(left, 2) if ours else "")
        rows.append([*row, counted[-1].note])
    return table(head, rows)

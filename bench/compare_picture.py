"""Pictures of the results: bars for a comparison, lines for memory, and all scenarios in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.compare_report import MIB, ordered
from bench.results import Memory, Outcome, Spread, spread, whole
from bench.scenarios import COLLECTOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#595959")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OURS, OTHER, GREY = "#0072B2", "#B0B0B0", "#595959"
WIDTH_INCHES = 9.0
BAR_INCHES = 0.42
PANEL_INCHES = 3.2
OVERVIEW_INCHES = 7.0
STYLE: Any = {
    "svg.hashsalt": "bench",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def draw(outcome: Outcome, file: Path) -> None:
    """Draw a scenario.

    Args:
        outcome: what came of it.
        file: an SVG, or what its suffix says.
    """
    if outcome.memory:
        _save(len(outcome.memory) * PANEL_INCHES, file, lambda figure: _lines(figure, outcome))
        return
    bars = {run.title for run in outcome.runs} | {timed.title for timed in outcome.timed}
    height = 1.2 + BAR_INCHES * len(bars)
    _save(height, file, lambda figure: _bars(figure, outcome))


def overview(outcomes: Sequence[Outcome], file: Path) -> None:
    """Draw processor time and rate of each contestant over all scenarios that compare some."""
    compared = [one for one in outcomes if one.scenario.kind == "compare" and one.runs]
    _save(OVERVIEW_INCHES, file, lambda figure: _dots(figure, compared))


def _save(height_inches: float, file: Path, fill: Any) -> None:
    # It is needed for nothing but this.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), facecolor="white")
        figure.set_layout_engine("constrained")
        fill(figure)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


# ── bars ─────────────────────────────────────────────────────────────────────────────────────────


def _bars(figure: Figure, outcome: Outcome) -> None:
    if outcome.timed:
        titles = list(dict.fromkeys(one.title for one in outcome.timed if not one.problem))
        seconds = {
            title: spread(
                one.seconds for one in outcome.timed if one.title == title and not one.problem
            )
            for title in titles
        }
        _panel(figure.subplots(), seconds, "seconds")
    else:
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, _spreads(outcome, "call_us"), "processor µs a call")
        _panel(right, _spreads(outcome, "calls_per_s"), "calls/s")
    figure.suptitle(outcome.scenario.title, x=0.01, ha="left", weight="bold")


def _panel(axes: Axes, figures: dict[str, Spread], label: str) -> None:
    titles = list(figures)[::-1]
    values = [figures[title] for title in titles]
    axes.barh(
        [_plain(title) for title in titles],
        [one.median for one in values],
        xerr=_errors(values),
        color=[OURS if title.startswith(COLLECTOR) else OTHER for title in titles],
        error_kw={"ecolor": GREY, "elinewidth": 1.2, "capsize": 3},
    )
    axes.set_xlabel(label)


def _errors(values: Sequence[Spread]) -> list[list[float]]:
    return [
        [one.median - one.least for one in values],
        [one.most - one.median for one in values],
    ]


def _spreads(outcome: Outcome, name: str) -> dict[str, Spread]:
    titles = dict.fromkeys(run.title for run in ordered(outcome.runs))
    return {
        title: spread(float(getattr(run, name)) for run in runs)
        for title in titles
        if (runs := whole(outcome.runs, title))
    }


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def _lines(figure: Figure, outcome: Outcome) -> None:
    panels = figure.subplots(len(outcome.memory), 1, squeeze=False)
    # A process has the same line in each panel.
    names = sorted({name for memory in outcome.memory for name in memory.series})
    for (axes,), memory in zip(panels, outcome.memory, strict=True):
        _memory(axes, memory, names)


def _memory(axes: Axes, memory: Memory, names: Sequence[str]) -> None:
    for name, values in memory.series.items():
        number = names.index(name)
        axes.plot(
            memory.times_s,
            [value / MIB if value else float("nan") for value in values],
            color=COLOURS[number % len(COLOURS)],
            linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
            linewidth=1.5,
            label=name,
        )
    title = f"{_plain(memory.title)}: memory of each process"
    axes.set_title(title, loc="left", weight="bold")
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("MiB")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


# ── all scenarios ────────────────────────────────────────────────────────────────────────────────


def _dots(figure: Figure, outcomes: Sequence[Outcome]) -> None:
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, name, label in (
        (top, "call_us", "processor µs a call"),
        (bottom, "calls_per_s", "calls/s"),
    ):
        titles = dict.fromkeys(title for one in outcomes for title in _spreads(one, name))
        for number, title in enumerate(titles):
            found = [
                (at, values[title])
                for at, one in enumerate(outcomes)
                if title in (values := _spreads(one, name))
            ]
            axes.errorbar(
                [at for at, _ in found],
                [value.median for _, value in found],
                yerr=_errors([value for _, value in found]),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle="none",
                capsize=3,
                label=_plain(title),
            )
        axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.grid(visible=True, axis="y", color="#DDDDDD", linewidth=0.7)
    bottom.set_xticks(
        range(len(outcomes)), [one.scenario.name for one in outcomes], rotation=30, ha="right"
    )
    handles, labels = top.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)


def _plain(title: str) -> str:
    """A title without Markdown."""
    return title.replace("`", "")

"""Draws the dashboard of ``deploy/monitoring`` with a Prometheus' data, without Grafana.

::

    python -m bench.dashboard_picture --url http://127.0.0.1:9090 --minutes 60 --out dashboard.png

Each panel's own expressions are asked of Prometheus, with Grafana's variables filled in, and drawn
in the panel's place with its unit, legend, thresholds and colours of values. What Grafana adds (its
theme, the choices above the panels, what shows under the pointer) is not in the picture.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.compare_picture import COLOURS, GREY
from bench.dashboard_data import Series, Span, series_of
from bench.stand import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHBOARD = Path(__file__).parents[1] / "deploy" / "monitoring" / "dashboard.json"
COLUMNS = 24
WIDTH_INCHES, ROW_INCHES = 17.0, 0.3
# Kept free within a panel, in rows of Grafana's grid: title above, times and legend below.
ABOVE_ROWS, BELOW_ROWS = 1.0, 2.0
LEFT_COLUMNS, RIGHT_COLUMNS = 1.3, 0.3
MOST_IN_LEGEND = 8
LEGEND_COLUMNS = 4
TICKS_S, MOST_TICKS = (10, 30, 60, 300, 600, 1800, 3600, 6 * 3600, 86400), 6
STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
GREEN, ORANGE, RED = "#009E73", "#E69F00", "#D55E00"
NAMED = {"green": GREEN, "orange": ORANGE, "red": RED}
STYLE: Any = {
    "svg.hashsalt": "dashboard",
    # Text stays text: a smaller file, which can be searched.
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.edgecolor": "#BBBBBB",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
}


def draw(url: str, span: Span, file: Path) -> None:
    """Draw the dashboard.

    Args:
        url: of a Prometheus, without a path.
        span: what is shown.
        file: an SVG or PNG, as its suffix says.

    Raises:
        BenchError: Prometheus does not answer.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, rows * ROW_INCHES), facecolor="white")
        for panel in panels:
            at = panel["gridPos"]
            left, top = at["x"], at["y"]
            if panel["type"] == "row":
                figure.text(0.006, 1 - (top + 0.75) / rows, panel["title"], size=12, weight="bold")
                continue
            is_stat = panel["type"] == "stat"
            below = 0.3 if is_stat else BELOW_ROWS
            side = 0.3 if is_stat else LEFT_COLUMNS
            axes = figure.add_axes(
                (
                    (left + side) / COLUMNS,
                    1 - (top + at["h"] - below) / rows,
                    (at["w"] - side - RIGHT_COLUMNS) / COLUMNS,
                    (at["h"] - below - ABOVE_ROWS) / rows,
                )
            )
            axes.set_title(panel["title"], loc="left", size=9, weight="bold")
            _KINDS[panel["type"]](axes, panel, series_of(url, panel, span), span)
        is_svg = file.suffix == ".svg"
        figure.savefig(file, dpi=100, metadata={"Date": None} if is_svg else None)
    if is_svg:
        # A hundredth of a point is more than a screen shows, and half of the file.
        text = re.sub(r"(\d\.\d\d)\d+", r"\1", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")


def _stat(axes: Axes, panel: dict[str, Any], series: Sequence[Series], _: Span) -> None:
    axes.set_axis_off()
    defaults = panel["fieldConfig"]["defaults"]
    if not series:
        axes.text(0.0, 0.4, "no data", size=14, color=GREY, transform=axes.transAxes)
    for number, one in enumerate(series):
        text, colour = _said(one.values[-1], defaults)
        place = number / max(1, len(series))
        axes.text(place, 0.4, text, size=18, color=colour, transform=axes.transAxes)
        if panel["options"]["textMode"] == "value_and_name":
            axes.text(place, 0.1, one.name, size=9, color=GREY, transform=axes.transAxes)


def _said(value: float, defaults: dict[str, Any]) -> tuple[str, str]:
    """A value's text and colour."""
    for mapping in defaults["mappings"]:
        if said := mapping["options"].get(f"{value:.0f}"):
            return said["text"], NAMED[said["color"]]
    colour = "black"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = NAMED[step["color"]]
    shown = round(value, defaults["decimals"]) if "decimals" in defaults else value
    return in_unit(shown, defaults["unit"]), colour


def _timeline(axes: Axes, panel: dict[str, Any], series: Sequence[Series], span: Span) -> None:
    options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for number, one in enumerate(series):
        for colour, value in ((NAMED[said["color"]], key) for key, said in options.items()):
            bars: list[tuple[float, float]] = []
            for at_s, is_ in zip(one.times_s, one.values, strict=True):
                if f"{is_:.0f}" != value:
                    continue
                if bars and at_s - sum(bars[-1]) < span.step_s / 2:
                    bars[-1] = (bars[-1][0], at_s + span.step_s - bars[-1][0])
                else:
                    bars.append((at_s, span.step_s))
            axes.broken_barh(bars, (number - 0.4, 0.8), facecolors=colour, linewidth=0)
    axes.set_yticks(range(len(series)), [one.name.split(" ")[0] for one in series])
    axes.invert_yaxis()
    _time_axis(axes, span)


def _lines(axes: Axes, panel: dict[str, Any], series: Sequence[Series], span: Span) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    right = None
    if defaults["custom"]["stacking"]["mode"] == "normal":
        _stack(axes, series)
    else:
        for number, one in enumerate(series):
            on = axes
            for override in panel["fieldConfig"]["overrides"]:
                if re.search(override["matcher"]["options"], one.name):
                    right = right or axes.twinx()
                    on = right
            on.plot(
                *_with_gaps(one, span.step_s),
                color=COLOURS[number % len(COLOURS)],
                linestyle=STYLES[number // len(COLOURS) % len(STYLES)],
                linewidth=1.1,
            )
    _value_axis(axes, defaults, series)
    if right is not None:
        right.set_ylim(bottom=0)
    for step in defaults["thresholds"]["steps"]:
        dashed = defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
        if dashed and step["value"] is not None and step["value"] < axes.get_ylim()[1]:
            axes.axhline(step["value"], color=NAMED[step["color"]], linestyle=":", linewidth=1)
    _time_axis(axes, span)
    _legend(axes, [one.name for one in series])


def _with_gaps(series: Series, step_s: float) -> tuple[list[float], list[float]]:
    """Times and values, with none where points are missing: no line leads over those."""
    times_s: list[float] = []
    values: list[float] = []
    for at_s, value in zip(series.times_s, series.values, strict=True):
        if times_s and at_s - times_s[-1] > 1.5 * step_s:
            times_s.append(at_s)
            values.append(float("nan"))
        times_s.append(at_s)
        values.append(value)
    return times_s, values


def _stack(axes: Axes, series: Sequence[Series]) -> None:
    times_s = sorted({at_s for one in series for at_s in one.times_s})
    known = [dict(zip(one.times_s, one.values, strict=True)) for one in series]
    values = [[values.get(at_s, 0.0) for at_s in times_s] for values in known]
    if values:
        colours = [COLOURS[number % len(COLOURS)] for number in range(len(series))]
        axes.stackplot(times_s, values, colors=colours, alpha=0.6, linewidth=0)


def _value_axis(axes: Axes, defaults: dict[str, Any], series: Sequence[Series]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

    least = defaults["custom"].get("axisSoftMax")
    if least is not None:
        axes.set_ylim(0, max([least, *(value for one in series for value in one.values)]))
    elif not any(value for one in series for value in one.values):
        axes.set_ylim(0, 1)
    else:
        axes.set_ylim(bottom=0)
    if defaults["unit"] == "bytes":
        axes.yaxis.set_major_locator(MultipleLocator(2 ** ceil(log2(axes.get_ylim()[1] / 4))))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: in_unit(v, defaults["unit"])))
    axes.grid(visible=True, axis="y", color="#EEEEEE", linewidth=0.7)


def _time_axis(axes: Axes, span: Span) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    shown_s = span.end_s - span.start_s
    axes.set_xlim(0, shown_s)
    # As many as a narrow panel has room for.
    tick_s = next((tick_s for tick_s in TICKS_S if shown_s / tick_s <= MOST_TICKS), shown_s)
    axes.xaxis.set_major_locator(MultipleLocator(tick_s))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v // 60:.0f}:{v % 60:02.0f}"))


def _legend(axes: Axes, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=COLOURS[number % len(COLOURS)], label=name,
            linestyle=STYLES[number // len(COLOURS) % len(STYLES)],
        )
        for number, name in enumerate(names[:MOST_IN_LEGEND])
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.04, -0.13), ncols=LEGEND_COLUMNS,
        fontsize=6.5, handlelength=1.0, columnspacing=0.8, handletextpad=0.4, labelspacing=0.2,
        borderaxespad=0.0,
    )  # fmt: skip


def in_unit(value: float, unit: str) -> str:
    """A value with the unit that Grafana calls so, in few characters."""
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB"):
            if abs(value) < 1024:
                return f"{value:.3g} {name}"
            value /= 1024
        return f"{value:.3g} GiB"
    if unit == "s":
        if abs(value) >= 3600:
            return f"{value / 3600:.3g} h"
        if abs(value) >= 60:
            return f"{value / 60:.3g} min"
        return f"{value * 1000:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    end = {"reqps": " req/s", "mps": " msg/s", "rowsps": " rows/s", "cps": "/s"}.get(unit, "")
    return f"{value / 1000:.3g}K{end}" if abs(value) >= 1000 else f"{value:.3g}{end}"


_KINDS = {"stat": _stat, "state-timeline": _timeline, "timeseries": _lines}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw what a Prometheus has, up to now."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard_picture")
    parser.add_argument("--url", required=True, help="of a Prometheus, e.g. http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=60.0, help="up to now (%(default)s)")
    parser.add_argument("--rate-seconds", type=int, default=120, help="(%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="SVG or PNG")
    options = parser.parse_args(argv)
    now_s = time.time()
    span = Span(now_s - 60 * options.minutes, now_s, options.rate_seconds)
    try:
        draw(options.url.rstrip("/"), span, options.out)
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

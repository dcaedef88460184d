"""What the measurements of Azure's budget show: a page in Markdown, and a picture beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budget_run import (
    BUCKET_CALLS,
    PROCESSES,
    REFILL_PER_S,
    REQUESTS_PER_MESSAGE,
    RETRY_AFTER_S,
    SAMPLE_EACH_S,
    Load,
    Measured,
    Sample,
)
from bench.figures import machine, table
from stages.execute.meter import PACE_PER_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMAND = "python -m bench.azure_budget"
GIB = 2**30
# Rates are taken over this long: shorter ones show the grain of the samples.
WINDOW_S = 1.0

# Okabe and Ito's colours, which the colour-blind can tell apart; the lines differ in style too.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#595959"
# The axis of rates goes so far past the highest one, which leaves room for the legend.
LEGEND_ROOM = 1.35
SIZE_INCHES = (9.0, 5.4)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


def title(load: Load) -> str:
    """A measurement in a few words."""
    words = "one collector" if load.collectors == 1 else "two collectors on one principal"
    if load.throttled:
        words += f", {load.throttled} of {load.subscriptions} throttled"
    words += f", {load.threads} threads"
    return f"{words}, {load.latency_ms:g} ms" if load.latency_ms else words


def figures(measured: Sequence[Measured]) -> str:
    """The figures as a table in Markdown, aligned, so that it reads well on a terminal too."""
    head = ("", "calls", "seconds", "calls/s", "of the budget", "answered 429")
    rows = [
        (
            title(one.load),
            f"{one.calls:,}",
            f"{one.seconds:.2f}",
            f"{one.calls_per_s:.0f}",
            f"{one.share_used:.1%}",
            f"{one.share_refused:.2%}",
        )
        for one in measured
    ]
    return table(head, rows)


def page(
    alone: Measured,
    shared: Measured,
    throttled: Sequence[Measured],
    *,
    picture_name: str,
    command: str,
    made_on: date,
) -> str:
    """The whole page.

    Args:
        alone: one collector.
        shared: two collectors on one principal.
        throttled: one collector, some of the subscriptions throttled.
        picture_name: file of the picture, beside the page.
        command: that made it.
        made_on: day of the measurements.
    """
    asked = alone.load
    parts = [
        "# Azure's budget, and how much of it is used",
        f"ARM lets a principal read {REFILL_PER_S:g} times a second from a subscription, out of a "
        f"bucket that holds {BUCKET_CALLS} calls and is full at first. That is the limit of the "
        "whole job: calls that are not made are lost while a bucket is full, and calls that are "
        "too many are answered 429. The measurements below show how much of it the collector uses.",
        "The real command collects from a simulator of ARM with those buckets, from a cold start: "
        f"{asked.requests:,} requests over {asked.subscriptions} subscriptions, for a virtual "
        f"machine each, {REQUESTS_PER_MESSAGE} to a message. *Of the budget* is the part that was "
        "used: calls answered, divided by what the buckets allowed from the first call to the last "
        f"answer, {BUCKET_CALLS} + {REFILL_PER_S:g} a second for each subscription. A measurement "
        "counts only if the tables hold every request once, complete, and every machine once.",
        _setting(asked),
        figures([alone, shared, *throttled]),
        _others(alone, throttled),
        "## Over time",
        f"![Rate of calls and level of the buckets over time]({picture_name})",
        "Above, calls that ARM answered in a second; below, what was left in the emptiest and in "
        f"the fullest of the {asked.subscriptions} buckets, as the simulator tells it every "
        f"{SAMPLE_EACH_S:g} s. At first the buckets hold more than the machine can call for, and "
        "the rate is the machine's. Once they are low, the rate is what comes back. Where calls "
        "fall behind it for a while, as on a machine that has other work, what comes back stays in "
        "the buckets and is called for afterwards, so that none of it is lost.",
        *_how(),
        "## Made with",
        f"`{command}`, {made_on:%Y-%m-%d}, {machine()}; Azurite, the ARM simulator and fakesnow on "
        "the same machine. It needs the extras `local` and `bench`.",
    ]
    return "\n\n".join(parts) + "\n"


def _setting(asked: Load) -> str:
    answers = f"after {asked.latency_ms:g} ms" if asked.latency_ms else "without delay"
    return (
        f"One collector has {PROCESSES[1]} execute processes, of two each has {PROCESSES[2]}; the "
        f"threads are those of each process. The simulator answers {answers}. A call holds a "
        "thread until it is answered, so it takes as many threads as calls a second times seconds "
        "an answer takes, and more than that to use up full buckets soon."
    )


def _others(alone: Measured, throttled: Sequence[Measured]) -> str:
    asked = throttled[0].load
    rate_each = alone.calls_per_s / alone.load.measured_subscriptions
    kept = " and ".join(
        f"{one.calls_per_s / one.load.measured_subscriptions / rate_each:.1%} "
        f"with {one.load.threads} threads"
        for one in throttled
    )
    return (
        f"Where {asked.throttled} of {asked.subscriptions} subscriptions are throttled, they "
        f"answer every call 429 with `Retry-After: {RETRY_AFTER_S}`, and the figures are those of "
        f"the other {asked.measured_subscriptions}. Of the rate that each has in the first "
        f"measurement they keep {kept}. A request that has to wait holds no thread, and one for a "
        "throttled subscription is passed over, so neither delays another."
    )


def _how() -> list[str]:
    settled = REFILL_PER_S / PACE_PER_S
    return [
        "## Why",
        "Each answer of ARM says what is left of the subscription's count. The pace of calls is "
        "made proportional to that number (`stages/execute/meter.py`): fast while much is left, "
        "slower the less there is, and in balance where the calls equal what comes back: at "
        f"{settled:.3g} calls left where one process asks for a subscription, as in one collector, "
        "and at half of that with a second. The bucket stands low then, so nothing of what comes "
        "back is lost to a full one, and not at zero, so nobody is refused.",
        "Processes, collectors and hosts that call as one principal share the bucket and see the "
        "same number, so the same rule gives each the same share, without a word between them. A "
        "second collector makes no difference to the sum. What other programs take shows in the "
        "number too.",
        "A 429 pauses its subscription, or only the refused operation, for as long as ARM asks "
        "(`stages/execute/throttle.py`). The scheduler gives the next call to whoever has one left "
        "(`stages/execute/scheduler.py`): subscriptions take turns, and within one its messages.",
    ]


# ── the picture ──────────────────────────────────────────────────────────────────────────────────


def draw(measured: Sequence[Measured], file: Path) -> None:
    """Draw rate and bucket levels over time, a column for each measurement.

    Args:
        measured: one or more.
        file: an SVG, or what its suffix says; the same measurements give the same file.
    """
    # It is needed for nothing but this.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "svg.hashsalt": "azure-budget",
            "font.size": 10,
            "axes.edgecolor": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.7,
            "legend.frameon": False,
        }
    ):
        figure = Figure(figsize=SIZE_INCHES, facecolor="white", layout="constrained")
        axes = figure.subplots(2, len(measured), sharex=True, sharey="row", squeeze=False)
        for column, one in enumerate(measured):
            _draw_rate(axes[0][column], one)
            _draw_levels(axes[1][column], one)
        axes[0][0].set_ylabel(f"calls/s (mean of {WINDOW_S:g} s)")
        axes[1][0].set_ylabel("calls left in a bucket")
        axes[0][0].set_xlim(0, max(one.seconds for one in measured))
        axes[0][0].set_ylim(0, LEGEND_ROOM * max(one.dataLim.ymax for one in axes[0]))
        figure.align_ylabels()
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def rates(samples: Sequence[Sample], window_s: float) -> list[tuple[float, float]]:
    """Calls a second, each over the window before it.

    Args:
        samples: in the order of time.
        window_s: least seconds that a rate is taken over.

    Returns:
        The middle of each window in seconds since the first call, and the rate in it.
    """
    found: list[tuple[float, float]] = []
    first = 0
    for last in samples:
        while first + 1 < len(samples) and samples[first + 1].at_s <= last.at_s - window_s:
            first += 1
        begin = samples[first]
        if last.at_s - begin.at_s >= window_s:
            passed_s = last.at_s - begin.at_s
            found.append((begin.at_s + passed_s / 2, (last.calls - begin.calls) / passed_s))
    return found


def _draw_rate(axes: Axes, one: Measured) -> None:
    comes_back = one.load.measured_subscriptions * REFILL_PER_S
    found = rates(_until_done(one), WINDOW_S)
    axes.plot(
        [at_s for at_s, _ in found], [calls_per_s for _, calls_per_s in found],
        color=BLUE, linewidth=1.8, label="calls answered",
    )  # fmt: skip
    axes.axhline(
        comes_back, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)),
        label=f"what comes back: {comes_back:g} calls/s",
    )  # fmt: skip
    axes.set_title(title(one.load).partition(",")[0].capitalize(), loc="left", weight="bold")
    axes.legend(loc="upper right")


def _draw_levels(axes: Axes, one: Measured) -> None:
    samples = _until_done(one)
    times = [sample.at_s for sample in samples]
    axes.plot(
        times, [sample.highest for sample in samples],
        color=ORANGE, linewidth=1.6, linestyle=(0, (4, 1.5)), label="fullest bucket",
    )  # fmt: skip
    axes.plot(
        times, [sample.lowest for sample in samples],
        color=BLUE, linewidth=1.8, label="emptiest bucket",
    )  # fmt: skip
    axes.set_ylim(0, BUCKET_CALLS * 1.05)
    axes.set_xlabel("seconds since the first call")
    axes.legend(loc="upper right")


def _until_done(one: Measured) -> list[Sample]:
    """The samples of its time; at the first call nothing was answered and every bucket full."""
    first = Sample(0.0, 0, BUCKET_CALLS, BUCKET_CALLS)
    return [first, *(sample for sample in one.samples if 0.0 < sample.at_s <= one.seconds)]

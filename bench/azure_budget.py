"""How much of Azure's budget of calls is used: ``python -m bench.azure_budget``.

One measurement with the options given, its figures on standard output; or, with ``--report``, the
four that the page in the documentation shows.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import budget_report
from bench.budget_run import BUCKET_CALLS, Load, Measured, measure
from pipeline.errors import EXIT_DONE, EXIT_UNEXPECTED, CollectorError

PURPOSE = "Measures how much of Azure's budget of calls the collector uses, in the sandbox."
# More are taken for a typing error. A simulated subscription has that many machines at most.
MOST_SUBSCRIPTIONS = 1_000
MOST_REQUESTS = 100_000
MOST_THREADS = 1_000
MOST_LATENCY_MS = 60_000.0
# Of the throttled measurements in the report.
FEW_THREADS, MANY_THREADS = 4, 100


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and tell or write what was found.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        0 measured, 1 the collector failed or its result is not whole, 2 bad usage, 3 the sandbox
        could not be had.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parse(arguments)
    asked = load_of(options)
    try:
        if options.report is None:
            _print(_measure(asked))
        else:
            _report(asked, options.report, f"{budget_report.COMMAND} {shlex.join(arguments)}")
    except CollectorError as error:
        print(f"{budget_report.COMMAND}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_UNEXPECTED
    return EXIT_DONE


# ── usage ────────────────────────────────────────────────────────────────────────────────────────


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, all of them possible together.

    Raises:
        SystemExit: with 2, after the problem was told on standard error.
    """
    default = Load()
    parser = argparse.ArgumentParser(prog=budget_report.COMMAND, description=PURPOSE)
    add = parser.add_argument
    add(
        "--subscriptions", type=int, default=default.subscriptions, metavar="N",
        help="of the simulated tenant (%(default)s)",
    )  # fmt: skip
    add(
        "--requests", type=int, default=default.requests, metavar="N",
        help="of all subscriptions together (%(default)s)",
    )  # fmt: skip
    add(
        "--collectors", type=int, choices=(1, 2),
        help=f"on one queue and one principal ({default.collectors})",
    )  # fmt: skip
    add("--threads", type=int, metavar="N", help=f"of each execute process ({default.threads})")
    add(
        "--latency-ms", type=float, default=default.latency_ms, metavar="MS",
        help="that each answer of ARM waits (%(default)g)",
    )  # fmt: skip
    add(
        "--throttled", type=int, metavar="N",
        help="subscriptions that answer every call 429; the others are measured "
        f"({default.throttled})",
    )  # fmt: skip
    add(
        "--report", type=Path, metavar="FILE.md",
        help="run the four measurements of the documentation, and write its page and picture",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if problem := _problem(options):
        parser.error(problem)
    return options


def load_of(options: argparse.Namespace) -> Load:
    """What the options ask for."""
    default = Load()
    return Load(
        subscriptions=options.subscriptions,
        requests=options.requests,
        collectors=options.collectors or default.collectors,
        threads=options.threads or default.threads,
        latency_ms=options.latency_ms,
        throttled=options.throttled or 0,
    )


def _problem(options: argparse.Namespace) -> str | None:
    """What cannot be measured, if anything."""
    subscriptions, requests = options.subscriptions, options.requests
    limits = (
        ("--subscriptions", subscriptions, 1, MOST_SUBSCRIPTIONS),
        ("--requests", requests, 1, MOST_REQUESTS),
        ("--threads", options.threads, 1, MOST_THREADS),
        ("--latency-ms", options.latency_ms, 0, MOST_LATENCY_MS),
    )
    for name, value, least, most in limits:
        if value is not None and not least <= value <= most:
            return f"{name} takes {least} to {most:,.0f}, got {value:,}"
    if requests % subscriptions:
        return (
            f"--requests takes a multiple of --subscriptions, the same number for each: got "
            f"{requests} for {subscriptions}"
        )
    if requests // subscriptions <= BUCKET_CALLS:
        return (
            f"--requests takes more than {BUCKET_CALLS} for each subscription, which a full bucket "
            f"allows at once: got {requests // subscriptions}"
        )
    if not 0 <= (options.throttled or 0) < subscriptions:
        return (
            f"--throttled takes 0 to {subscriptions - 1}, so that one of {subscriptions} "
            f"subscriptions is left to measure: got {options.throttled}"
        )
    return _report_problem(options) if options.report is not None else None


def _report_problem(options: argparse.Namespace) -> str | None:
    for name in ("collectors", "threads", "throttled"):
        if getattr(options, name) is not None:
            return f"--report has its own --{name} for each of its measurements"
    if options.subscriptions < 2:
        return "--report throttles half of the subscriptions: it takes 2 or more of them"
    file: Path = options.report
    if file.suffix != ".md":
        return f"--report takes a file that ends in .md, got {file}"
    if not file.absolute().parent.is_dir():
        return f"--report takes a file in a folder that is there, got {file}"
    if importlib.util.find_spec("matplotlib") is None:
        return "--report draws with matplotlib, of the extra `bench`: pip install -e '.[bench]'"
    return None


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def report_loads(asked: Load) -> list[Load]:
    """What the page shows: alone, shared, and throttled with few threads and with many."""
    throttled = replace(asked, throttled=asked.subscriptions // 2)
    return [
        asked,
        replace(asked, collectors=2),
        replace(throttled, threads=FEW_THREADS),
        replace(throttled, threads=MANY_THREADS),
    ]


def _measure(asked: Load) -> Measured:
    print(f"measuring: {budget_report.title(asked)} …", file=sys.stderr)
    return measure(asked)


def _print(measured: Measured) -> None:
    print(budget_report.figures([measured]))
    if measured.load.throttled:
        print(
            f"\nThe other {measured.load.throttled} subscriptions answered "
            f"{measured.refused_elsewhere:,} calls, all of them 429."
        )


def _report(asked: Load, file: Path, command: str) -> None:
    """Nothing is written unless all was measured."""
    measured = [_measure(one) for one in report_loads(asked)]
    picture = file.with_suffix(".svg")
    alone, shared, *throttled = measured
    text = budget_report.page(
        alone,
        shared,
        throttled,
        picture_name=picture.name,
        command=command,
        made_on=datetime.now(UTC).date(),
    )
    budget_report.draw([alone, shared], picture)
    file.write_text(text, encoding="utf-8")
    print(budget_report.figures(measured))


if __name__ == "__main__":
    sys.exit(main())

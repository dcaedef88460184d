"""What loading costs: ``python -m bench.load_rate [--rows N] [--report docs/loading.md]``.

A million rows go through the collector's own ``batch`` and ``load`` processes; the figures go to
standard output and, with ``--report``, into the marked part of a page.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import EXIT_DONE, EXIT_UNEXPECTED, CollectorError

COMMAND = "python -m bench.load_rate"
PURPOSE = "Measures what batch and load cost: loads made, processor time, memory."
ROWS = 1_000_000
# More are taken for a typing error.
MOST_ROWS = 20_000_000
# The part of the page that is measured stands between these lines.
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and tell or write what was found.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        0 measured and within the bar, 1 past it or not measured, 2 bad usage, 3 the sandbox could
        not be had.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parse(arguments)
    # Imported late: the stages' processes import this module too, and are to hold nothing that a
    # collector's would not.
    from bench import load_report
    from bench.load_run import measure

    print(f"measuring: {options.rows:,} rows through batch and load …", file=sys.stderr)
    try:
        measured = measure(options.rows)
    except CollectorError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_UNEXPECTED
    print(load_report.figures(measured))
    if problems := measured.problems():
        print("\n".join(f"{COMMAND}: {problem}" for problem in problems), file=sys.stderr)
        return EXIT_UNEXPECTED
    if options.report is not None:
        command = f"{COMMAND} {shlex.join(arguments)}"
        part = load_report.part(measured, command, datetime.now(UTC).date())
        page = options.report.read_text(encoding="utf-8")
        options.report.write_text(put_in(page, part), encoding="utf-8")
    return EXIT_DONE


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options.

    Raises:
        SystemExit: with 2, after the problem was told on standard error.
    """
    parser = argparse.ArgumentParser(prog=COMMAND, description=PURPOSE)
    parser.add_argument(
        "--rows", type=int, default=ROWS, metavar="N", help="of RESOURCES (%(default)s)"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE.md", help=f"page that has the lines {BEGIN} and {END}"
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.rows <= MOST_ROWS:
        parser.error(f"--rows takes 1 to {MOST_ROWS:,}, got {options.rows:,}")
    if options.report is not None:
        try:
            put_in(options.report.read_text(encoding="utf-8"), "")
        except (OSError, ValueError) as error:
            parser.error(f"--report: {error}")
    return options


def put_in(page: str, part: str) -> str:
    """The page with this part between its marks.

    Raises:
        ValueError: it has no such marks.
    """
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"the page has no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{part}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())

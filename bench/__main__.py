"""The collector beside what would be used in its place: ``python -m bench``.

::

    python -m bench                                    # every scenario
    python -m bench --scenario small-gets --runs 1 --requests 2000
    python -m bench --report docs/performance.md       # and put the tables into the page
    python -m bench --results-only --report docs/performance.md

Each scenario's tables go to standard output, and with its JSON and its picture into the folder of
results. The page is made of all results that are in the folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import compare_page, compare_picture, compare_report
from bench.compare import Compared, compare
from bench.contestants import Contestant, contestants
from bench.figures import machine
from bench.load_rate import BEGIN, END, put_in
from bench.measured import Usage
from bench.memory import memory_of
from bench.results import Memory, Outcome, Run
from bench.scenarios import COLLECTOR, EVERYBODY, SCENARIOS, Scenario
from bench.stand import BenchError, Stand
from bench.start_and_drain import drain, start_up
from pipeline.config import load
from pipeline.errors import EXIT_DONE, EXIT_UNEXPECTED, CollectorError

COMMAND = "python -m bench"
PURPOSE = "Measures the collector beside what would be used in its place, in the sandbox."
RESULTS = Path("bench/results")
RUNS = 3
PROFILE = "high-throughput"
# Its memory is measured beside that of the profile that was asked for.
SMALL_PROFILE = "low-memory"
PROFILES = ("high-throughput", "standard", "low-memory")
# More are taken for a typing error.
MOST_RUNS, MOST_REQUESTS = 50, 1_000_000
# The floor and the peers need these, and the pictures.
NEEDED = ("pycurl", "aiohttp", "azure.mgmt", "dlt", "matplotlib", "trustme")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and tell and write what was found.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        0 all runs count, 1 one does not or a scenario could not be measured, 2 bad usage, 3 the
        sandbox could not be had.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parse(arguments)
    # What is started is ended, whichever way this is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.results.mkdir(parents=True, exist_ok=True)
    try:
        code = EXIT_DONE if options.results_only else _measure_all(options, arguments)
        if options.report is not None:
            _report(options.results, options.report)
    except CollectorError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_UNEXPECTED
    return code


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, all of them possible together.

    Raises:
        SystemExit: with 2, after the problem was told on standard error.
    """
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=PURPOSE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scenarios:\n"
        + "\n".join(f"  {one.name:14} {one.title}" for one in SCENARIOS.values()),
    )
    add = parser.add_argument
    add(
        "--scenario", action="append", choices=tuple(SCENARIOS), metavar="NAME",
        help="one of those below; may be given several times (all)",
    )  # fmt: skip
    add("--runs", type=int, default=RUNS, metavar="N", help="of each contestant (%(default)s)")
    add("--requests", type=int, metavar="N", help="API calls of a run (each scenario's own)")
    add("--profile", default=PROFILE, choices=PROFILES, help="of the collector (%(default)s)")
    add(
        "--contestants", type=_names, metavar="A,B",
        help=f"who takes part (all: {','.join(EVERYBODY)})",
    )  # fmt: skip
    add("--results", type=Path, default=RESULTS, metavar="DIR", help="folder (%(default)s)")
    add(
        "--report", type=Path, metavar="FILE.md",
        help=f"page that has the lines {BEGIN} and {END}; its picture is written beside it",
    )  # fmt: skip
    add("--results-only", action="store_true", help="measure nothing; report what is there")
    options = parser.parse_args(arguments)
    if problem := _problem(options):
        parser.error(problem)
    return options


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that were asked for, of the size that was asked for."""
    found = [SCENARIOS[name] for name in options.scenario or SCENARIOS]
    if options.requests is not None:
        found = [one.of_size(options.requests) for one in found]
    if options.contestants is not None:
        found = [
            replace(one, contestants=tuple(n for n in one.contestants if n in options.contestants))
            for one in found
        ]
    return [one for one in found if one.contestants]


def _names(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if unknown := set(names) - set(EVERYBODY):
        raise argparse.ArgumentTypeError(f"takes {', '.join(EVERYBODY)}; got {', '.join(unknown)}")
    return names


def _problem(options: argparse.Namespace) -> str | None:
    for name, most in (("runs", MOST_RUNS), ("requests", MOST_REQUESTS)):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= most:
            return f"--{name} takes 1 to {most:,}, got {value:,}"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed: pip install -e '.[local,bench]'"
    if options.report is not None:
        try:
            put_in(options.report.read_text(encoding="utf-8"), "")
        except (OSError, ValueError) as error:
            return f"--report: {error}"
    return None


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def _measure_all(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    code = EXIT_DONE
    command = f"{COMMAND} {shlex.join(arguments)}".rstrip()
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder,
        Stand(Path(folder)) as stand,
    ):
        for scenario in chosen(options):
            _say(f"{scenario.name}: {scenario.title} …")
            try:
                outcome = _measure(stand, scenario, options, command)
            except BenchError as error:
                _say(f"{scenario.name}: {error}")
                code = EXIT_UNEXPECTED
                continue
            _write(outcome, options.results)
            code = EXIT_UNEXPECTED if outcome.problems else code
    return code


def _measure(
    stand: Stand, scenario: Scenario, options: argparse.Namespace, command: str
) -> Outcome:
    profile, rounds = options.profile, options.runs
    config = load(profile, {}, {}, needs=())
    outcome = Outcome(
        scenario=scenario,
        profile=profile,
        at_once=min(config.num_processes * config.num_threads, config.max_in_flight),
        batch_timeout_s=float(config.batch_timeout),
        command=command,
        made_on=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=machine(),
    )
    taking_part = contestants(scenario.contestants, profile)
    if scenario.kind in ("start", "drain"):
        measure = start_up if scenario.kind == "start" else drain
        timed = measure(stand, scenario, taking_part, rounds, _say)
        return msgspec.structs.replace(outcome, timed=timed)
    if scenario.kind == "steady":
        if profile != SMALL_PROFILE:
            taking_part.append(Contestant(COLLECTOR, SMALL_PROFILE))
        compared = compare(stand, scenario, taking_part, rounds, _say)
        return msgspec.structs.replace(outcome, runs=compared.runs, memory=worst_memory(compared))
    return msgspec.structs.replace(
        outcome, runs=compare(stand, scenario, taking_part, rounds, _say).runs
    )


def worst_memory(compared: Compared) -> list[Memory]:
    """Of each title, the memory of the run that needed most."""
    found: dict[str, tuple[Run, Usage]] = {}
    for run, usage in compared.usages:
        if run.title not in found or usage.peak_bytes > found[run.title][1].peak_bytes:
            found[run.title] = (run, usage)
    return [memory_of(run, usage) for run, usage in found.values()]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ── results ──────────────────────────────────────────────────────────────────────────────────────


def _write(outcome: Outcome, folder: Path) -> None:
    name = outcome.scenario.name
    tables = compare_report.figures(outcome)
    json = msgspec.json.format(msgspec.json.encode(outcome), indent=1)
    (folder / f"{name}.json").write_bytes(json)
    (folder / f"{name}.md").write_text(f"{tables}\n", encoding="utf-8")
    compare_picture.draw(outcome, folder / f"{name}.svg")
    print(f"\n{outcome.scenario.title} ({name})\n\n{tables}\n", flush=True)


def _report(folder: Path, page: Path) -> None:
    """Put what is in the folder into the page, in the order of the scenarios.

    Raises:
        BenchError: there is nothing.
    """
    files = [file for name in SCENARIOS if (file := folder / f"{name}.json").exists()]
    if not files:
        raise BenchError(f"there are no results in {folder}")
    outcomes = [msgspec.json.decode(file.read_bytes(), type=Outcome) for file in files]
    picture = page.with_suffix(".svg")
    text = put_in(page.read_text(encoding="utf-8"), compare_page.part(outcomes, picture.name))
    compare_picture.overview(outcomes, picture)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

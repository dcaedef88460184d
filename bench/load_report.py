"""What the measurement of loading shows, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from bench.figures import machine, table
from bench.load_rows import BODY_BYTES
from bench.load_run import BYTES_PER_LOAD, MOST_BATCHES, PROFILE, Measured, Usage

MB = 1_000_000
MIB = 1 << 20
MICROSECOND = 1e-6


def figures(measured: Measured) -> str:
    """The figures as a table, aligned, so that it reads well on a terminal too."""
    both_s = measured.batch_row_s + measured.load_row_s
    sizes = [load.size_bytes / MB for load in measured.loads]
    rows = [
        ("rows", f"{measured.rows:,}", ""),
        ("Arrow data, MB", f"{measured.arrow_bytes / MB:,.0f}", ""),
        ("loads", f"{len(measured.loads)}", f"at most {measured.loads_allowed}"),
        ("MB a load, least / mean / most", f"{min(sizes):.0f} / {_mean(sizes):.0f} / "
         f"{max(sizes):.0f}", ""),
        ("rows a second, sandbox included", f"{measured.rows_per_s:,.0f}", ""),
        ("`batch`, processor µs a row", f"{measured.batch_row_s / MICROSECOND:.1f}", ""),
        ("`load`, processor µs a row", f"{measured.load_row_s / MICROSECOND:.1f}", ""),
        ("both", f"{both_s / MICROSECOND:.1f}", ""),
        ("of both, `write_pandas` itself", f"{measured.write_pandas_row_s / MICROSECOND:.1f} "
         f"({measured.write_pandas_share:.0%})", ""),
        ("`batch`, peak memory", *_memory(measured, measured.batch, measured.batch_start)),
        ("`load`, peak memory", *_memory(measured, measured.load, measured.load_start)),
    ]  # fmt: skip
    return table(("", "measured", "bar"), rows)


def part(measured: Measured, command: str, made_on: date) -> str:
    """The measured part of the page.

    Args:
        measured: the measurement.
        command: that made it.
        made_on: its day.
    """
    config = measured.config
    setting = (
        f"{measured.rows:,} rows with bodies of {BODY_BYTES:,} bytes, each different, as frames of "
        f"`execute` into the collector's own `batch` and `load` processes, in the profile "
        f"`{PROFILE}`: `BATCH_BYTES` {config.batch_bytes // MIB} MiB, `BATCH_SIZE` "
        f"{config.batch_size:,}, `BATCH_TIMEOUT` {config.batch_timeout:g} s. A measurement counts "
        "only if the table holds every row once, with its body."
    )
    bar = (
        f"The bar: a load for each {BYTES_PER_LOAD / MB:.0f} MB of Arrow data or each "
        f"`BATCH_TIMEOUT`, and less than {MOST_BATCHES} batches of memory in either process, of "
        "which the interpreter and its libraries are a part (in brackets: before the first row). "
        "Memory is the most that was resident, mapped files of the spool included. Processor time "
        "is the system's count for the whole process, without its start."
    )
    made = f"`{command}`, {made_on:%Y-%m-%d}, {machine()}; fakesnow on the same machine."
    return "\n\n".join([setting, figures(measured), bar, made])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _memory(measured: Measured, used: Usage, at_start: Usage) -> tuple[str, str]:
    batch_bytes = measured.config.batch_bytes
    return (
        f"{used.peak_bytes / MIB:.0f} MiB ({at_start.peak_bytes / MIB:.0f}), "
        f"{used.peak_bytes / batch_bytes:.1f} batches",
        f"below {MOST_BATCHES} batches",
    )

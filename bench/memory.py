"""Memory of the stages over a run: whether any of them grows."""

from __future__ import annotations

from bench.measured import Usage
from bench.one_run import process_name
from bench.results import Memory, Run

QUARTERS = 4
# Processes that live shorter than this are none of the stages.
LEAST_LIFE_S = 2.0


def memory_of(run: Run, usage: Usage) -> Memory:
    """What a run's samples tell of its memory.

    Args:
        run: when its calls were made.
        usage: the samples.
    """
    names = _names(usage)
    times_s = [sample.at_s - usage.began_s for sample in usage.samples]
    series = {
        name: [sum(sample.resident_bytes.get(pid, 0) for pid in pids) for sample in usage.samples]
        for name, pids in names.items()
    }
    return Memory(
        title=run.title,
        peak_bytes=usage.peak_bytes,
        quarters={
            name: quarter_peaks(times_s, values, run.first_call_s, run.calling_s)
            for name, values in series.items()
        },
        times_s=[round(at_s, 2) for at_s in times_s],
        series=series,
    )


def quarter_peaks(
    times_s: list[float], values: list[int], begin_s: float, length_s: float
) -> list[int]:
    """The highest value in each quarter of a time; 0 where there is none.

    Args:
        times_s: of the values.
        values: one for each time.
        begin_s: of the time that is divided.
        length_s: of it.
    """
    peaks = [0] * QUARTERS
    for at_s, value in zip(times_s, values, strict=True):
        if length_s > 0 and begin_s <= at_s < begin_s + length_s:
            quarter = int((at_s - begin_s) / length_s * QUARTERS)
            peaks[quarter] = max(peaks[quarter], value)
    return peaks


def _names(usage: Usage) -> dict[str, list[int]]:
    """Process ids by name, of those that live long enough to be named."""
    first_s: dict[int, float] = {}
    last_s: dict[int, float] = {}
    for sample in usage.samples:
        for pid in sample.resident_bytes:
            first_s.setdefault(pid, sample.at_s)
            last_s[pid] = sample.at_s
    found: dict[str, list[int]] = {}
    for pid, began_s in first_s.items():
        if last_s[pid] - began_s >= LEAST_LIFE_S:
            found.setdefault(process_name(usage.names.get(pid, "")), []).append(pid)
    return dict(sorted(found.items()))

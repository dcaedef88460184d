"""What a program used: of its whole process tree, also of what it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import measured, process_tree
from bench.measured import Sample, Usage
from tests.processes import is_gone, until

ROOT = Path(__file__).parents[2]
PARENT_S, CHILD_S = 0.1, 0.3
MIB = 1 << 20
LIMIT_S = 60.0

# Its children use most of its processor time. One of them it does not wait for.
TREE = f"""
import os, subprocess, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
if len(sys.argv) > 1:
    burn({CHILD_S})
    while sys.argv[1] == str(os.getppid()):  # outlives the parent
        time.sleep(0.01)
else:
    waits_for = ("nobody", str(os.getpid()))
    children = [subprocess.Popen([sys.executable, __file__, who]) for who in waits_for]
    burn({PARENT_S})
    children[0].wait()
    sys.exit(3)
"""
SLEEPS = (
    "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
)


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """A program under measurement."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.measured", "--out", "usage.json", "--", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_whole_tree_is_counted_and_none_of_it_is_left(tmp_path: Path) -> None:
    (tmp_path / "tree.py").write_text(TREE)
    with start(tmp_path, sys.executable, "tree.py") as process:
        assert process.wait(LIMIT_S) == 1
    usage = measured.read(tmp_path / "usage.json")
    assert usage.exit_code == 3
    least_s = PARENT_S + 2 * CHILD_S
    # Besides there is the start of three interpreters.
    assert least_s <= usage.processor_s < least_s + 3.0
    assert usage.orphans == 1
    assert usage.wall_s >= PARENT_S
    assert usage.peak_bytes > 5 * MIB
    assert all(is_gone(pid) for sample in usage.samples for pid in sample.processor_s)


def test_a_signal_to_stop_reaches_the_program(tmp_path: Path) -> None:
    with start(tmp_path, sys.executable, "-c", SLEEPS) as process:
        pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
    assert is_gone(pid)
    assert measured.read(tmp_path / "usage.json").exit_code == -signal.SIGTERM


def test_processor_time_up_to_a_moment_lies_between_two_samples() -> None:
    usage = Usage(
        exit_code=0,
        began_s=100.0,
        ended_s=104.0,
        user_s=3.0,
        system_s=1.0,
        samples=[
            Sample(101.0, {1: 1.0}, {}, {}),
            # What has ended is counted on.
            Sample(103.0, {2: 2.0}, {}, {}),
        ],
    )
    assert usage.processor_until(100.5) == pytest.approx(0.5)
    assert usage.processor_until(101.0) == pytest.approx(1.0)
    assert usage.processor_until(102.0) == pytest.approx(2.0)
    assert usage.processor_until(110.0) == pytest.approx(3.0)
    assert usage.processor_s == 4.0


def test_the_peak_is_that_of_the_tree_and_not_the_sum_of_peaks() -> None:
    samples = [
        Sample(1.0, {}, {}, {1: 10, 2: 1}),
        Sample(2.0, {}, {1: 99}, {}),
        Sample(3.0, {}, {}, {1: 2, 2: 10}),
    ]
    usage = Usage(exit_code=0, began_s=0, ended_s=4, user_s=0, system_s=0, samples=samples)
    assert usage.peak_bytes == 12


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    stat = "12 (a (b) c) S 7 12 12 0 -1 4194304 1 0 0 0 250 150 0 0 20 0 4 0 999 5000 300 0"
    usage = process_tree.parsed(stat)
    assert usage.parent == 7
    assert usage.processor_s == 400 / process_tree.TICKS_PER_S
    assert usage.resident_bytes == 300 * process_tree.PAGE_BYTES


def test_descendants_are_found_over_any_depth() -> None:
    def child_of(parent: int) -> process_tree.Usage:
        return process_tree.Usage(parent, 0.0, 0)

    processes = {2: child_of(1), 3: child_of(2), 4: child_of(3), 5: child_of(9)}
    assert process_tree.below(2, processes) == {3, 4}
    assert process_tree.below(5, processes) == set()

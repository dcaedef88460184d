"""A program of the sandbox is waited for, watched, ended, and never outlives its parent."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import SandboxError
from pipeline.sandbox.children import TAIL_LINES, Child, python_command
from tests.processes import is_gone, until

READY = re.compile(r"^ready (\S+)$")
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready now', flush=True); time.sleep(60)"
)
# A module of the standard library that serves until it is ended.
SERVE = ("http.server", "0", "--bind", "127.0.0.1")
PARENT = """
import re, sys, time
from pipeline.sandbox.children import Child, python_command
child = Child("server", python_command(*sys.argv[1:]), ready=re.compile("Serving"),
              env={"PYTHONUNBUFFERED": "1"})
child.await_ready(20)
print(child.pid, flush=True)
time.sleep(60)
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@contextmanager
def started(command: list[str], ready: re.Pattern[str] | None = READY) -> Iterator[Child]:
    child = Child("it", command, ready=ready)
    try:
        yield child
    finally:
        child.stop()


def test_the_ready_line_is_found_among_others() -> None:
    with started(program("print('hm\\nready http://x', flush=True); input()")) as child:
        assert child.await_ready(20).group(1) == "http://x"


def test_one_that_never_says_it_is_waited_for_no_longer_than_asked() -> None:
    with (
        started(program("print('not yet', flush=True); input()")) as child,
        pytest.raises(SandboxError, match="it was not ready after 1 s"),
    ):
        child.await_ready(1)


def test_one_that_ends_early_is_not_waited_for() -> None:
    with (
        started(program("import sys; sys.exit('no such port')")) as child,
        pytest.raises(SandboxError, match=r"(?s)it ended with exit code 1.*no such port"),
    ):
        child.await_ready(30)


def test_only_the_tail_of_its_output_is_kept() -> None:
    with started(
        program("for n in range(5000): print(n)\nprint('x' * 1_000_000)"), ready=None
    ) as child:
        assert child.wait(20) == 0
        assert len(child.tail().splitlines()) <= TAIL_LINES
        assert len(child.tail()) < 100_000


def test_a_death_is_told_once_and_a_stop_is_no_death() -> None:
    told: list[str] = []
    noticed = threading.Event()

    def on_death(text: str) -> None:
        told.append(text)
        noticed.set()

    dying = Child(
        "one", program("print('ready a', flush=True); exit(7)"), ready=READY, on_death=on_death
    )
    stopped = Child("two", program(STUBBORN), ready=READY, on_death=on_death)
    try:
        stopped.await_ready(20)
        assert noticed.wait(20)
    finally:
        stopped.stop(limit_s=0.2)
        dying.stop()
    assert len(told) == 1
    assert told[0].startswith("one ended with exit code 7; its last output:\nready a")


def test_one_that_ignores_sigterm_is_killed() -> None:
    child = Child("it", program(STUBBORN), ready=READY)
    child.await_ready(20)
    child.stop(limit_s=0.2)
    assert child.wait(0) == -signal.SIGKILL


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(SandboxError, match=r"it could not be started: .*no-such-program"):
        Child("it", ["/no-such-program"])


def test_ours_end_when_their_parent_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, *SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.send_signal(signal.SIGKILL)
    until(lambda: is_gone(pid), 10)


def test_a_module_that_is_not_there_is_said() -> None:
    with (
        started(python_command("pipeline.no_such_module")) as child,
        pytest.raises(SandboxError, match=r"pipeline\.no_such_module"),
    ):
        child.await_ready(20)

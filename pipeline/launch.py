"""Starts a stage's process, joined to the supervisor by its control link."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from setproctitle import setproctitle

from pipeline.config import Config
from pipeline.entry_points import STAGES, kind_of, resolve, title_of

_fork = multiprocessing.get_context("fork")
_spawn = multiprocessing.get_context("spawn")

# numpy comes with Arrow and with pandas. Its linear algebra, which nobody here uses, would start a
# thread for each core that looks for work for a while.
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
_STANDARD_STREAMS = 3
_OPEN_DESCRIPTORS = Path("/proc/self/fd")
_THREADS = Path("/proc/self/task")

# <linux/prctl.h>: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

# Called in the process, with the stage's libraries imported, before it becomes the stage.
Before = Callable[[str, Connection], None]


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that was started.

    Attributes:
        control: the supervisor's end of its control link.
    """

    process: BaseProcess
    control: socket.socket


def launch(
    name: str, config: Config, before: Before | None = None, title: str | None = None
) -> Launched:
    """Start a process for the stage of this name.

    Args:
        name: ``fetch``, ``execute-0``, …
        config: settings for it.
        before: called in the process before it becomes the stage.
        title: what ``ps`` shows meanwhile; the stage's own if not given.

    Raises:
        OSError: the system has no process or descriptor left for it.

    It is forked from the supervisor, which has imported nothing that would not survive that: what
    all stages need is there at once, and in memory once. It is spawned where the supervisor has
    threads (a display's, a sandbox's), and on systems whose own libraries do not survive a fork.
    """
    ours, theirs = socket.socketpair()
    connection = Connection(theirs.detach())
    forked = _may_fork()
    inherited = _descriptors() if forked else []
    context = _fork if forked else _spawn
    process = context.Process(
        target=_main,
        args=(
            STAGES[kind_of(name)],
            name,
            config,
            connection,
            before,
            title or title_of(name),
            inherited,
        ),
        name=name,
        daemon=True,
    )
    # A signal that comes before the child has dropped the supervisor's handlers must not be taken
    # for one to the supervisor: both write to the same wakeup descriptor.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        process.start()
    except OSError:
        ours.close()
        connection.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # Closed here, or the death of the child would not be an EOF.
    connection.close()
    return Launched(process, ours)


def _main(
    entry: str,
    name: str,
    config: Config,
    control: Connection,
    before: Before | None,
    title: str,
    inherited: Sequence[int],
) -> None:
    # A forked process would be called a supervisor until it has imported everything.
    setproctitle(title)
    # Nothing that is imported is garbage, and looking for some takes time.
    # The stage looks again once it stands.
    gc.disable()
    _become_nobody(control, inherited)
    _go_on_when_orphaned()
    for variable, value in _NO_THREADS.items():
        os.environ.setdefault(variable, value)
    from pipeline.stage import run_stage

    stage = resolve(entry)
    if before is not None:
        before(name, control)
    run_stage(stage, name, config, control)


def _become_nobody(control: Connection, inherited: Sequence[int]) -> None:
    """Let go of what a forked process has of the supervisor."""
    # Its objects stay for good. If one was found to be garbage here, it would close a descriptor
    # that is this process's by then.
    gc.freeze()
    signal.set_wakeup_fd(-1)
    # A terminal's Ctrl-C and a group-wide SIGTERM reach every process; only the supervisor acts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    # Or a stage would keep the links of the others open, and none would see the supervisor die.
    for descriptor in inherited:
        if descriptor != control.fileno():
            os.close(descriptor)


def _go_on_when_orphaned() -> None:
    """See the supervisor's death even while this process is stopped (SIGSTOP): it would never end.

    To one that runs SIGCONT is nothing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGCONT))


def _may_fork() -> bool:
    # The system's count has those in it that Python does not know of.
    return sys.platform == "linux" and len(list(_THREADS.iterdir())) == 1


def _descriptors() -> list[int]:
    """All that this process has open, but for the standard streams."""
    # The one that reads the folder is in it, and closed by the time the list is there.
    found = [int(entry.name) for entry in _OPEN_DESCRIPTORS.iterdir()]
    return [number for number in found if number >= _STANDARD_STREAMS and _is_open(number)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True

"""Starts a stage's process, joined to the supervisor by its control link."""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pipeline.config import Config
from pipeline.entry_points import STAGES, kind_of, resolve

# Never fork: the connector, Arrow and every thread-using library break in a forked child.
_spawn = multiprocessing.get_context("spawn")

# numpy comes with Arrow and with pandas. Its linear algebra, which nobody here uses, would start a
# thread for each core that looks for work for a while.
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}

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


def launch(name: str, config: Config, before: Before | None = None) -> Launched:
    """Start a process for the stage of this name."""
    ours, theirs = socket.socketpair()
    connection = Connection(theirs.detach())
    process = _spawn.Process(
        target=_main,
        args=(STAGES[kind_of(name)], name, config, connection, before),
        name=name,
        daemon=True,
    )
    process.start()
    # Closed here, or the death of the child would not be an EOF.
    connection.close()
    return Launched(process, ours)


def _main(
    entry: str, name: str, config: Config, control: Connection, before: Before | None
) -> None:
    # Nothing that is imported is garbage, and looking for some takes time.
    # The stage looks again once it stands.
    gc.disable()
    for variable, value in _NO_THREADS.items():
        os.environ.setdefault(variable, value)
    from pipeline.stage import run_stage

    stage = resolve(entry)
    if before is not None:
        before(name, control)
    run_stage(stage, name, config, control)

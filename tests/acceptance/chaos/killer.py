"""``python -m pipeline`` in which some requests kill their worker.

There is no way to it in the product. It does not replace what it wraps: calls of other paths go
through.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from pipeline.entry_points import kind_of
from tests.acceptance.chaos.in_stages import in_every_stage

# A request whose path has this in it dies so.
SEGFAULT = "dies-of-segfault"
OUT_OF_MEMORY = "dies-of-memory"
EATEN_BYTES = 256 * 1024 * 1024


def _die(target: str) -> None:
    if SEGFAULT in target:
        # A real one: kill() would leave this thread running until another one takes the signal.
        ctypes.string_at(0)
    if OUT_OF_MEMORY in target:
        eaten = bytearray(EATEN_BYTES)
        for page in range(0, EATEN_BYTES, 4096):
            eaten[page] = 1
        # As the kernel does to the largest process.
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(process: str) -> None:
    if kind_of(process) != "execute":
        return
    from stages.execute.client import ArmClient

    exchange = ArmClient.exchange

    def wrapped(self: ArmClient, method: str, target: str, *rest: Any, **more: Any) -> Any:
        _die(target)
        return exchange(self, method, target, *rest, **more)

    ArmClient.exchange = wrapped  # type: ignore[method-assign]


if __name__ == "__main__":
    from pipeline.cli import main

    in_every_stage(_wrap)
    sys.exit(main())

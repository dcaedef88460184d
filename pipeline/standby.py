"""A process that stands by: it has imported a stage's libraries, and waits to be that stage.

Importing pandas and the Snowflake connector takes longer than a collector may stand still after
``load`` has died. A standby has done that; it holds nothing, is connected to nothing, and becomes
the stage with the first word on its control link.
"""

from __future__ import annotations

import os
import socket
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from setproctitle import setproctitle

from pipeline.config import Config
from pipeline.launch import Launched, launch

# After it ended on its own, another is started no sooner than this.
RESTART_S = 30.0
# So long after its stage stands: the stages have the processor first.
AFTER_S = 3.0
# And in a run that ends with the queue: only one that lasts pays for it.
SHORT_RUN_S = 60.0
TITLE = "azure-collector standby"


class Standby:
    """The process that stands by for one stage.

    Args:
        name: of the stage.
        config: settings for it.
        first_after_s: how long the stage stands before the first one is started, in seconds.
    """

    def __init__(self, name: str, config: Config, first_after_s: float) -> None:
        self.name = name
        self._config = config
        self._launched: Launched | None = None
        self._not_before_s = 0.0
        self._after_s = first_after_s

    @property
    def process(self) -> BaseProcess | None:
        """The process, or None while none stands by."""
        return self._launched.process if self._launched is not None else None

    def due(self, now_s: float, stands_s: float) -> bool:
        """Whether one should be started.

        Args:
            now_s: monotonic seconds.
            stands_s: since when the stage has stood.
        """
        return self._launched is None and now_s >= max(self._not_before_s, stands_s + self._after_s)

    def start(self) -> BaseProcess:
        """Start one."""
        self._launched = launch(
            self.name, self._config, await_turn, f"{TITLE}: {self.name}, starting"
        )
        return self._launched.process

    def take(self) -> Launched | None:
        """Give the process away, if there is one, to be the stage from now on."""
        launched, self._launched = self._launched, None
        if launched is not None:
            self._after_s = AFTER_S
        return launched

    def died(self, now_s: float) -> None:
        """It ended on its own."""
        self._not_before_s = now_s + RESTART_S
        self.end()

    def end(self) -> None:
        """Kill it, if it is there."""
        if (launched := self.take()) is not None:
            launched.control.close()
            launched.process.kill()
            launched.process.join()
            launched.process.close()


def await_turn(name: str, control: Connection) -> None:
    """In the process: wait for the first word on the control link; end when nobody is left."""
    setproctitle(f"{TITLE}: {name}")
    with socket.socket(fileno=os.dup(control.fileno())) as waiting:
        waiting.setblocking(True)
        # The word stays where it is, for the stage to read.
        if not waiting.recv(1, socket.MSG_PEEK):
            os._exit(0)

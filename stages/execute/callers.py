"""The threads of an execute process: each takes a call that is due, makes it, and comes back."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from pipeline.messages import InCall, Token
from stages.execute import flight
from stages.execute.client import Answer, ArmClient, ExchangeFailed
from stages.execute.recorded import Recorded
from stages.execute.run import RequestRun
from stages.execute.steps import Step
from stages.execute.throttle import Ticket


class Exchange:
    """A call, and what came of it.

    Args:
        run: the request whose call it is.
        client: the connections that it is made over.
        ticket: the call's.
        token: that it is made with.

    Attributes:
        answer: None if no whole one came.
        step: how the request goes on, or the bug that it met.
    """

    __slots__ = ("answer", "client", "run", "step", "ticket", "token")

    def __init__(self, run: RequestRun, client: ArmClient, ticket: Ticket, token: Token) -> None:
        self.run = run
        self.client = client
        self.ticket = ticket
        self.token = token
        self.answer: Answer | None = None
        self.step: Step | BaseException | None = None

    def make(self) -> Step | BaseException:
        """Call, and work the answer into rows."""
        run, call = self.run, self.run.call
        run.calling(time.monotonic(), _now_us())
        try:
            self.answer = self.client.exchange(
                call.method, call.target, call.headers, call.body, self.token.value
            )
        except ExchangeFailed as error:
            return run.unanswered(error, time.monotonic(), _now_us())
        return run.answered(self.answer, time.monotonic(), _now_us())


class Replay:
    """A request that gets the answer to another one's, without a call.

    Args:
        run: the request.
        recorded: the answer.

    Attributes:
        step: as of :class:`Exchange`.
    """

    __slots__ = ("recorded", "run", "step")

    def __init__(self, run: RequestRun, recorded: Recorded) -> None:
        self.run = run
        self.recorded = recorded
        self.step: Step | BaseException | None = None

    @property
    def message(self) -> int:
        """Which message it is of."""
        return self.run.message

    def make(self) -> Step | BaseException:
        """Work the answer into rows."""
        return self.run.replay(self.recorded, _now_us())


class Callers:
    """A fixed number of threads that make calls.

    Args:
        recorder: where each thread notes what it is busy with.
        threads: how many.
        made: told of each call that is over, in the thread that made it.
    """

    def __init__(
        self,
        recorder: flight.FlightRecorder,
        threads: int,
        made: Callable[[Exchange | Replay], object],
    ) -> None:
        self._recorder = recorder
        self._made = made
        self._due: queue.SimpleQueue[Exchange | Replay] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(
                target=self._work, args=(number,), name=f"call-{number}", daemon=True
            ).start()

    def call(self, due: Exchange | Replay) -> None:
        """Have it made by the next thread that is free."""
        self._due.put(due)

    def _work(self, thread: int) -> None:
        while True:
            due = self._due.get()
            self._recorder.began(thread, _entry_of(due.run))
            try:
                due.step = due.make()
            except Exception as error:  # noqa: BLE001  # told to the loop, which gives it an outcome
                due.step = error
            self._recorder.ended(thread)
            self._made(due)


def _entry_of(run: RequestRun) -> bytes:
    lease = run.lease
    return flight.entry(InCall(lease.queue, lease.queue_message_id, run.planned.index, run.alone))


def _now_us() -> int:
    return time.time_ns() // 1000

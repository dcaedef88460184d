"""The threads of an execute process: each takes a call that is due, makes it, and comes back."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from pipeline.messages import InCall
from stages.execute import flight
from stages.execute.client import Answer, ArmClient, ExchangeFailed
from stages.execute.run import RequestRun
from stages.execute.steps import Step
from stages.execute.throttle import Ticket


class Exchange:
    """A call, and what came of it.

    Args:
        run: the request whose call it is.
        ticket: the call's.
        serial: of the token that it is made with.

    Attributes:
        answer: None if no whole one came.
        step: how the request goes on, or the bug that it met.
    """

    __slots__ = ("answer", "run", "serial", "step", "ticket")

    def __init__(self, run: RequestRun, ticket: Ticket, serial: int) -> None:
        self.run = run
        self.ticket = ticket
        self.serial = serial
        self.answer: Answer | None = None
        self.step: Step | BaseException | None = None


class Callers:
    """A fixed number of threads that make calls.

    Args:
        client: the connections.
        recorder: where each thread notes what it is busy with.
        threads: how many.
        made: told of each call that is over, in the thread that made it.
    """

    def __init__(
        self,
        client: ArmClient,
        recorder: flight.FlightRecorder,
        threads: int,
        made: Callable[[Exchange], object],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._made = made
        self._due: queue.SimpleQueue[tuple[Exchange, str]] = queue.SimpleQueue()
        for number in range(threads):
            threading.Thread(
                target=self._work, args=(number,), name=f"call-{number}", daemon=True
            ).start()

    def call(self, exchange: Exchange, token: str) -> None:
        """Have a call made by the next thread that is free."""
        self._due.put((exchange, token))

    def _work(self, thread: int) -> None:
        while True:
            exchange, token = self._due.get()
            self._recorder.began(thread, _entry_of(exchange.run))
            exchange.step = self._exchange(exchange, token)
            self._recorder.ended(thread)
            self._made(exchange)

    def _exchange(self, exchange: Exchange, token: str) -> Step | BaseException:
        run, call = exchange.run, exchange.run.call
        run.calling(time.monotonic(), _now_us())
        try:
            try:
                exchange.answer = self._client.exchange(
                    call.method, call.target, call.headers, call.body, token
                )
            except ExchangeFailed as error:
                return run.unanswered(error, time.monotonic(), _now_us())
            return run.answered(exchange.answer, time.monotonic(), _now_us())
        except Exception as error:  # noqa: BLE001  # told to the loop, which gives it an outcome
            return error


def _entry_of(run: RequestRun) -> bytes:
    lease = run.lease
    return flight.entry(InCall(lease.queue, lease.queue_message_id, run.planned.index, run.alone))


def _now_us() -> int:
    return time.time_ns() // 1000

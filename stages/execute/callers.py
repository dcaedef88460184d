"""The calls of an execute process: each has a slot while it is under way, and says how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pipeline.messages import InCall, Token
from stages.execute import flight
from stages.execute.client import Answer, ArmClient, ExchangeFailed
from stages.execute.recorded import Recorded
from stages.execute.run import RequestRun
from stages.execute.steps import Step
from stages.execute.throttle import Ticket

# An answer that is larger is worked into rows by a thread, so that the loop goes on meanwhile.
# Handing a small one over would cost more than the work.
INLINE_BYTES = 128 * 1024


class Exchange:
    """A call, and what came of it.

    Args:
        run: the request whose call it is.
        client: the connections that it is made over.
        ticket: the call's.
        token: that it is made with.

    Attributes:
        answer: None if no whole one came.
        seconds: that it took.
        step: how the request goes on, or the bug that it met.
    """

    __slots__ = ("answer", "began_s", "client", "run", "seconds", "step", "ticket", "token")

    def __init__(self, run: RequestRun, client: ArmClient, ticket: Ticket, token: Token) -> None:
        self.run = run
        self.client = client
        self.ticket = ticket
        self.token = token
        self.began_s = 0.0
        self.seconds = 0.0
        self.answer: Answer | None = None
        self.step: Step | BaseException | None = None


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


class Callers:
    """A fixed number of places for calls.

    Args:
        recorder: where it is noted what each place is busy with.
        places: how many.
        made: told of each call that is over, in a later turn of the loop than :meth:`call`.
        spawn: runs a task for as long as the process lives.
    """

    def __init__(
        self,
        recorder: flight.FlightRecorder,
        places: int,
        made: Callable[[Exchange | Replay], object],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._recorder = recorder
        self._made = made
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._free = list(range(places))

    def call(self, due: Exchange | Replay) -> None:
        """Have it made; there has to be a place."""
        place = self._free.pop()
        run = due.run
        self._recorder.began(place, _entry_of(run))
        if isinstance(due, Replay):
            self._loop.call_soon(self._work, due, place, lambda: run.replay(due.recorded, now_us()))
            return
        call = run.call
        due.began_s = time.monotonic()
        run.calling(due.began_s, now_us())

        def told(came: Answer | ExchangeFailed) -> None:
            self._answered(due, place, came)

        try:
            due.client.exchange(
                call.method,
                call.target,
                call.headers,
                call.body,
                due.token.value,
                told,
                repeatable=run.call_repeatable,
            )
        except ExchangeFailed as error:
            self._loop.call_soon(told, error)

    def _answered(self, due: Exchange, place: int, came: Answer | ExchangeFailed) -> None:
        run = due.run
        now_s = time.monotonic()
        due.seconds = now_s - due.began_s
        if isinstance(came, ExchangeFailed):
            failed = came
            self._work(due, place, lambda: run.unanswered(failed, now_s, now_us()))
            return
        due.answer = answer = came

        def step() -> Step:
            return run.answered(answer, now_s, now_us())

        if len(answer.body) > INLINE_BYTES or run.planned.select is not None:
            self._spawn(self._work_aside(due, place, step))
        else:
            self._work(due, place, step)

    async def _work_aside(self, due: Exchange, place: int, work: Callable[[], Step]) -> None:
        try:
            due.step = await asyncio.to_thread(work)
        except Exception as error:  # noqa: BLE001  # as below
            due.step = error
        self._over(due, place)

    def _work(self, due: Exchange | Replay, place: int, work: Callable[[], Step]) -> None:
        """Work an answer into rows."""
        try:
            due.step = work()
        except Exception as error:  # noqa: BLE001  # told to the loop, which gives it an outcome
            due.step = error
        self._over(due, place)

    def _over(self, due: Exchange | Replay, place: int) -> None:
        self._recorder.ended(place)
        self._free.append(place)
        self._made(due)


def _entry_of(run: RequestRun) -> bytes:
    lease = run.lease
    return flight.entry(InCall(lease.queue, lease.queue_message_id, run.planned.index, run.alone))


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000

"""An execute process: a loop that decides, threads that call.

The loop holds the requests, their buckets and the links; a thread takes a call that is due, makes
it, works its answer into rows, and comes back for the next. No thread waits on a request's behalf.
"""

from __future__ import annotations

import asyncio
import socket
import time

from pipeline.config import Config
from pipeline.disk import Reminder
from pipeline.errors import Unreachable
from pipeline.https import first_hop
from pipeline.identity import arm_endpoint
from pipeline.links import LinkClosed
from pipeline.logs import add_secret, log
from pipeline.messages import (
    AnyLink,
    Drain,
    Executed,
    NoToken,
    Returned,
    Token,
    TokenWanted,
    Work,
    WorkerUp,
)
from pipeline.stage import Stage
from stages.execute import flight
from stages.execute.callers import Callers, Exchange
from stages.execute.client import ArmClient
from stages.execute.held import HoldSpace
from stages.execute.origin import Origin
from stages.execute.run import RequestRun
from stages.execute.scheduler import Scheduler
from stages.execute.steps import Again, Done, FreshToken, HeldBack, Limits, PutOff
from stages.execute.throttle import Ticket

# Done and not yet written to ``batch``; past this the threads rest: back-pressure.
MAX_UNWRITTEN = 256
# Between two looks for requests whose time is over.
TIMEOUT_TICK_S = 1.0
# What has not begun goes back to ``fetch`` when its scope is throttled for longer.
RETURN_AFTER_S = 3.0
# A token with less life left than this is not sent any more.
TOKEN_MARGIN_S = 5.0


class Execute(Stage):
    """Stage ``execute``: one of NUM_PROCESSES."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        self._origin = Origin.parse(arm_endpoint(config))
        self._limits = Limits(
            max_retries=config.max_retries,
            initial_retry_delay_s=config.initial_retry_delay,
            max_backoff_s=config.max_backoff,
            request_timeout_s=config.request_timeout,
            max_wait_s=config.max_wait,
            put_off_until=config.put_off_until,
        )
        self._client = ArmClient(
            self._origin,
            connections=config.num_threads,
            connect_timeout_s=config.arm_connect_timeout,
            read_timeout_s=config.arm_read_timeout,
            answer_timeout_s=config.request_timeout,
            max_body_bytes=config.max_response_bytes,
        )
        self._space = HoldSpace(config.spool_dir, batch_bytes=config.batch_bytes)
        self._no_room = Reminder()
        self._scheduler: Scheduler[RequestRun] = Scheduler()
        self._flight = flight.FlightRecorder(
            config.spool_dir / (name + flight.SUFFIX), config.num_threads
        )
        # Taken from the scheduler, and waits for the calls under way: nothing is beside its own.
        self._next_alone: tuple[RequestRun, Ticket] | None = None
        self._alone = False
        self._token: Token | None = None
        self._awaiting_token: list[RequestRun] = []
        self._calling = 0
        self._unwritten = 0
        # All that are held, wherever they wait.
        self._runs: set[RequestRun] = set()
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._callers = Callers(
            self._client,
            self._flight,
            config.num_threads,
            lambda made: self._loop.call_soon_threadsafe(self._exchanged, made),
        )

    # ── the hooks ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """See that something listens at the ARM endpoint."""
        try:
            await asyncio.to_thread(_reach, self._origin, self.config.arm_connect_timeout)
        except OSError as error:
            raise Unreachable(
                "ARM",
                f"{self._origin} cannot be reached: {error}",
                "check AZURE_ARM_ENDPOINT, AZURE_CLOUD, name resolution, proxy and firewall",
            ) from error
        self.spawn(self._expire())

    async def on_peer(self, peer: str, generation: int) -> None:
        """Tell ``fetch`` how things stand, before it hands out anything on this link."""
        if peer == "fetch":
            held = [
                (run.lease.lease_id, run.lease.attempt, run.planned.index) for run in self._runs
            ]
            await self.send(peer, WorkerUp(held, self._flight.died_in))
            self._flight.open()

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """Work comes in, and tokens."""
        match message:
            case Work():
                self._take(message)
            case Token():
                add_secret(message.value, passing=True)
                self._token = message
                self._token_news()
            case NoToken():
                self._no_token(message)

    async def drain(self, request: Drain) -> None:
        """Let go of what has not begun, finish the calls under way, write what is done."""
        self._draining = True
        waiting = [*self._scheduler.clear(), *self._awaiting_token]
        if self._next_alone is not None:
            waiting.append(self._next_alone[0])
        for run in waiting:
            self._let_go(run)
        self._awaiting_token = []
        self._next_alone = None
        while self._runs:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close the connections; a call that is cut off now has killed nobody."""
        self._flight.close()
        self._client.close()

    def idle(self) -> bool:
        """No request is held."""
        return not self._runs

    def gauges(self) -> dict[str, float]:
        """Requests held, calls under way, scopes that wait."""
        return {
            "requests_held": len(self._runs),
            "calls_under_way": self._calling,
            "scopes_throttled": self._scheduler.throttled_scopes(),
        }

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    def _take(self, work: Work) -> None:
        if self._draining:
            return
        now_s = time.monotonic()
        for planned in work.requests:
            run = RequestRun(
                work.lease,
                planned,
                self._origin,
                self._limits,
                self._space,
                work.alone,
                work.priority,
            )
            self._runs.add(run)
            self._scheduler.add(run, now_s)
        self._pump()

    def _pump(self) -> None:
        """Give the threads what is due, and set the alarm for what is due next."""
        now_s = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        token = self._token
        if token is None or token.expires_at_s - time.time() < TOKEN_MARGIN_S:
            return  # the next token pumps
        while self._free() and (due := self._next_run(now_s)) is not None:
            run, ticket = due
            self._calling += 1
            self._alone = run.alone
            self._callers.call(Exchange(run, ticket, token.serial), token.value)
        wake_s = self._scheduler.next_wake_s()
        # Whoever comes back, from a call or from writing, pumps too.
        if wake_s is not None and self._free():
            self._timer = self._loop.call_later(max(0.001, wake_s - now_s), self._pump)

    def _free(self) -> bool:
        """Another call may be made now."""
        return (
            self._calling < self.config.num_threads
            and self._unwritten < MAX_UNWRITTEN
            and not (self._calling and (self._alone or self._next_alone is not None))
        )

    def _next_run(self, now_s: float) -> tuple[RequestRun, Ticket] | None:
        """Whose call is next; one that must be alone waits for those under way."""
        if (due := self._next_alone) is not None:
            self._next_alone = None
            return due
        due = self._scheduler.take(now_s)
        if due is not None and due[0].alone and self._calling:
            self._next_alone = due
            return None
        return due

    def _exchanged(self, made: Exchange) -> None:
        """A thread came back."""
        self._calling -= 1
        now_s = time.monotonic()
        run, step, answer = made.run, made.step, made.answer
        self.counters["calls"] += 1
        if answer is not None:
            self.counters[f"status_{answer.status}"] += 1
            if run.refusal is not None:
                self.counters["throttled_calls"] += 1
                self._scheduler.block(
                    made.ticket, run.refusal.wait_s, now_s, run.refusal.whole_scope
                )
            refused = run.refusal is not None
            self._scheduler.answered(made.ticket, answer.headers, now_s, refused)
        else:
            self._scheduler.lost(made.ticket)
        match step:
            case Again():
                self._go_on(run, step.after_s, now_s)
            case FreshToken():
                self._refused(run, made.serial)
            case HeldBack():
                self._hold_back(run, step, now_s)
            case PutOff():
                self._give_back(run, step.after_s)
            case Done():
                self._finish(run, step)
            case error:
                assert isinstance(error, BaseException)
                # A bug of ours must neither lose the request nor end the process.
                log.bind(action="request_failed", message_id=run.lease.message_id).opt(
                    exception=error
                ).error("unexpected failure of request {}", run.planned.index)
                self._finish(run, run.give_up("failed", "CollectorError", repr(error), _now_us()))
        self._pump()

    def _hold_back(self, run: RequestRun, step: HeldBack, now_s: float) -> None:
        self.counters["requests_held_back"] += 1
        if self._no_room.due(now_s):
            log.bind(action="requests_held_back", folder=str(self._space.folder)).error(
                "no room for the rows of long lists; these requests begin anew until there is: {}",
                step.problem,
            )
        self._go_on(run, step.after_s, now_s)

    def _go_on(self, run: RequestRun, after_s: float, now_s: float) -> None:
        if self._draining and after_s > 0:
            self._let_go(run)
        else:
            self._scheduler.add(run, now_s, after_s)

    def _let_go(self, run: RequestRun) -> None:
        self._runs.discard(run)
        run.close()

    def _finish(self, run: RequestRun, done: Done) -> None:
        self._unwritten += 1
        self.counters["requests"] += 1
        self.counters[f"outcome_{done.outcome.outcome}"] += 1
        self.spawn(self._write(run, done))

    async def _write(self, run: RequestRun, done: Done) -> None:
        """Write a request's rows to ``batch``, wholly to one process of it; then tell ``fetch``."""
        while True:
            link = await self.link_to("batch")
            generation = self.generations["batch"]
            try:
                await link.send_frames(done.frames)
                break
            except LinkClosed:
                await self.peer_gone("batch", link)
        self._unwritten -= 1
        self._let_go(run)
        self._pump()
        await self.send(
            "fetch",
            Executed(run.lease.lease_id, run.lease.attempt, run.planned.index, generation),
        )
        if self.idle():
            self.beat()

    # ── tokens ───────────────────────────────────────────────────────────────────────────────

    def _refused(self, run: RequestRun, serial: int) -> None:
        if self._draining:
            self._let_go(run)
            return
        if self._token is not None and self._token.serial > serial:
            self._scheduler.add(run, time.monotonic())
            return
        self._awaiting_token.append(run)
        if len(self._awaiting_token) == 1:
            self.spawn(self.send("fetch", TokenWanted(serial)))

    def _token_news(self) -> None:
        waiting, self._awaiting_token = self._awaiting_token, []
        for run in waiting:
            self._scheduler.add(run, time.monotonic())
        self._pump()

    def _no_token(self, news: NoToken) -> None:
        """Without a token those that wait for one can only fail; others use the old one."""
        waiting, self._awaiting_token = self._awaiting_token, []
        for run in waiting:
            outcome = "forbidden" if news.forbidden else "failed"
            self._finish(run, run.give_up(outcome, "NoToken", news.problem, _now_us()))

    async def _expire(self) -> None:
        """End requests whose time is over while they wait."""
        while True:
            await asyncio.sleep(TIMEOUT_TICK_S)

            def out_of_time(run: RequestRun, now_s: float = time.monotonic()) -> bool:
                return run.out_of_time(now_s)

            late = [run for run in self._awaiting_token if out_of_time(run)]
            for run in late:
                self._awaiting_token.remove(run)
            late += self._scheduler.remove(out_of_time)
            for run in late:
                self._finish(run, run.time_is_up(_now_us()))
            self._return_throttled(time.monotonic())
            self._pump()

    def _return_throttled(self, now_s: float) -> None:
        """Give ``fetch`` back what has not begun and cannot for longer: others may have its place.

        What has begun has its retries to count, and stays.
        """
        for run, wait_s in self._scheduler.remove_blocked(
            now_s, RETURN_AFTER_S, lambda run: not run.begun
        ):
            self._give_back(run, wait_s)

    def _give_back(self, run: RequestRun, wait_s: float) -> None:
        self._let_go(run)
        lease, index = run.lease, run.planned.index
        returned = Returned(lease.lease_id, lease.attempt, [index], wait_s)
        self.spawn(self.send("fetch", returned))


def _now_us() -> int:
    return time.time_ns() // 1000


def _reach(origin: Origin, timeout_s: float) -> None:
    address = first_hop(origin.scheme, origin.host, origin.port)
    socket.create_connection(address, timeout_s).close()

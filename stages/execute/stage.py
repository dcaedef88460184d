"""An execute process: a loop that holds the requests, their buckets, their calls and the links.

A call that is due gets one of NUM_THREADS places and is a transfer of libcurl's until its answer is
here; a long answer is worked into rows by a thread. Nothing waits on a request's behalf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.disk import Reminder
from pipeline.logs import add_secret, log
from pipeline.messages import (
    ARM,
    AUDIENCES,
    AnyLink,
    Drain,
    NoToken,
    Outcome,
    Returned,
    ScopeLevel,
    Token,
    TokenWanted,
    Work,
    WorkerUp,
)
from pipeline.metrics.series import series_of
from pipeline.stage import Stage
from pipeline.transfers import Transfers
from stages.execute import flight
from stages.execute.apis import Api
from stages.execute.callers import Callers, Exchange, Replay, now_us
from stages.execute.counted import HELD_BACK, SHARED_ANSWERS, Counted
from stages.execute.fair import FairLine
from stages.execute.held import HoldSpace
from stages.execute.levels import lowest
from stages.execute.outbox import Outbox
from stages.execute.recorded import Recorded
from stages.execute.run import RequestRun
from stages.execute.scheduler import Scheduler
from stages.execute.sharing import Sharing
from stages.execute.steps import Again, Done, FreshToken, HeldBack, Limits, PutOff
from stages.execute.throttle import Ticket

# Done and not yet written to ``batch``; past this no call is made: back-pressure.
MAX_UNWRITTEN = 256
# Between two looks for scopes that are throttled.
TICK_S = 1.0
# A request whose time is over while it waits may find out later by this part of REQUEST_TIMEOUT.
LATE_BY = 0.01
# What has not begun goes back to ``fetch`` when its scope is throttled for longer.
RETURN_AFTER_S = 3.0
# While whoever gives tokens is away.
NO_TOKEN_WAIT_S = 10.0


class Execute(Stage):
    """Stage ``execute``: one of NUM_PROCESSES."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        self._transfers = Transfers(config.num_threads)
        self._apis = {audience: Api(audience, config, self._transfers) for audience in AUDIENCES}
        self._limits = Limits(
            max_retries=config.max_retries,
            initial_retry_delay_s=config.initial_retry_delay,
            max_backoff_s=config.max_backoff,
            request_timeout_s=config.request_timeout,
            max_wait_s=config.max_wait,
            put_off_until=config.put_off_until,
        )
        self._space = HoldSpace(config.spool_dir, batch_bytes=config.batch_bytes)
        self._no_room = Reminder()
        self._counted = Counted(self.metrics, self.tracer)
        self._scheduler: Scheduler[RequestRun] = Scheduler()
        self._sharing: Sharing[RequestRun] = Sharing(config.cache_ttl)
        # Those whose answer is here already, asked for by another.
        self._replays: FairLine[Replay] = FairLine()
        self._flight = flight.FlightRecorder(
            config.spool_dir / (name + flight.SUFFIX), config.num_threads
        )
        # Taken from the scheduler, and waits for the calls under way: nothing is beside its own.
        self._next_alone: tuple[RequestRun, Ticket] | None = None
        self._alone = False
        self._calling = 0
        self._outbox = Outbox(self, self._written)
        # All that are held, wherever they wait.
        self._runs: set[RequestRun] = set()
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False
        self._loop = asyncio.get_running_loop()
        self._callers = Callers(self._flight, config.num_threads, self._made, self.spawn)

    # ── the hooks ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """See that something listens at the ARM endpoint."""
        await asyncio.to_thread(self._apis[ARM].reach)
        self.spawn(self._expire())
        self.spawn(self._outbox.run())

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
                self._token_news(message)
            case NoToken():
                self._no_token(message)

    async def drain(self, request: Drain) -> None:
        """Let go of what has not begun, finish the calls under way, write what is done."""
        self._draining = True
        waiting = [*self._scheduler.clear(), *self._sharing.remove(lambda _: True)]
        waiting += [replay.run for replay in self._replays.remove(lambda _: True)]
        for api in self._apis.values():
            waiting += api.waiting
            api.waiting = []
        if self._next_alone is not None:
            waiting.append(self._next_alone[0])
            self._next_alone = None
        for run in waiting:
            self._let_go(run)
        while self._runs:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close the connections; a call that is cut off now has killed nobody."""
        self._flight.close()
        self._transfers.close()

    def idle(self) -> bool:
        """No request is held."""
        return not self._runs

    def gauges(self) -> dict[str, float]:
        """Calls under way, scopes that wait."""
        paused = self._scheduler.paused_scopes().items()
        scopes = {series_of("scopes_paused", kind): float(count) for kind, count in paused}
        return {"calls_in_flight": self._calling, **scopes}

    def scope_levels(self, now_s: float) -> list[ScopeLevel]:
        """The scopes that Azure has least left of."""
        return lowest(self._scheduler.buckets(), now_s)

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    def _take(self, work: Work) -> None:
        if self._draining:
            return
        now_s = time.monotonic()
        for planned in work.requests:
            origin = self._apis[planned.audience].origin
            run = RequestRun(
                work.lease, planned, origin, self._limits, self._space, work.alone, work.priority
            )
            self._runs.add(run)
            if (recorded := self._sharing.answer(run, now_s)) is not None:
                self._replays.add(Replay(run, recorded))
            else:
                self._scheduler.add(run, now_s)
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Pump once in the next turn of the loop, however many ask for it in this one."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Make the calls that are due, and set the alarm for what is due next."""
        self._pumping = False
        now_s = time.monotonic()
        while self._free() and (due := self._next_run(now_s)) is not None:
            self._call(*due, now_s)
        while self._replays and self._free():
            self._calling += 1
            self._callers.call(self._replays.pop())
        wake_s = self._scheduler.next_wake_s()
        # Whoever comes back, from a call or from writing, pumps too.
        if wake_s is not None and self._free():
            self._wake_at(max(now_s + 0.001, wake_s))

    def _wake_at(self, wake_s: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= wake_s:
                return  # it pumps too early, and is set anew then
            self._timer.cancel()
        self._timer = self._loop.call_at(wake_s, self._alarm)

    def _alarm(self) -> None:
        self._timer = None
        self._pump()

    def _free(self) -> bool:
        """Another call may be made now."""
        return (
            self._calling < self.config.num_threads
            and len(self._outbox) < MAX_UNWRITTEN
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

    def _call(self, run: RequestRun, ticket: Ticket, now_s: float) -> None:
        api = self._apis[run.planned.audience]
        token = api.usable_token()
        if token is None:
            self._scheduler.lost(ticket)
            self._await_token(run, api, api.serial)
            return
        if not run.begun and (found := self._sharing.join(run, now_s)):
            self._scheduler.lost(ticket)
            if isinstance(found, Recorded):
                self._replays.add(Replay(run, found))
            return
        self._calling += 1
        self._alone = run.alone
        self._callers.call(Exchange(run, api.client, ticket, token))

    def _made(self, made: Exchange | Replay) -> None:
        """A call is over."""
        self._calling -= 1
        now_s = time.monotonic()
        if isinstance(made, Exchange):
            self._count(made, now_s)
        else:
            self.counters[SHARED_ANSWERS] += 1
        run, step = made.run, made.step
        match step:
            case Again():
                self._go_on(run, step.after_s, now_s)
            case FreshToken():
                assert isinstance(made, Exchange)
                self._await_token(run, self._apis[made.token.audience], made.token.serial)
            case HeldBack():
                self._hold_back(run, step, now_s)
            case PutOff():
                self._give_back(run, step.after_s)
            case Done():
                self._finish(run, step)
            case error:
                assert isinstance(error, BaseException)
                # A bug of ours must neither lose the request nor end the process.
                log.bind(
                    action="request_failed", **run.lease.ids(), request_index=run.planned.index
                ).opt(exception=error).error("unexpected failure of a request")
                self._finish(run, run.give_up("failed", "CollectorError", repr(error), now_us()))
        self._pump_soon()

    def _count(self, made: Exchange, now_s: float) -> None:
        """What an answer says of the limits."""
        answer, refusal = made.answer, made.run.refusal
        status = answer.status if answer is not None else 0
        self._counted.call(made.run.planned.service, status, made.seconds)
        if answer is None:
            self._scheduler.lost(made.ticket)
            return
        if refusal is not None:
            self._counted.throttled(made.ticket.scope.kind)
            self._scheduler.block(made.ticket, refusal.wait_s, now_s, refusal.whole_scope)
        self._scheduler.answered(made.ticket, answer.headers, now_s, refusal is not None)

    def _hold_back(self, run: RequestRun, step: HeldBack, now_s: float) -> None:
        self.counters[HELD_BACK] += 1
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
        self._answer_others(run, None)

    def _answer_others(self, run: RequestRun, outcome: Outcome | None) -> None:
        """Those that waited for this one's answer get it, or ask for themselves."""
        others, recorded = self._sharing.ended(run, outcome)
        for other in others:
            if recorded is not None:
                self._replays.add(Replay(other, recorded))
            elif self._draining:
                self._let_go(other)
            else:
                other.shares = False
                self._scheduler.add(other, time.monotonic())

    def _finish(self, run: RequestRun, done: Done) -> None:
        self._answer_others(run, done.outcome)
        self._counted.request(run, done.outcome)
        self._outbox.put(run, done.held)

    def _written(self, runs: Sequence[RequestRun]) -> None:
        for run in runs:
            self._let_go(run)
        self._pump_soon()

    # ── tokens ───────────────────────────────────────────────────────────────────────────────

    def _await_token(self, run: RequestRun, api: Api, serial: int) -> None:
        """Go on with a token that is newer than this one."""
        if self._draining:
            self._let_go(run)
        elif api.serial > serial:
            self._scheduler.add(run, time.monotonic())
        elif api.wait(run):
            self._want_token(api)

    def _token_news(self, token: Token) -> None:
        for run in self._apis[token.audience].news(token):
            self._scheduler.add(run, time.monotonic())
        self._pump()

    def _no_token(self, news: NoToken) -> None:
        """Those that wait for a token are forbidden what they ask, or wait until there is one."""
        api = self._apis[news.audience]
        for run in api.news(news):
            if news.forbidden:
                self._finish(run, run.give_up("forbidden", "NoToken", news.problem, now_us()))
            elif run.begun:  # it has its total time to end it
                api.waiting.append(run)
            else:
                self._give_back(run, NO_TOKEN_WAIT_S)
        if api.waiting:
            self._loop.call_later(NO_TOKEN_WAIT_S, self._want_token, api)
        self._pump()

    def _want_token(self, api: Api) -> None:
        if api.waiting:
            self.spawn(self.send("fetch", TokenWanted(api.serial, api.audience)))

    async def _expire(self) -> None:
        """End requests whose time is over while they wait, and give back what is throttled."""
        look_s = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            if now_s >= look_s:
                # Thousands may wait, so nobody is looked at much oftener than matters.
                look_s = now_s + LATE_BY * self.config.request_timeout
                self._end_late(now_s)
            self._return_throttled(now_s)
            self._pump()

    def _end_late(self, now_s: float) -> None:
        late = self._scheduler.remove(lambda run: run.out_of_time(now_s))
        for api in self._apis.values():
            late += [run for run in api.waiting if run.out_of_time(now_s)]
            api.waiting = [run for run in api.waiting if not run.out_of_time(now_s)]
        for run in late:
            self._finish(run, run.time_is_up(now_us()))

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

"""The supervisor: starts the stages, joins them with links, restarts what dies, drains in order.

Signal handlers only record; the loop acts on what they recorded. The supervisor never blocks on a
stage and runs none of a stage's code.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable

from setproctitle import setproctitle

from pipeline.child import Child
from pipeline.config import Config
from pipeline.draining import drain, wait
from pipeline.entry_points import STANDBYS, kind_of, links, processes, title_of
from pipeline.errors import (
    EXIT_CRASH_LOOP,
    EXIT_DEPENDENCY,
    EXIT_DONE,
    EXIT_UNEXPECTED,
)
from pipeline.links import ControlLink
from pipeline.logs import log, tell_suppressed
from pipeline.messages import (
    AnyLink,
    Assume,
    Begin,
    Drained,
    Excused,
    Heartbeat,
    Ready,
    StartFailed,
    Stop,
)
from pipeline.standby import AFTER_S, SHORT_RUN_S, Standby

# How often the loop looks around when nothing wakes it.
TICK_S = 0.2
# All stages stand within this, or the collector gives up starting. With STOP_TIMEOUT_S it is less
# than 30 s. A stage that failed waits for the others, so that every problem is told at once.
START_TIMEOUT_S = 25.0
# A loop that turns five times a second and was away for so long says nothing about the stages.
OWN_PAUSE_S = 5.0
# A stage whose dependency is away when it restarts tries again after this.
AWAY_RETRY_S = 5.0
# After Stop, a process that does not end is killed.
STOP_TIMEOUT_S = 3.0
# With --until-empty, all must be found idle so many times in a row.
IDLE_ROUNDS = 2


class Supervisor:
    """The process tree of one collector.

    Args:
        config: the settings, secrets resolved.
        until_empty: end with 0 once the queue is empty and everything is loaded.

    Attributes:
        on_tick: called a few times a second, for displays.
        begun: every stage has stood once, and messages are taken.
        problem: why it gave up, or "".
        seconds: how long it ran, once it has ended.
    """

    def __init__(
        self,
        config: Config,
        *,
        until_empty: bool = False,
    ) -> None:
        self.config = config
        self.children = {name: Child(name, config) for name in processes(config.num_processes)}
        self._links = links(list(self.children))
        first_after_s = SHORT_RUN_S if until_empty else AFTER_S
        kept = STANDBYS if config.load_standby else ()
        self._standbys = {name: Standby(name, config, first_after_s) for name in kept}
        self._until_empty = until_empty
        self._signals: list[signal.Signals] = []
        self._signals_heard = 0
        self._wake = asyncio.Event()
        self._problems: dict[str, StartFailed] = {}
        self._restart_at_s: dict[str, float] = {}
        self.begun = False
        self.on_tick: list[Callable[[], None]] = []
        self._draining: asyncio.Task[None] | None = None
        # Stages that the drain has to do without, so that something is left undone.
        self._missing: set[str] = set()
        self._idle_rounds = 0
        self._looked_s = time.monotonic()
        self._exit_code: int | None = None
        self.problem = ""
        self.seconds = 0.0

    @property
    def draining(self) -> bool:
        """Nothing new is taken; what is here is finished."""
        return self._draining is not None

    def totals(self) -> Counter[str]:
        """Counters summed over all processes, dead ones included."""
        total: Counter[str] = Counter()
        for child in self.children.values():
            total.update(child.totals())
        return total

    def gauge(self, name: str) -> float:
        """A gauge summed over the processes."""
        return sum(child.gauges.get(name, 0.0) for child in self.children.values())

    async def run(self) -> int:
        """Run until drained, done or given up; return the exit code."""
        setproctitle(title_of("supervisor"))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        started_s = time.monotonic()
        log.bind(action="starting", processes=len(self.children)).info("starting the stages")
        try:
            # ``load`` first: it takes longest until it stands.
            for child in reversed(self.children.values()):
                self._start(child)
            for a, b in self._links:
                self._join(self.children[a], self.children[b])
            while self._exit_code is None:
                self._wake.clear()
                self._act(time.monotonic(), started_s)
                for told in self.on_tick:
                    told()
                if self._exit_code is None:
                    await wait(self._wake, TICK_S)
        finally:
            await self._stop_all()
            self.seconds = time.monotonic() - started_s
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        log.bind(action="stopped", exit_code=self._exit_code).info("stopped")
        return self._exit_code

    # ── what the loop does ───────────────────────────────────────────────────────────────────

    def _act(self, now_s: float, started_s: float) -> None:
        while self._signals:
            self._handle_signal(self._signals.pop(0))
        self._check_start(now_s, started_s)
        self._kill_hung(now_s)
        for name, due_s in list(self._restart_at_s.items()):
            if now_s >= due_s:
                del self._restart_at_s[name]
                self._restart(self.children[name])
        self._keep_standbys(now_s)
        tell_suppressed()
        if self._until_empty and self.begun and self._draining is None:
            everything = all(child.ready and child.idle for child in self.children.values())
            self._idle_rounds = self._idle_rounds + 1 if everything else 0
            if self._idle_rounds >= IDLE_ROUNDS:
                log.bind(action="empty").info("the queue is empty and everything is loaded")
                self._start_drain()

    def _handle_signal(self, number: signal.Signals) -> None:
        if self._draining is None and self.begun:
            log.bind(action="draining", signal=number.name).info("draining")
            self._start_drain()
        elif self._draining is None:
            log.bind(action="stopping", signal=number.name).info("stopping before the start")
            self._exit_code = EXIT_DONE
        else:
            log.bind(action="stopping", signal=number.name).warning("second signal: stopping now")
            self._draining.cancel()
            for child in self.children.values():
                child.kill()
            self._exit_code = EXIT_UNEXPECTED

    def _check_start(self, now_s: float, started_s: float) -> None:
        if self.begun or self._exit_code is not None:
            return
        if all(child.ready for child in self.children.values()):
            self.begun = True
            log.bind(action="started", seconds=round(now_s - started_s, 2)).info("collecting")
            for child in self.children.values():
                child.send(Begin(self._until_empty))
            return
        waiting = [c.name for c in self.children.values() if not c.ready]
        silent = [name for name in waiting if name not in self._problems]
        if silent and now_s - started_s <= START_TIMEOUT_S:
            return
        texts = list(dict.fromkeys(failed.problem for failed in self._problems.values()))
        if silent:
            texts.append(f"not ready after {START_TIMEOUT_S:.0f} s: {', '.join(silent)}")
        codes = [failed.exit_code for failed in self._problems.values()] or [EXIT_DEPENDENCY]
        self._give_up(codes[0], "\n".join(texts))

    def _kill_hung(self, now_s: float) -> None:
        limit_s = self.config.heartbeat_limit
        if now_s - self._looked_s > min(OWN_PAUSE_S, limit_s / 2):
            # This process itself stood still (stopped, or its machine suspended) and has not read
            # the heartbeats yet.
            for child in self.children.values():
                child.last_beat_s = now_s
        self._looked_s = now_s
        for child in self.children.values():
            # Until its first beat a process imports, which a busy machine makes slow.
            within_s = limit_s if child.beaten else max(limit_s, START_TIMEOUT_S)
            if child.alive and now_s - child.last_beat_s > within_s:
                log.bind(action="stage_hung", process=child.name).error(
                    "{} has not answered for {:.0f} s: killing it", child.name, within_s
                )
                child.last_beat_s = now_s
                child.kill()

    def _keep_standbys(self, now_s: float) -> None:
        if not self.begun or self._draining is not None:
            return
        for name, standby in self._standbys.items():
            child = self.children[name]
            if child.ready and standby.due(now_s, child.ready_since_s):
                try:
                    sentinel = standby.start().sentinel
                except OSError:
                    standby.died(now_s)  # it is a convenience, and tried again later
                    continue
                asyncio.get_running_loop().add_reader(sentinel, self._standby_died, standby)

    def _standby_died(self, standby: Standby) -> None:
        if standby.process is not None:
            asyncio.get_running_loop().remove_reader(standby.process.sentinel)
            log.bind(action="standby_died", process=standby.name).warning(
                "the process that stood by for {} has died", standby.name
            )
            standby.died(time.monotonic())

    def _end_standbys(self) -> None:
        for standby in self._standbys.values():
            if standby.process is not None:
                asyncio.get_running_loop().remove_reader(standby.process.sentinel)
                standby.end()

    def _give_up(self, exit_code: int, problem: str) -> None:
        self.problem = problem
        log.bind(action="gave_up", exit_code=exit_code).error("{}", problem)
        self._exit_code = exit_code

    # ── processes and links ──────────────────────────────────────────────────────────────────

    def _start(self, child: Child) -> None:
        standby = self._standbys.get(child.name)
        if standby is not None and standby.process is not None:
            asyncio.get_running_loop().remove_reader(standby.process.sentinel)
        ours = child.start(time.monotonic(), standby.take() if standby is not None else None)
        child.control(
            ControlLink(
                ours,
                lambda message, _: self._on_message(child, message),
                lambda: None,  # its death is seen by the sentinel
            )
        )
        child.send(Assume())
        asyncio.get_running_loop().add_reader(child.sentinel, self._died, child)
        log.bind(action="stage_started", process=child.name, pid=child.pid).debug(
            "started {}", child.name
        )

    def _restart(self, child: Child) -> None:
        try:
            self._start(child)
            for a, b in self._links:
                if child.name in (a, b) and self.children[a].alive and self.children[b].alive:
                    self._join(self.children[a], self.children[b])
        except OSError as error:
            # This process, or the host, has no descriptor or no process left; that may pass.
            log.bind(action="restart_failed", process=child.name).error(
                "{} cannot be started: {}", child.name, error
            )
            if child.alive:
                child.kill()  # it lacks a link
            else:
                child.not_started()
                self._restart_later(child, str(error))

    @staticmethod
    def _join(a: Child, b: Child) -> None:
        end_a, end_b = socket.socketpair()
        with end_a, end_b:
            a.attach(b, end_a)
            b.attach(a, end_b)

    def _died(self, child: Child) -> None:
        asyncio.get_running_loop().remove_reader(child.sentinel)
        child.hear_out()
        failed = self._problems.get(child.name)
        if self.begun:
            self._problems.pop(child.name, None)
        # A dependency that is away while a stage restarts is no crash: it is tried again.
        away = self.begun and failed is not None and failed.exit_code == EXIT_DEPENDENCY
        cause = child.reap(time.monotonic(), counted=not away)
        self._wake.set()
        if self._exit_code is not None or (failed is not None and not self.begun):
            return
        log.bind(action="stage_died", process=child.name, cause=cause).error(
            "{} died: {}", child.name, cause
        )
        if self._draining is not None:
            if child.drained and kind_of(child.name) != "fetch":
                return  # its part is done; that of ``fetch`` comes at the end again
            if not away:
                self._missing.add(child.name)
        # One that has said why it cannot start was killed for it.
        self._restart_later(child, failed.problem if failed is not None else cause, away=away)

    def _restart_later(self, child: Child, cause: str, *, away: bool = False) -> None:
        if child.crash_loop and not away:
            if self._draining is None:
                self._give_up(EXIT_CRASH_LOOP, f"{child.name} keeps dying ({cause})")
            return
        delay_s = AWAY_RETRY_S if away else child.restart_delay_s
        self._restart_at_s[child.name] = time.monotonic() + delay_s

    def _on_message(self, child: Child, message: AnyLink) -> None:
        now_s = time.monotonic()
        match message:
            case Heartbeat():
                child.beat(message, now_s)
            case Ready():
                child.became_ready(now_s)
                self._problems.pop(child.name, None)
                if self.begun:
                    log.bind(action="stage_restarted", process=child.name).info(
                        "{} is back", child.name
                    )
                    child.send(Begin(self._until_empty, draining=self.draining))
                self._missing.discard(child.name)
            case Drained():
                child.drained = True
            case Excused():
                if (excused := self.children.get(message.process)) is not None:
                    excused.excuse()
            case StartFailed():
                self._problems[child.name] = message
                if self.begun:
                    log.bind(action="start_failed", process=child.name).error(
                        "{} cannot start: {}", child.name, message.problem
                    )
                    child.kill()
        self._wake.set()

    # ── the end ──────────────────────────────────────────────────────────────────────────────

    def _start_drain(self) -> None:
        # One whose dependency is away has said so, and is not what is wrong.
        absent = {name for name, child in self.children.items() if not child.ready}
        self._missing = absent - self._problems.keys()
        self._draining = asyncio.get_running_loop().create_task(self._drain())
        self._draining.add_done_callback(self._drain_ended)

    def _drain_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(EXIT_UNEXPECTED, f"the drain failed: {error!r}")
        self._wake.set()

    async def _drain(self) -> None:
        await drain(self.children, self._comes_back, self._wake, self.config.drain_timeout)
        # wait_for() may swallow the cancel of a second signal.
        if self._exit_code is None:
            self._exit_code = EXIT_UNEXPECTED if self._missing else EXIT_DONE

    def _comes_back(self, child: Child) -> bool:
        return child.name in self._restart_at_s

    async def _stop_all(self) -> None:
        self._end_standbys()
        for child in self.children.values():
            child.send(Stop())
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while any(c.alive for c in self.children.values()):
            if time.monotonic() > deadline_s or self._signals_heard > 1:
                for child in self.children.values():
                    child.kill()
            await asyncio.sleep(0.02)

    def _signalled(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._signals_heard += 1
        self._wake.set()

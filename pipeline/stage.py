"""What every stage process is: a loop, a control link, its data links, a heartbeat.

A stage is a subclass of :class:`Stage`. Its loop only moves messages; whatever can take long (a
call, a load) runs in threads, so the loop always turns, and a heartbeat that stops means a hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from multiprocessing.connection import Connection
from typing import Any, ClassVar

from setproctitle import setproctitle

from pipeline.config import Config
from pipeline.entry_points import kind_of, title_of
from pipeline.errors import EXIT_UNEXPECTED, CollectorError
from pipeline.links import ControlLink, DataLink, LinkClosed
from pipeline.logs import add_secret, log, setup, tell_suppressed
from pipeline.messages import (
    AnyLink,
    Attach,
    Begin,
    Drain,
    Drained,
    Ready,
    ScopeLevel,
    StartFailed,
    Stop,
)
from pipeline.metrics.store import Store
from pipeline.reporting import Reporting
from pipeline.tracing.start import start as start_tracing

HEARTBEAT_S = 0.5
# After the supervisor's end is gone, this long for a clean close; then the process ends anyway.
ORPHAN_GRACE_S = 2.0
# For telling peers that this stage is drained; one that does not read is not waited for.
PEERS_TOLD_S = 0.4
# A stage that could not start waits so long for the supervisor to have read why.
FAILED_WAIT_S = 30.0
# Open files, sockets and connections of a stage, where the system allows it.
MAX_DESCRIPTORS = 65_536


class Stage:
    """One process of the pipeline.

    A subclass fills in the ``on_…`` hooks. They run in the process's event loop and must not block.

    Args:
        name: ``fetch``, ``execute-0``, …
        config: the settings, secrets resolved.
    """

    # Kinds of peers of whose words none is urgent: after one has come, so many seconds pass before
    # that link is read again, and what comes meanwhile is read at once. A process that wakes for
    # each word spends more on waking than on the word.
    read_pauses_s: ClassVar[Mapping[str, float]] = {}

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self.links: dict[str, DataLink] = {}
        self.generations: dict[str, int] = {}
        self.metrics = Store()
        self.counters = self.metrics.counters
        # None, unless traces are asked for: what is done for them only is done under that test.
        self.tracer = start_tracing(name, kind_of(name))
        self._reporting = Reporting(self)
        self._peers_changed = asyncio.Condition()
        self._attaching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._drained_peers: set[str] = set()
        self._drained = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._control: ControlLink | None = None

    # ── what a subclass fills in ─────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Reach what this stage depends on.

        Raises:
            DependencyError: it cannot be used; the collector says so and ends.
        """

    async def on_begin(self, begin: Begin) -> None:
        """Every stage stands."""

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """A message came from another stage. While this waits, that link is not read."""

    async def on_messages(self, peer: str, messages: list[AnyLink]) -> None:
        """These came together, in this order."""
        for message in messages:
            await self.on_message(peer, message)

    async def on_peer(self, peer: str, generation: int) -> None:
        """A link to a new process of this name is there; all that the last one wrote was read."""

    async def drain(self, request: Drain) -> None:
        """Take nothing new and finish what is here, within ``request.within_s``."""

    async def close(self) -> None:
        """Let go of what :meth:`start` took."""

    def idle(self) -> bool:
        """Nothing is held, in flight or waiting here."""
        return True

    def gauges(self) -> dict[str, float]:
        """Levels as of now, by the name of the metric."""
        return {}

    def reached(self, now_s: float) -> dict[str, float | None]:
        """For each dependency the seconds since it has last answered; None if it did not."""
        return {}

    def scope_levels(self, now_s: float) -> list[ScopeLevel]:
        """The scopes of calls that Azure has least left of."""
        return []

    # ── what a subclass uses ─────────────────────────────────────────────────────────────────

    async def send(self, peer: str, *messages: AnyLink) -> None:
        """Write to a peer; dropped when it is gone.

        What a dead process did not read is made good by the leases, never by a link.
        """
        link = self.links.get(peer)
        if link is not None:
            with contextlib.suppress(LinkClosed):
                await link.send(*messages)

    async def link_to(self, peer: str) -> DataLink:
        """The link to a peer, waiting for a new one while the peer is being restarted."""
        async with self._peers_changed:
            await self._peers_changed.wait_for(lambda: peer in self.links)
        return self.links[peer]

    async def peer_gone(self, peer: str, link: DataLink) -> None:
        """Take down a link that was found broken for writing; it is still read to its end."""
        async with self._peers_changed:
            if self.links.get(peer) is link:
                del self.links[peer]
                self._peers_changed.notify_all()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task for as long as the process lives; its failure ends the process."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def beat(self) -> None:
        """Tell the supervisor now how things are, without waiting for the next heartbeat."""
        self.tell_supervisor(self._reporting.heartbeat(time.monotonic()))

    def tell_supervisor(self, message: AnyLink) -> None:
        """Send over the control link; it does not wait."""
        if self._control is not None:
            self._control.send(message)

    # ── the process ──────────────────────────────────────────────────────────────────────────

    async def run(self, control: socket.socket) -> int:
        """Serve until told to stop; return the process's exit code."""
        self._control = ControlLink(control, self._on_control, self._orphaned)
        self._reporting.events.watch()
        self.spawn(self._heartbeats())
        try:
            await self.start()
        except CollectorError as error:
            log.bind(action="start_failed").debug("{}", error)
            self._control.send(StartFailed(error.exit_code, str(error)))
            await asyncio.wait([self._ended], timeout=FAILED_WAIT_S)
            return error.exit_code
        except Exception as error:  # noqa: BLE001  # logged masked, which a traceback is not
            self._failed(error)
            return EXIT_UNEXPECTED
        # What stands by now stays for good: no collection looks through it again.
        gc.freeze()
        gc.enable()
        self._control.send(Ready())
        code = await self._ended
        # Whoever failed, or has lost the supervisor, makes room for the next one at once.
        flushed = self.spawn(self.tracer.close()) if self.tracer and not code else None
        await self.close()
        if flushed is not None:
            await flushed
        for task in list(self._tasks):
            task.remove_done_callback(self._task_ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links.values():
            link.close()
        self._control.close()
        self._reporting.events.unwatch()
        return code

    async def _heartbeats(self) -> None:
        while True:
            self.beat()
            tell_suppressed()
            await asyncio.sleep(HEARTBEAT_S)

    def _on_control(self, message: AnyLink, descriptors: list[int]) -> None:
        match message:
            case Attach():
                self.spawn(self._attach(message, descriptors[0]))
            case Begin():
                self.spawn(self.on_begin(message))
            case Drain():
                self.spawn(self._drain(message))
            case Stop():
                self._end(0)

    async def _attach(self, attach: Attach, descriptor: int) -> None:
        link = DataLink.open(descriptor)
        peer = attach.peer
        # A peer that dies twice in a row is attached twice, in this order.
        async with self._attaching[peer]:
            # What the last process wrote before it died still counts, and must be read first.
            if (old_reader := self._readers.get(peer)) is not None:
                await old_reader
            self.generations[peer] = attach.generation
            async with self._peers_changed:
                self.links[peer] = link
                self._drained_peers.discard(peer)
                self._peers_changed.notify_all()
            await self.on_peer(peer, attach.generation)
            if self._drained:  # one that came back in a drain has to hear that too
                await self.send(peer, Drained())
            self._readers[peer] = self.spawn(self._read(peer, link))

    async def _read(self, peer: str, link: DataLink) -> None:
        pause_s = self.read_pauses_s.get(kind_of(peer), 0.0)
        while (messages := await link.receive()) is not None:
            await self._dispatch(peer, messages)
            if pause_s and not link.lags:
                await asyncio.sleep(pause_s)
        await self.peer_gone(peer, link)
        link.close()

    async def _dispatch(self, peer: str, messages: list[AnyLink]) -> None:
        begin = 0
        for place in [at for at, message in enumerate(messages) if isinstance(message, Drained)]:
            await self.on_messages(peer, messages[begin:place])
            await self._peer_drained(peer)
            begin = place + 1
        await self.on_messages(peer, messages[begin:] if begin else messages)

    async def _peer_drained(self, peer: str) -> None:
        async with self._peers_changed:
            self._drained_peers.add(peer)
            self._peers_changed.notify_all()

    async def _hear_out(self, peers: tuple[str, ...]) -> None:
        """Wait until all that these peers wrote before they were drained has been read."""
        async with self._peers_changed:
            await self._peers_changed.wait_for(
                lambda: all(p in self._drained_peers or p not in self.links for p in peers)
            )

    async def _drain(self, request: Drain) -> None:
        deadline_s = time.monotonic() + request.within_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hear_out(request.after), request.within_s / 2)
        try:
            await asyncio.wait_for(self.drain(request), deadline_s - time.monotonic())
        except TimeoutError:
            log.bind(action="drain_timeout").warning(
                "not drained within {:.0f} s; what is left is let go", request.within_s
            )
        self._drained = True
        if told := [self.spawn(self.send(peer, Drained())) for peer in self.links]:
            await asyncio.wait(told, timeout=PEERS_TOLD_S)
        self.beat()
        self.tell_supervisor(Drained())

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        log.bind(action="stage_failed").opt(exception=error).error("the stage failed")
        self.tell_supervisor(self._reporting.heartbeat(time.monotonic(), last=True))
        self._end(EXIT_UNEXPECTED)

    def _orphaned(self) -> None:
        log.bind(action="orphaned").warning("the supervisor is gone; stopping")
        tell_suppressed(at_end=True)
        # A thread stuck in a call must not keep an orphan alive.
        asyncio.get_running_loop().call_later(ORPHAN_GRACE_S, os._exit, EXIT_UNEXPECTED)
        self._end(EXIT_UNEXPECTED)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


def run_stage(stage: type[Stage], name: str, config: Config, control: Connection) -> None:
    """Entry point of a spawned stage process; does not return."""
    setproctitle(title_of(name))
    _raise_descriptor_limit()
    setup(config.log_level, config.log_format, name)
    for secret in config.secrets():
        add_secret(secret)
    sock = socket.socket(fileno=os.dup(control.fileno()))
    control.close()

    async def main() -> None:
        code = await stage(name, config).run(sock)
        tell_suppressed(at_end=True)
        sys.stdout.flush()
        # Not sys.exit(): asyncio.run() and the interpreter's end would join threads that may hang
        # in a call.
        os._exit(code)

    asyncio.run(main())


def _raise_descriptor_limit() -> None:
    # Held lists may need a temporary file each; the usual soft limit of 1,024 is for select().
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

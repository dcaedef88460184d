"""The fetch process: leases messages, hands out their work, and deletes what is committed.

Its loop keeps the books (:mod:`stages.fetch.leases`); the queue's calls run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from pipeline.config import Config
from pipeline.entry_points import kind_of, processes
from pipeline.errors import BadMessage, DependencyError
from pipeline.logs import log
from pipeline.message_format.rules import ParsedMessage, parse_message
from pipeline.messages import (
    AnyLink,
    Begin,
    Damaged,
    Drain,
    Executed,
    Flush,
    LeaseRef,
    NoToken,
    Receipt,
    Sealed,
    SpoolFound,
    Token,
    TokenRefused,
    Work,
)
from pipeline.stage import Stage
from stages.fetch.leases import RENEWAL_AT, Lease, LeaseBook
from stages.fetch.orphans import Orphans
from stages.fetch.queue_io import QueueIo, Received
from stages.fetch.returns import Returns
from stages.fetch.routing import Router
from stages.fetch.spool_size import SpoolSize
from stages.fetch.tokens import TokenKeeper

# Receives under way at once; one page of 32 takes longer than its requests.
RECEIVERS = 4
# Text of held messages; past this, receiving pauses.
MAX_HELD_BYTES = 64 * 1024 * 1024
# Renewals that a queue some 40 ms away takes from our threads. No more leases are held than can be
# renewed in time, however long nothing can be loaded.
RENEWALS_PER_S = 100
MIN_LEASES = 200
# An empty queue is asked again after a pause that doubles: each question costs money.
EMPTY_PAUSE_MIN_S = 0.1
EMPTY_PAUSE_MAX_S = 2.0
# The longest such pause with --until-empty, which waits for the last answer.
LAST_PAUSE_MAX_S = 0.2
# How often --until-empty looks whether the open batch is the last one.
FLUSH_TICK_S = 0.25
# How often paused receiving looks whether there is room again.
ROOM_PAUSE_S = 0.02
# Empty answers in a row, from all queues, before the queue counts as empty.
EMPTY_ROUNDS = 2


class Fetch(Stage):
    """Stage ``fetch``."""

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        workers = [n for n in processes(config.num_processes) if kind_of(n) == "execute"]
        # Starts above every id an earlier process can have given: it had a microsecond each.
        self._book = LeaseBook(config.visibility_timeout, time.time_ns() // 1000)
        self._router = Router(workers)
        self._orphans = Orphans()
        self._io = QueueIo(config)
        self._returns = Returns(self._io, self._book, self.counters, config.visibility_timeout)
        self._tokens = TokenKeeper(config, self._publish_token)
        # Requests leased and not handed out yet, in order of arrival: lease id, request indices.
        self._backlog: deque[tuple[int, list[int]]] = deque()
        self._spool = SpoolSize()
        self._max_leases = max(
            MIN_LEASES, int(RENEWALS_PER_S * config.visibility_timeout * RENEWAL_AT)
        )
        self._receives_under_way = 0
        self._empty_rounds = 0
        self._receiving = False
        self._draining = False
        self._until_empty = False
        self._pump_wanted = asyncio.Event()

    # ── the hooks ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Reach the queue and get the first token."""
        await asyncio.gather(self._io.check(), self._tokens.first())

    async def on_begin(self, begin: Begin) -> None:
        """Start receiving."""
        self._until_empty = begin.until_empty
        self._receiving = not self._draining
        if self._tokens.current is not None:
            await self._publish_token(self._tokens.current)
        self.spawn(self._tokens.keep())
        self.spawn(self._returns.renew_for_ever())
        self.spawn(self._pump())
        if self._until_empty:
            self.spawn(self._flush_at_end())
        for _ in range(RECEIVERS):
            self.spawn(self._receive())

    async def on_peer(self, peer: str, generation: int) -> None:
        """A stage is new: hand out again what the last one took with it."""
        kind = kind_of(peer)
        if kind == "execute":
            # At once, before the pump can hand the new process anything.
            self._router.reset(peer)
            self._redo(self._book.held_by(peer), f"{peer} was restarted")
            if self._tokens.current is not None:
                await self.send(peer, self._tokens.current)
        elif kind == "batch":
            self._redo(self._book.unsealed_before(generation), "batch was restarted")

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """Keep the books."""
        match message:
            case Executed():
                self._executed(peer, message)
            case Sealed():
                self._spool.sealed({message.batch_id: message.size_bytes})
                self._book.sealed(message.batch_id, message.parts)
            case Receipt():
                self._receipt(message)
            case Damaged():
                self._spool.loaded(message.batch_id)
                self._redo(self._book.damaged(message.batch_id), "a batch was damaged")
            case SpoolFound():
                self._spool.sealed(message.batches)
            case TokenRefused():
                self._tokens.refused(message.serial)

    async def drain(self, request: Drain) -> None:
        """Stop receiving; at the end delete what is done and release what is not."""
        self._receiving = False
        self._draining = True
        while self._receives_under_way:
            await asyncio.sleep(ROOM_PAUSE_S)
        if not request.last:
            return
        await asyncio.gather(*(self._returns.release(lease) for lease in self._book))
        while self._returns.under_way:
            await asyncio.sleep(ROOM_PAUSE_S)

    async def close(self) -> None:
        """Let go of the queue's connections."""
        self._io.close()

    def idle(self) -> bool:
        """The queue is empty, and no message is held."""
        return (
            self._receiving
            and not len(self._book)
            and not self._receives_under_way
            and not self._returns.under_way
            and self._empty_rounds >= EMPTY_ROUNDS
        )

    def gauges(self) -> dict[str, float]:
        """Leases, requests handed out, bytes in the spool."""
        return {
            "leases": len(self._book),
            "in_flight": self._router.outstanding,
            "backlog": sum(len(indices) for _, indices in self._backlog),
            "spool_bytes": self._spool.size_bytes,
        }

    # ── from the queue ───────────────────────────────────────────────────────────────────────

    async def _receive(self) -> None:
        pause_s = EMPTY_PAUSE_MIN_S
        while True:
            if not self._receiving or not self._room():
                await asyncio.sleep(ROOM_PAUSE_S)
                continue
            self._receives_under_way += 1
            try:
                received: int | None = await self._receive_round()
                pause_s = EMPTY_PAUSE_MIN_S
            except DependencyError as error:
                log.bind(action="receive_failed").warning("cannot receive: {}", error)
                received = None
            finally:
                self._receives_under_way -= 1
            if received:
                self._empty_rounds = 0
                continue
            if received == 0:
                self._empty_rounds += 1
            if self.idle():
                self.beat()
            await asyncio.sleep(pause_s)
            longest_s = LAST_PAUSE_MAX_S if self._until_empty else EMPTY_PAUSE_MAX_S
            pause_s = min(longest_s, pause_s * 2)

    async def _receive_round(self) -> int:
        """Ask the queues in falling priority; stop at the first that has something."""
        for queue in self.config.azure_queue_name:
            messages, asked_s = await self._io.receive(queue)
            for message in messages:
                self.counters["messages_received"] += 1
                self._take(queue, message, asked_s)
            if messages:
                self._pump_wanted.set()
                return len(messages)
        return 0

    def _room(self) -> bool:
        return (
            not self._backlog
            and self._router.outstanding < self.config.max_in_flight
            and len(self._book) < self._max_leases
            and self._book.text_bytes < MAX_HELD_BYTES
            and self._spool.size_bytes < self.config.spool_bytes
        )

    def _take(self, queue: str, message: Received, asked_s: float) -> None:
        text = message.text
        parsed: ParsedMessage | None = None
        try:
            parsed = parse_message(text, allow_writes=self.config.allow_writes)
            if message.dequeue_count > self.config.max_dequeue_count:
                raise BadMessage(
                    "delivered too often",
                    f"{message.dequeue_count} deliveries; MAX_DEQUEUE_COUNT is "
                    f"{self.config.max_dequeue_count}",
                )
        except BadMessage as error:
            message_id = parsed.message_id if parsed is not None else None
            self.spawn(self._returns.poison(queue, message, message_id, error))
            return
        if parsed.unknown_fields:
            log.bind(action="unknown_fields", message_id=parsed.message_id or message.id).debug(
                "ignored fields: {}", ", ".join(parsed.unknown_fields)
            )
        ref = LeaseRef(
            lease_id=self._book.new_id(),
            attempt=0,
            queue=queue,
            queue_message_id=message.id,
            pop_receipt=message.pop_receipt,
            message_id=parsed.message_id or message.id,
            correlation_id=parsed.correlation_id,
            enqueued_at_us=int(message.inserted_at.timestamp() * 1_000_000),
            dequeue_count=message.dequeue_count,
            requests=len(parsed.requests),
        )
        lease = self._book.add(ref, text, parsed.requests, asked_s)
        self._enqueue(lease, list(lease.requests))

    # ── to execute ───────────────────────────────────────────────────────────────────────────

    def _enqueue(self, lease: Lease, indices: list[int]) -> None:
        self._backlog.append((lease.ref.lease_id, indices))
        self._pump_wanted.set()

    async def _pump(self) -> None:
        """Hand out the backlog as far as MAX_IN_FLIGHT allows."""
        while True:
            self._pump_wanted.clear()
            while self._backlog and self._receiving:
                room = self.config.max_in_flight - self._router.outstanding
                if room <= 0:
                    break
                lease_id, indices = self._backlog.popleft()
                now, later = indices[:room], indices[room:]
                if later:
                    self._backlog.appendleft((lease_id, later))
                lease = self._book.get(lease_id)
                if lease is not None:
                    await self._hand_out(lease, now)
            await self._pump_wanted.wait()

    async def _hand_out(self, lease: Lease, indices: list[int]) -> None:
        worker_of = {
            index: self._router.route(lease.requests[index].planned.subscription_id)
            for index in indices
        }
        for dispatch in self._book.dispatch(lease, worker_of):
            self._router.handed(dispatch.worker, len(dispatch.requests))
            # A worker that is just being restarted gets it through on_peer.
            await self.send(dispatch.worker, Work(dispatch.lease, dispatch.requests))

    def _executed(self, peer: str, message: Executed) -> None:
        lease_id, index = message.lease_id, message.index
        generation = message.batch_generation
        if lease_id < self._book.first_id:
            return  # handed out by a fetch before this one
        # Counted whoever it is about: a request whose lease was lost is worked on all the same.
        self._router.handed(peer, -1)
        self._pump_wanted.set()
        counts = self._book.executed(lease_id, message.attempt, index, generation)
        if counts and generation < self.generations.get("batch", generation):
            # Written to a batch process that has died since: redo, unless it sealed it.
            stale = self._book.unsealed_before(self.generations["batch"])
            self._redo({k: v for k, v in stale.items() if k == lease_id}, "batch died")

    def _redo(self, held: dict[int, list[int]], why: str) -> None:
        for lease_id, indices in held.items():
            lease = self._book.get(lease_id)
            if lease is None:
                continue
            self._book.reopen(lease, indices)
            self._enqueue(lease, indices)
        if held:
            requests = sum(len(indices) for indices in held.values())
            self.counters["requests_redone"] += requests
            log.bind(action="redo", requests=requests).info("{} requests again: {}", requests, why)

    async def _flush_at_end(self) -> None:
        """With --until-empty nothing more may come: then no batch waits for company."""
        while True:
            await asyncio.sleep(FLUSH_TICK_S)
            empty = self._empty_rounds >= EMPTY_ROUNDS and not self._book.working
            if empty and len(self._book):
                await self.send("batch", Flush())

    async def _publish_token(self, token: Token | NoToken) -> None:
        for peer in list(self.links):
            if kind_of(peer) == "execute":
                await self.send(peer, token)

    # ── back to the queue ────────────────────────────────────────────────────────────────────

    def _receipt(self, receipt: Receipt) -> None:
        self._spool.loaded(receipt.batch_id)
        for lease in self._book.receipt(receipt.batch_id, receipt.parts):
            self.spawn(self._delete(lease.ref, lease))
        foreign = [p for p in receipt.parts if p.lease.lease_id < self._book.first_id]
        for ref in self._orphans.receipt(receipt.batch_id, foreign):
            self.spawn(self._delete(ref, None))

    async def _delete(self, ref: LeaseRef, lease: Lease | None) -> None:
        await self._returns.delete(ref, lease)
        if not len(self._book):
            # Only a queue that was asked after the last message was done counts as empty.
            self._empty_rounds = 0

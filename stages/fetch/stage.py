"""The fetch process: leases messages, hands out their work, and deletes what is committed.

Its loop keeps the books (:mod:`stages.fetch.leases`); the queue's calls run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import ClassVar

from pipeline.config import Config
from pipeline.entry_points import kind_of, processes
from pipeline.errors import BadMessage, DependencyError
from pipeline.logs import log
from pipeline.message_rules import ParsedMessage, parse_message
from pipeline.messages import (
    AnyLink,
    Begin,
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
from stages.fetch.leases import LEASE_MAX_AGE_S, Lease, LeaseBook
from stages.fetch.orphans import Orphans
from stages.fetch.poison import envelope
from stages.fetch.queue_io import LeaseLost, QueueIo, Received
from stages.fetch.routing import Router
from stages.fetch.tokens import TokenKeeper

# Receives under way at once; one page of 32 takes longer than its requests.
RECEIVERS = 4
# Text of held messages; past this, receiving pauses.
MAX_HELD_BYTES = 64 * 1024 * 1024
# An empty queue is asked again after a pause that doubles: each question costs money.
EMPTY_PAUSE_MIN_S = 0.1
EMPTY_PAUSE_MAX_S = 2.0
# How often paused receiving looks whether there is room again.
ROOM_PAUSE_S = 0.02
# How often the books are looked through for renewals.
RENEWAL_TICK_S = 1.0
# Failed deletes and poison writes are tried again after this, doubling.
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
# Empty answers in a row, from all queues, before the queue counts as empty.
EMPTY_ROUNDS = 2


class Fetch(Stage):
    """Stage ``fetch``."""

    START_TIMEOUT_S: ClassVar[float] = 25.0

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        workers = [n for n in processes(config.num_processes) if kind_of(n) == "execute"]
        # Starts above every id an earlier process can have given: it had a microsecond each.
        self._book = LeaseBook(config.visibility_timeout, time.time_ns() // 1000)
        self._router = Router(workers)
        self._orphans = Orphans()
        self._io = QueueIo(config)
        self._tokens = TokenKeeper(config, self._publish_token)
        # Requests leased and not handed out yet, in order of arrival: lease id, request indices.
        self._backlog: deque[tuple[int, list[int]]] = deque()
        self._backlog_requests = 0
        self._spool: dict[str, int] = {}
        self._held_bytes = 0
        self._under_way = 0  # queue operations that must not be cut off
        self._empty_rounds = 0
        self._receiving = False
        self._until_empty = False
        self._pump_wanted = asyncio.Event()

    # ── the hooks ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Reach the queue and get the first token."""
        await asyncio.gather(self._io.check(), self._tokens.first())

    async def on_begin(self, begin: Begin) -> None:
        """Start receiving."""
        self._until_empty = begin.until_empty
        self._receiving = True
        if self._tokens.current is not None:
            await self._publish_token(self._tokens.current)
        self.spawn(self._tokens.keep())
        self.spawn(self._renew_leases())
        self.spawn(self._pump())
        for _ in range(RECEIVERS):
            self.spawn(self._receive())

    async def on_peer(self, peer: str, generation: int) -> None:
        """A stage is new: hand out again what the last one took with it."""
        kind = kind_of(peer)
        if kind == "execute":
            if self._tokens.current is not None:
                await self.send(peer, self._tokens.current)
            self._router.reset(peer)
            self._redo(self._book.held_by(peer), f"{peer} was restarted")
        elif kind == "batch":
            self._redo(self._book.unsealed_before(generation), "batch was restarted")

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """Keep the books."""
        match message:
            case Executed():
                self._executed(peer, message)
            case Sealed():
                self._spool[message.batch_id] = message.size_bytes
                self._book.sealed(message.batch_id, message.parts)
            case Receipt():
                self._receipt(message)
            case SpoolFound():
                self._spool.update(message.batches)
            case TokenRefused():
                self._tokens.refused(message.serial)

    async def drain(self, request: Drain) -> None:
        """Stop receiving; at the end delete what is done and release what is not."""
        self._receiving = False
        if not request.last:
            while self._under_way:
                await asyncio.sleep(ROOM_PAUSE_S)
            return
        await asyncio.gather(*(self._release(lease) for lease in self._book))
        while self._under_way:
            await asyncio.sleep(ROOM_PAUSE_S)

    async def close(self) -> None:
        """Let go of the queue's connections."""
        self._io.close()

    def idle(self) -> bool:
        """The queue is empty, and no message is held."""
        return (
            self._receiving
            and not len(self._book)
            and not self._under_way
            and self._empty_rounds >= EMPTY_ROUNDS
        )

    def gauges(self) -> dict[str, float]:
        """Leases, requests handed out, bytes in the spool."""
        return {
            "leases": len(self._book),
            "in_flight": self._book.working - self._backlog_requests,
            "backlog": self._backlog_requests,
            "spool_bytes": sum(self._spool.values()),
        }

    # ── from the queue ───────────────────────────────────────────────────────────────────────

    async def _receive(self) -> None:
        pause_s = EMPTY_PAUSE_MIN_S
        while True:
            if not self._receiving or not self._room():
                await asyncio.sleep(ROOM_PAUSE_S)
                continue
            self._under_way += 1
            try:
                received = await self._receive_round()
                pause_s = EMPTY_PAUSE_MIN_S
            except DependencyError as error:
                log.bind(action="receive_failed").warning("cannot receive: {}", error)
                received = 0
            finally:
                self._under_way -= 1
            if received:
                self._empty_rounds = 0
                continue
            self._empty_rounds += 1
            self._flush_if_last()
            if self.idle():
                self.beat()
            await asyncio.sleep(pause_s)
            pause_s = min(EMPTY_PAUSE_MAX_S, pause_s * 2)

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
            and self._book.working < self.config.max_in_flight
            and self._held_bytes < MAX_HELD_BYTES
            and sum(self._spool.values()) < self.config.spool_bytes
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
            self.spawn(self._poison(queue, message, message_id, error))
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
        self._held_bytes += len(text)
        self._enqueue(lease, list(lease.requests))

    async def _poison(
        self, queue: str, message: Received, message_id: str | None, error: BadMessage
    ) -> None:
        """Into the poison queue first, out of its own queue second."""
        self._under_way += 1
        try:
            text = envelope(
                reason=error.reason,
                detail=error.detail,
                queue=queue,
                queue_message_id=message.id,
                message_id=message_id,
                dequeue_count=message.dequeue_count,
                inserted_at=message.inserted_at,
                text=message.text,
            )
            await self._io.poison(queue, text)
            self.counters["messages_poisoned"] += 1
            log.bind(
                action="poisoned", message_id=message_id or message.id, reason=error.reason
            ).warning("a message went to the poison queue: {}", error)
            await self._io.delete(queue, message.id, message.pop_receipt)
        except (DependencyError, LeaseLost) as failed:
            # It stays in its queue and is looked at again when its lease runs out.
            log.bind(action="poison_failed", message_id=message_id or message.id).warning(
                "could not finish moving a message to the poison queue: {}", failed
            )
        finally:
            self._under_way -= 1

    # ── to execute ───────────────────────────────────────────────────────────────────────────

    def _enqueue(self, lease: Lease, indices: list[int]) -> None:
        self._backlog.append((lease.ref.lease_id, indices))
        self._backlog_requests += len(indices)
        self._pump_wanted.set()

    async def _pump(self) -> None:
        """Hand out the backlog as far as MAX_IN_FLIGHT allows."""
        while True:
            self._pump_wanted.clear()
            while self._backlog:
                room = self.config.max_in_flight - (self._book.working - self._backlog_requests)
                if room <= 0:
                    break
                lease_id, indices = self._backlog.popleft()
                now, later = indices[:room], indices[room:]
                if later:
                    self._backlog.appendleft((lease_id, later))
                self._backlog_requests -= len(now)
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
        self._router.handed(peer, -1)
        lease_id, index = message.lease_id, message.index
        generation = message.batch_generation
        if self._book.executed(lease_id, message.attempt, index, generation):
            self._pump_wanted.set()
            # Written to a batch process that has died since: redo, unless it sealed it.
            if generation < self.generations.get("batch", generation):
                stale = self._book.unsealed_before(self.generations["batch"])
                self._redo({k: v for k, v in stale.items() if k == lease_id}, "batch died")
        self._flush_if_last()

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

    def _flush_if_last(self) -> None:
        """With --until-empty nothing more may come: then no batch waits for company."""
        if self._until_empty and self._empty_rounds and len(self._book) and not self._book.working:
            self.spawn(self.send("batch", Flush()))

    async def _publish_token(self, token: Token | NoToken) -> None:
        for peer in list(self.links):
            if kind_of(peer) == "execute":
                await self.send(peer, token)

    # ── back to the queue ────────────────────────────────────────────────────────────────────

    def _receipt(self, receipt: Receipt) -> None:
        self._spool.pop(receipt.batch_id, None)
        own = [p for p in receipt.parts if self._book.get(p.lease.lease_id) is not None]
        for lease in self._book.receipt(receipt.batch_id, own):
            self._held_bytes -= len(lease.text)
            self.spawn(self._delete(lease.ref, lease))
        foreign = [p for p in receipt.parts if p.lease.lease_id < self._book.first_id]
        for ref in self._orphans.receipt(receipt.batch_id, foreign):
            self.spawn(self._delete(ref, None))

    async def _delete(self, ref: LeaseRef, lease: Lease | None) -> None:
        """Delete a message whose every row is committed; try again until its lease ends."""
        self._under_way += 1
        wait_s = RETRY_FIRST_S
        try:
            while True:
                try:
                    pop_receipt = lease.pop_receipt if lease is not None else ref.pop_receipt
                    await self._io.delete(ref.queue, ref.queue_message_id, pop_receipt)
                    self.counters["messages_done"] += 1
                    return
                except DependencyError as error:
                    if lease is None or time.monotonic() + wait_s > lease.expires_at_s:
                        log.bind(action="delete_failed", message_id=ref.message_id).warning(
                            "a finished message could not be deleted and will come again: {}", error
                        )
                        return
                    await asyncio.sleep(wait_s)
                    wait_s = min(RETRY_MAX_S, wait_s * 2)
        except LeaseLost:
            self.counters["leases_lost"] += 1
            log.bind(action="lease_lost", message_id=ref.message_id).info(
                "a finished message is someone else's now; it will be found loaded"
            )
        finally:
            self._under_way -= 1
            if self.idle():
                self.beat()

    async def _renew_leases(self) -> None:
        while True:
            now_s = time.monotonic()
            for lease in self._book.due_renewals(now_s):
                if now_s - lease.received_at_s > LEASE_MAX_AGE_S:
                    self._drop(lease, "held for too long")
                else:
                    self.spawn(self._renew(lease))
            await asyncio.sleep(min(RENEWAL_TICK_S, self.config.visibility_timeout / 10))

    async def _renew(self, lease: Lease) -> None:
        ref = lease.ref
        try:
            receipt, asked_s = await self._io.renew(
                ref.queue, ref.queue_message_id, lease.pop_receipt
            )
            lease.pop_receipt = receipt
            self._book.renewed(ref.lease_id, receipt, asked_s)
        except LeaseLost as error:
            self._drop(lease, str(error))
        except DependencyError as error:
            self._book.not_renewed(ref.lease_id)
            log.bind(action="renew_failed", message_id=ref.message_id).warning(
                "a lease could not be renewed; trying again: {}", error
            )

    def _drop(self, lease: Lease, why: str) -> None:
        if self._book.drop(lease.ref.lease_id) is not None:
            self._held_bytes -= len(lease.text)
            self.counters["leases_lost"] += 1
            log.bind(action="lease_lost", message_id=lease.ref.message_id).info(
                "lease lost ({}); its rows merge", why
            )

    async def _release(self, lease: Lease) -> None:
        ref = lease.ref
        self._book.drop(ref.lease_id)
        self._held_bytes -= len(lease.text)
        try:
            await self._io.release(ref.queue, ref.queue_message_id, lease.pop_receipt, 0)
            self.counters["messages_released"] += 1
        except (DependencyError, LeaseLost) as error:
            log.bind(action="release_failed", message_id=ref.message_id).debug(
                "not released; it comes back when its lease ends: {}", error
            )

"""The fetch process: leases messages, hands out their work, and deletes what is committed.

Its loop keeps the books (:mod:`stages.fetch.leases`); the queue's calls run in threads.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pipeline.config import Config
from pipeline.entry_points import kind_of, processes
from pipeline.errors import BadMessage
from pipeline.logs import log
from pipeline.message_format.rules import PRIORITIES, ParsedMessage, parse_message
from pipeline.messages import (
    AnyLink,
    Begin,
    Damaged,
    Drain,
    Excused,
    Executed,
    Flush,
    LeaseRef,
    Receipt,
    Returned,
    Sealed,
    SpoolFound,
    TokenWanted,
    Unsealed,
    WorkerUp,
)
from pipeline.stage import Stage
from stages.fetch import counted
from stages.fetch.depth import Depths
from stages.fetch.disk_room import DiskRoom
from stages.fetch.finished import Finished
from stages.fetch.handout import HandOut
from stages.fetch.journal import LeaseJournal, held
from stages.fetch.leases import RENEWAL_AT, Lease, LeaseBook
from stages.fetch.orphans import Orphans
from stages.fetch.queue_io import QueueIo
from stages.fetch.queue_rest import Received
from stages.fetch.receiver import Receiver
from stages.fetch.resume import Resume
from stages.fetch.returns import Returns
from stages.fetch.spool_size import SpoolSize
from stages.fetch.suspects import POISON_AT, Suspects
from stages.fetch.tokens import Tokens

# Text of held messages; past this, receiving pauses.
MAX_HELD_BYTES = 64 * 1024 * 1024
# Half of the renewals that a queue some 40 ms away takes from us. No more leases are held
# than can be renewed in time, however long nothing can be loaded.
RENEWALS_PER_S = 100
MIN_LEASES = 200
# How often the end of a drain looks whether all is returned.
RETURNED_POLL_S = 0.02
# How often --until-empty looks whether the open batch is the last one.
FLUSH_TICK_S = 0.25
# What is done makes room for more; that is heard so often.
EXECUTED_PAUSE_S = 0.02


class Fetch(Stage):
    """Stage ``fetch``."""

    read_pauses_s: ClassVar[Mapping[str, float]] = {"execute": EXECUTED_PAUSE_S}

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name, config)
        workers = [n for n in processes(config.num_processes) if kind_of(n) == "execute"]
        # Starts above every id an earlier process can have given: it had a microsecond each.
        self._book = LeaseBook(config.visibility_timeout, time.time_ns() // 1000)
        self._suspects = Suspects(config.max_dequeue_count)
        self._hand_out = HandOut(
            workers,
            config.max_in_flight,
            self._suspects,
            self._book,
            self.links,
            self._has_space,
            self.spawn,
            self.counters,
        )
        self._orphans = Orphans()
        self._io = QueueIo(config)
        self._depths = Depths(self._io, config.azure_queue_name)
        self._ages = self.metrics.histogram("message_age_seconds")
        self.counters.update(counted.FROM_THE_START)
        self._journal = LeaseJournal(config.spool_dir, lambda: map(held, self._book))
        self._returns = Returns(
            self._io,
            self._book,
            self._journal,
            self.counters,
            config.visibility_timeout,
            self.tracer,
        )
        self._finished = Finished(self._returns, self._journal, self.spawn, self._deleted)
        self._resume = Resume(
            self._journal, self._book, self._hand_out, [*workers, "batch", "load"]
        )
        self._tokens = Tokens(config, workers, self.send, self.spawn)
        self._spool = SpoolSize()
        self._disk = DiskRoom(config.spool_dir, config.batch_bytes)
        self._receiver = Receiver(
            self._io,
            config.azure_queue_name,
            self._room,
            self._take_page,
            self._nothing_came,
            self.counters,
        )
        self._max_leases = max(
            MIN_LEASES, int(RENEWALS_PER_S * config.visibility_timeout * RENEWAL_AT)
        )
        self._draining = False
        self._until_empty = False

    # ── the hooks ────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Take up what the process before had leased; reach the queue, get the first token."""
        # Before anything is awaited: words on these messages come with the first links.
        self._resume.read(allow_writes=self.config.allow_writes)
        await asyncio.gather(self._io.check(), self._tokens.first())

    async def on_begin(self, begin: Begin) -> None:
        """Start receiving."""
        self._until_empty = begin.until_empty
        if begin.draining:
            self._draining = True
            self._hand_out.stop()
        await self._tokens.begin()
        self.spawn(self._returns.renew_for_ever())
        self.spawn(self._disk.watch())
        if self.config.ops_port:
            self.spawn(self._depths.ask_for_ever())
        self.spawn(self._hand_out.run())
        self.spawn(self._resume.run())
        if self._until_empty:
            self.spawn(self._flush_at_end())
            self.spawn(
                self._io.unheard.watch(
                    lambda: self._receiver.emptied and not len(self._book),
                    self._io.messages_left,
                    self._receiver.ask_again,
                )
            )
        if not self._draining:
            self._receiver.start(self.spawn, last=self._until_empty)

    async def on_peer(self, peer: str, generation: int) -> None:
        """A stage is new: hand out again what the last one took with it."""
        kind = kind_of(peer)
        if kind == "execute":
            # At once, before the new process can be handed anything.
            self._hand_out.worker_gone(peer)
            await self._tokens.welcome(peer)
        elif kind == "batch":
            self._hand_out.again(self._book.unsealed_before(generation), "batch was restarted")

    async def on_messages(self, peer: str, messages: list[AnyLink]) -> None:
        """Keep the books of what came together."""
        executed = [message for message in messages if isinstance(message, Executed)]
        if executed and len(executed) == len(messages):
            self._executed(peer, executed)
        else:  # what a worker holds has to be known before it is done
            await super().on_messages(peer, messages)

    async def on_message(self, peer: str, message: AnyLink) -> None:
        """Keep the books."""
        match message:
            case Executed():
                self._executed(peer, [message])
            case Returned():
                self._returned(peer, message)
            case WorkerUp():
                self._worker_up(peer, message)
            case Sealed():
                self._spool.sealed({message.batch_id: message.size_bytes})
                self._book.sealed(message.batch_id, message.parts)
            case Receipt():
                self._receipt(message)
            case Damaged():
                self._spool.loaded(message.batch_id)
                damaged = self._book.damaged(message.batch_id)
                self._hand_out.again(damaged, "a batch was damaged")
            case Unsealed():
                self._book.unsealed(message.parts, self.generations[peer])
                self._resume.heard(peer)
            case SpoolFound():
                self._spool.sealed(message.batches)
                self._resume.heard(peer)
            case TokenWanted():
                await self._tokens.wanted(peer, message)

    async def drain(self, request: Drain) -> None:
        """Stop receiving; at the end delete what is done and release what is not."""
        self._draining = True
        self._hand_out.stop()
        await self._receiver.stop()
        if not request.last:
            # What nobody has begun goes back now; the rest has to wait for the other stages.
            for lease in self._book:
                if self._book.is_untouched(lease):
                    self.spawn(self._returns.release(lease))
            return
        await asyncio.gather(*(self._returns.release(lease) for lease in self._book))
        while self._returns.under_way or self._finished.under_way:
            await asyncio.sleep(RETURNED_POLL_S)

    async def close(self) -> None:
        """Let go of the queue's connections; what is leased still is for the next to go on with."""
        if not len(self._book):
            self._journal.close()
        self._io.close()

    def idle(self) -> bool:
        """The queue is empty, and no message is held."""
        return (
            self._receiver.is_empty
            and not self._io.unheard
            and not len(self._book)
            and not self._returns.under_way
            and not self._finished.under_way
        )

    def gauges(self) -> dict[str, float]:
        """Leases, requests handed out, what waits in the queues, room in the spool."""
        return {
            "messages_leased": len(self._book),
            "requests_in_flight": self._hand_out.outstanding,
            "requests_waiting": self._hand_out.backlog,
            "spool_bytes": self._spool.size_bytes,
            "spool_limit_bytes": self.config.spool_bytes,
            "spool_disk_free_bytes": self._disk.free_bytes,
            "spool_disk_full": float(not self._disk.has_room),
            **self._depths.gauges(),
        }

    def reached(self, now_s: float) -> dict[str, float | None]:
        """Whether the queue answers."""
        return {"queue": self._io.reached.age_s(now_s)}

    # ── from the queue ───────────────────────────────────────────────────────────────────────

    def _take_page(self, queue: str, messages: list[Received], asked_s: float) -> None:
        now_s = time.time()
        for message in messages:
            self._ages.observe(max(0.0, now_s - message.inserted_at.timestamp()))
        taken = [self._take(queue, message, asked_s) for message in messages]
        self._journal.append(*[held(lease) for lease in taken if lease is not None])

    def _nothing_came(self) -> None:
        if self.idle():
            self.beat()

    def _room(self) -> bool:
        return (
            self._hand_out.has_room
            and len(self._book) < self._max_leases
            and self._book.text_bytes < MAX_HELD_BYTES
            and self._has_space()
            and not self._returns.late
        )

    def _has_space(self) -> bool:
        return self._spool.size_bytes < self.config.spool_bytes and self._disk.has_room

    def _take(self, queue: str, message: Received, asked_s: float) -> Lease | None:
        """Lease a received message; None if it is leased already, or poison."""
        if (held_already := self._book.of_message(queue, message.id)) is not None:
            self._returns.regained(held_already, message, asked_s)
            return None
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
            message_id, trace = (parsed.message_id, parsed.traceparent) if parsed else (None, None)
            self.spawn(self._returns.poison(queue, message, message_id, error, trace))
            return None
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
            traceparent=parsed.traceparent if self.tracer is not None else None,
        )
        priority = PRIORITIES.index(parsed.priority)
        lease = self._book.add(ref, text, parsed.requests, asked_s, priority)
        self._hand_out.add(lease, list(lease.requests))
        return lease

    # ── execute and batch ────────────────────────────────────────────────────────────────────

    def _worker_up(self, peer: str, up: WorkerUp) -> None:
        blamed, excused = self._hand_out.worker_up(peer, up, time.monotonic())
        if excused:
            self.tell_supervisor(Excused(peer))
        lease = self._book.of_message(blamed.queue, blamed.queue_message_id) if blamed else None
        if blamed is not None and lease is not None:
            self.counters[counted.WORKERS_KILLED] += 1
            # Before the rest is handed out again, or it would go out with it.
            self._book.drop(lease.ref.lease_id)
            problem = BadMessage(
                "kills its worker",
                f"{peer} died while it was busy with request {blamed.index} of this message and "
                "with nothing else",
            )
            times = self._suspects.blamed(blamed)
            if times < POISON_AT:
                self.spawn(self._returns.later(lease, times, problem))
            else:
                self.spawn(self._returns.give_up(lease, problem))
        self._hand_out.take_up(peer)
        self._resume.heard(peer)

    def _executed(self, peer: str, messages: Sequence[Executed]) -> None:
        # Whoever handed it out: a request whose lease was lost is worked on all the same.
        own = sum([message.attempt > self._book.first_id for message in messages])
        self._hand_out.executed(peer, own, len(messages) - own, time.monotonic())
        batch = self.generations.get("batch")
        for message in messages:
            lease_id, generation = message.lease_id, message.batch_generation
            counts = self._book.executed(lease_id, message.attempt, message.index, generation)
            if counts and batch is not None and generation < batch:
                # Written to a batch process that has died since: redo, unless it sealed it.
                stale = self._book.unsealed_before(batch)
                self._hand_out.again(
                    {k: v for k, v in stale.items() if k == lease_id}, "batch died"
                )

    def _returned(self, peer: str, message: Returned) -> None:
        lease = self._hand_out.returned(peer, message)
        if lease is None:
            return
        wait_s = message.wait_s
        if (
            wait_s > self.config.max_wait
            and self._book.is_untouched(lease)
            and lease.ref.dequeue_count <= self.config.put_off_until
        ):
            self.spawn(self._returns.put_off(lease, math.ceil(wait_s)))
        else:
            # What of it is done would be asked for again; and the last deliveries are for failures.
            self._hand_out.park(lease, message.indices, time.monotonic() + wait_s)

    async def _flush_at_end(self) -> None:
        """With --until-empty nothing more may come: then no batch waits for company."""
        while True:
            await asyncio.sleep(FLUSH_TICK_S)
            empty = self._receiver.emptied and not self._book.working
            if empty and len(self._book):
                await self.send("batch", Flush())

    # ── back to the queue ────────────────────────────────────────────────────────────────────

    def _receipt(self, receipt: Receipt) -> None:
        self._spool.loaded(receipt.batch_id)
        foreign = [p for p in receipt.parts if self._book.is_foreign(p.lease)]
        for lease in self._book.receipt(receipt.batch_id, receipt.parts):
            self._finished.add(lease.ref, lease)
        for ref in self._orphans.receipt(receipt.batch_id, foreign):
            self._finished.add(ref, None)

    def _deleted(self) -> None:
        if not len(self._book):
            # Only a queue that was asked after the last message was done counts as empty.
            self._receiver.ask_again()

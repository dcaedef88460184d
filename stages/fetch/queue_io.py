"""The queue's operations, in threads, as the fetch loop awaits them.

The only code of the running collector that talks to Azure Queue Storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from pipeline.config import Config
from stages.fetch.placeholders import send_placeholder, use_placeholder
from stages.fetch.poison import Mark
from stages.fetch.queue import READ_TIMEOUT_S, LeaseLost, open_queue, poison_name, translated

# What stands in the poison queue until it becomes an envelope.
PLACEHOLDER = (
    "azure-collector was interrupted before it used this placeholder. No message is lost: the one "
    "it was for stands in this queue by another id. It may be purged."
)
# Azure Queue Storage gives at most so many a call.
RECEIVE_MESSAGES = 32
# Threads for receives and deletes; renewals have their own, so that nothing delays them.
WORK_THREADS = 12
RENEWAL_THREADS = 8
# A renewal is not waited for longer than this part of a lease, so that one connection on which
# nothing comes back does not cost a short lease: at half-life there is time for two more tries.
RENEWAL_SILENCE = 1 / 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """A message as leased from the queue."""

    id: str
    pop_receipt: str
    text: str
    dequeue_count: int
    inserted_at: datetime


class QueueIo:
    """Receives, renews, deletes, releases and poisons messages.

    Args:
        config: queue names and credentials.
    """

    def __init__(self, config: Config) -> None:
        self._visibility_s = int(config.visibility_timeout)
        self._renewal_silence_s = min(READ_TIMEOUT_S, self._visibility_s * RENEWAL_SILENCE)
        self._names = config.azure_queue_name
        self._clients = {name: open_queue(config, name) for name in self._names}
        self._poison = {name: open_queue(config, poison_name(name)) for name in self._names}
        self._work = ThreadPoolExecutor(WORK_THREADS, "queue")
        self._renewals = ThreadPoolExecutor(RENEWAL_THREADS, "renewals")

    async def check(self) -> None:
        """Make sure that every queue is there and may be read; make the poison queues.

        Raises:
            DependencyError: one is not, and why.
        """
        for name in self._names:
            await self._run(self._work, self._clients[name], _peek)
            await self._run(self._work, self._poison[name], _create)

    async def receive(self, queue: str) -> tuple[list[Received], float]:
        """Lease up to 32 messages.

        Returns:
            The messages, and the monotonic time before the call: a lease counts from there.

        Raises:
            DependencyError: the queue did not give any.
        """
        asked_s = time.monotonic()
        client = self._clients[queue]
        return await self._run(self._work, client, self._receive), asked_s

    async def renew(self, queue: str, message_id: str, pop_receipt: str) -> tuple[str, float]:
        """Make the lease last from now on again.

        Returns:
            The new pop receipt, and the monotonic time before the call.

        Raises:
            LeaseLost: someone else has the message, or it is gone.
            DependencyError: the queue did not answer.
        """
        asked_s = time.monotonic()
        receipt = await self._update(
            self._renewals,
            queue,
            message_id,
            pop_receipt,
            self._visibility_s,
            read_timeout=self._renewal_silence_s,
        )
        return receipt, asked_s

    async def release(self, queue: str, message_id: str, pop_receipt: str, after_s: int) -> None:
        """Give a message back; it is visible after so many seconds. Raises as :meth:`renew`."""
        await self._update(self._work, queue, message_id, pop_receipt, after_s)

    async def delete(self, queue: str, message_id: str, pop_receipt: str) -> None:
        """Delete a message for good. One that is gone is deleted: an answer may have been lost.

        Raises:
            LeaseLost: someone else has the message.
            DependencyError: the queue did not answer.
        """

        def delete(client: QueueClient) -> None:
            try:
                with translated(client):
                    client.delete_message(message_id, pop_receipt)
            except LeaseLost as lost:
                if not lost.gone:
                    raise

        await self._run(self._work, self._clients[queue], delete)

    async def reserve_poison(self, queue: str) -> Mark:
        """Make a place in the poison queue, hidden for days.

        Raises:
            DependencyError: it may be there or not, and nobody will know of it.
        """
        return await self._run(
            self._work, self._poison[queue], lambda c: send_placeholder(c, PLACEHOLDER)
        )

    async def rewrite(self, queue: str, message_id: str, pop_receipt: str, text: str) -> str:
        """Change a leased message's text; its lease lasts from now on again.

        Returns:
            The new pop receipt.

        Raises:
            LeaseLost: someone else has the message, or the answer to this was lost.
            DependencyError: the queue did not answer.
        """

        def update(client: QueueClient) -> str:
            updated = client.update_message(
                message_id, pop_receipt, content=text, visibility_timeout=self._visibility_s
            )
            return str(updated.pop_receipt)

        return await self._run(self._work, self._clients[queue], update)

    async def poison(self, queue: str, mark: Mark, envelope: str) -> bool | None:
        """Let an envelope stand in its place in the poison queue.

        Returns:
            False if it stands there now, True if it did before, None if that cannot be told.

        Raises:
            DependencyError: the queue did not answer; it may be done again.
        """
        return await self._run(
            self._work, self._poison[queue], lambda c: use_placeholder(c, mark, envelope)
        )

    def close(self) -> None:
        """Let go of threads and connections; running calls are not waited for."""
        self._work.shutdown(wait=False, cancel_futures=True)
        self._renewals.shutdown(wait=False, cancel_futures=True)
        for client in (*self._clients.values(), *self._poison.values()):
            client.close()

    def _receive(self, client: QueueClient) -> list[Received]:
        # By page: the iterator over messages asks again until it sees an empty answer.
        pages = client.receive_messages(
            messages_per_page=RECEIVE_MESSAGES, visibility_timeout=self._visibility_s
        ).by_page()
        return [
            Received(
                id=str(message.id),
                pop_receipt=str(message.pop_receipt),
                text=str(message.content),
                dequeue_count=int(message.dequeue_count or 0),
                inserted_at=message.inserted_on or datetime.now(UTC),
            )
            for message in next(pages, [])
        ]

    async def _update(
        self,
        pool: ThreadPoolExecutor,
        queue: str,
        message_id: str,
        pop_receipt: str,
        after_s: int,
        **options: Any,
    ) -> str:
        def update(client: QueueClient) -> str:
            # Without visibility_timeout the message would be visible at once.
            updated = client.update_message(
                message_id, pop_receipt, visibility_timeout=after_s, **options
            )
            return str(updated.pop_receipt)

        return await self._run(pool, self._clients[queue], update)

    async def _run(
        self,
        pool: ThreadPoolExecutor,
        client: QueueClient,
        what: Callable[[QueueClient], T],
    ) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, _translated, client, what)


def _translated(client: QueueClient, call: Callable[[QueueClient], T]) -> T:
    with translated(client):
        return call(client)


def _peek(client: QueueClient) -> None:
    client.peek_messages(max_messages=1)


def _create(client: QueueClient) -> Any:
    try:
        return client.create_queue()
    except ResourceExistsError:
        return None

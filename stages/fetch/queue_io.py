"""The queue's operations as the fetch loop awaits them: what is done for every message over its
REST API in the loop, and what is seldom done through the Storage SDK in threads.

The only code of the running collector that talks to Azure Queue Storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceExistsError

from pipeline.config import Config
from pipeline.errors import DependencyError, NotThere
from pipeline.metrics.reached import Reached
from stages.fetch.curl_calls import CurlCalls
from stages.fetch.placeholders import send_placeholder, use_placeholder
from stages.fetch.poison import Mark
from stages.fetch.queue import READ_TIMEOUT_S, LeaseLost, open_queue, poison_name, translated
from stages.fetch.queue_auth import authority_of
from stages.fetch.queue_rest import QueueRest, Received
from stages.fetch.storage_sdk import QueueClient
from stages.fetch.unheard import Unheard

# What stands in the poison queue until it becomes an envelope.
PLACEHOLDER = (
    "azure-collector was interrupted before it used this placeholder. No message is lost: the one "
    "it was for stands in this queue by another id. It may be purged."
)
# Connections for receives and deletes; renewals have their own, so that nothing delays them.
WORK_CONNECTIONS = 36
RENEWAL_CONNECTIONS = 10
# For what the SDK does.
THREADS = 8
# A renewal is not waited for longer than this part of a lease, so that one connection on which
# nothing comes back does not cost a short lease: at half-life there is time for two more tries.
RENEWAL_SILENCE = 1 / 6

T = TypeVar("T")


@dataclass(frozen=True)
class Depth:
    """What waits in one queue.

    Attributes:
        messages: as Azure estimates it, invisible ones too.
        next_inserted_at: when the message that is next was enqueued; None if none is visible.
        poison_messages: in its poison queue.
    """

    messages: int
    next_inserted_at: datetime | None
    poison_messages: int


class QueueIo:
    """Receives, renews, deletes, releases and poisons messages.

    Args:
        config: queue names and credentials.

    Attributes:
        reached: whether the queues answer.
        unheard: receives whose answer was lost.
    """

    def __init__(self, config: Config) -> None:
        self.unheard = Unheard(config.visibility_timeout)
        self._visibility_s = int(config.visibility_timeout)
        self._renewal_silence_s = min(READ_TIMEOUT_S, self._visibility_s * RENEWAL_SILENCE)
        self._names = config.azure_queue_name
        self.reached = Reached()
        self._clients = {name: open_queue(config, name) for name in self._names}
        self._poison = {name: open_queue(config, poison_name(name)) for name in self._names}
        self._threads = ThreadPoolExecutor(THREADS, "queue")
        # All queues are of one account.
        client = self._clients[self._names[0]]
        self._authority = authority_of(client)
        self._work = _connections(client, WORK_CONNECTIONS)
        self._renewals = _connections(client, RENEWAL_CONNECTIONS)
        self._rest = {n: self._over(n, self._work) for n in self._names}
        self._renewing = {n: self._over(n, self._renewals) for n in self._names}

    async def check(self) -> None:
        """Make sure that every queue is there and may be read; make the poison queues.

        Raises:
            DependencyError: one is not, and why.
        """
        for name in self._names:
            with self._reaching():
                await self._run(self._clients[name], _peek)
            await self._run(self._poison[name], _create)

    async def receive(self, queue: str) -> tuple[list[Received], float]:
        """Lease up to 32 messages.

        Returns:
            The messages, and the monotonic time before the call: a lease counts from there.

        Raises:
            DependencyError: the queue did not give any.
        """
        asked_s = time.monotonic()
        with self._reaching():
            return await self._rest[queue].receive(self._visibility_s), asked_s

    async def depth(self, queue: str) -> Depth:
        """How much waits in a queue and in its poison queue.

        Raises:
            DependencyError: one did not answer.
        """
        with self._reaching():
            found = await self._run(self._clients[queue], _waiting)
        messages, next_inserted_at = found
        poison = await self._run(self._poison[queue], _messages)
        return Depth(messages, next_inserted_at, poison)

    async def messages_left(self) -> int:
        """How many messages are in all queues, as Azure estimates it; hidden ones too.

        Raises:
            DependencyError: one did not answer.
        """
        return sum([await self._run(client, _messages) for client in self._clients.values()])

    async def renew(self, queue: str, message_id: str, pop_receipt: str) -> tuple[str, float]:
        """Make the lease last from now on again.

        Returns:
            The new pop receipt, and the monotonic time before the call.

        Raises:
            LeaseLost: someone else has the message, or it is gone.
            DependencyError: the queue did not answer.
        """
        asked_s = time.monotonic()
        receipt = await self._renewing[queue].hide(
            message_id, pop_receipt, self._visibility_s, self._renewal_silence_s
        )
        return receipt, asked_s

    async def release(self, queue: str, message_id: str, pop_receipt: str, after_s: int) -> None:
        """Give a message back; it is visible after so many seconds. Raises as :meth:`renew`."""
        await self._rest[queue].hide(message_id, pop_receipt, after_s)

    async def delete(self, queue: str, message_id: str, pop_receipt: str) -> None:
        """Delete a message for good. One that is gone is deleted: an answer may have been lost.

        Raises:
            LeaseLost: someone else has the message.
            DependencyError: the queue did not answer.
        """

        try:
            await self._rest[queue].delete(message_id, pop_receipt)
        except LeaseLost as lost:
            if not lost.gone:
                raise

    async def reserve_poison(self, queue: str) -> Mark:
        """Make a place in the poison queue, hidden for days; and the queue, if it is gone.

        Raises:
            DependencyError: it may be there or not, and nobody will know of it.
        """
        client = self._poison[queue]
        try:
            return await self._run(client, _reserve)
        except NotThere:  # somebody deleted it, to be rid of what was in it
            await self._run(client, _create)
            return await self._run(client, _reserve)

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

        return await self._run(self._clients[queue], update)

    async def poison(self, queue: str, mark: Mark, envelope: str) -> bool | None:
        """Let an envelope stand in its place in the poison queue.

        Returns:
            False if it stands there now, True if it did before, None if that cannot be told.

        Raises:
            DependencyError: the queue did not answer; it may be done again.
        """
        return await self._run(self._poison[queue], lambda c: use_placeholder(c, mark, envelope))

    def close(self) -> None:
        """Let go of threads and connections; running calls are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._work.close()
        self._renewals.close()
        for client in (*self._clients.values(), *self._poison.values()):
            client.close()

    def _over(self, name: str, calls: CurlCalls) -> QueueRest:
        return QueueRest(
            self._clients[name],
            self._authority,
            calls,
            lambda queue: self.unheard.note(queue, time.monotonic()),
        )

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Note whether the queue answers what is asked of it."""
        try:
            yield
        except DependencyError:
            self.reached.failed()
            raise
        self.reached.answered(time.monotonic())

    async def _run(self, client: QueueClient, what: Callable[[QueueClient], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _translated, client, what)


def _connections(client: QueueClient, most: int) -> CurlCalls:
    parts = urlsplit(client.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return CurlCalls(parts.scheme, parts.hostname or "", port, most)


def _translated(client: QueueClient, call: Callable[[QueueClient], T]) -> T:
    with translated(client):
        return call(client)


def _peek(client: QueueClient) -> None:
    client.peek_messages(max_messages=1)


def _waiting(client: QueueClient) -> tuple[int, datetime | None]:
    found = client.peek_messages(max_messages=1)
    return _messages(client), found[0].inserted_on if found else None


def _messages(client: QueueClient) -> int:
    return int(client.get_queue_properties().approximate_message_count or 0)


def _reserve(client: QueueClient) -> Mark:
    return send_placeholder(client, PLACEHOLDER)


def _create(client: QueueClient) -> Any:
    try:
        return client.create_queue()
    except ResourceExistsError:
        return None

"""The poison queue as its keeper sees it: what stands there, one by one, and out of it for good.

Peeking shows only the 32 messages at the head. So looking through takes short leases, page by page,
and gives back at the end whatever was not settled; what a killed command held comes back by itself
when the lease lapses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

import msgspec

from pipeline.errors import DependencyError, NotThere
from pipeline.undecodable import UNDECODABLE
from stages.fetch.poison import Envelope, Mark
from stages.fetch.queue import LeaseLost, translated
from stages.fetch.queue_rest import RECEIVE_MESSAGES
from stages.fetch.storage_sdk import QueueClient

# How long a message is kept from others while it is looked at or settled.
LEASE_S = 60
# Messages that one command looks through in one queue.
MAX_LOOKED = 10_000
# Calls under way at once.
THREADS = 16


class MarkedEnvelope(Envelope, omit_defaults=True):
    """A poison message, with the mark of a replay that has begun.

    Attributes:
        replay: None as long as no replay has begun.
    """

    replay: Mark | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of a poison queue, leased.

    Attributes:
        id: its id there; it stays the same whatever is written into it.
        pop_receipt: of the lease.
        stored: its text.
        inserted_at: when it was put there.
        envelope: None where the text is no envelope of ours.
    """

    id: str
    pop_receipt: str
    stored: str
    inserted_at: datetime | None
    envelope: MarkedEnvelope | None


def read_envelope(stored: str) -> MarkedEnvelope | None:
    """The envelope, or None where this is none of ours."""
    try:
        return msgspec.json.decode(stored, type=MarkedEnvelope)
    except UNDECODABLE:
        return None


class Look:
    """One look through a poison queue; a context manager that gives back what was not settled.

    Messages that come in while it lasts are not waited for: with a collector running, a replayed
    message may soon stand there again, and a command would never end.

    Args:
        client: of the poison queue.
        most: messages to look at.

    Attributes:
        queue_name: the poison queue's.
        most: as given.
        looked: messages seen so far.
        there: about how many there were at the beginning, those that others hold included.
    """

    def __init__(self, client: QueueClient, most: int = MAX_LOOKED) -> None:
        self.queue_name = str(client.queue_name)
        self.most = most
        self.looked = 0
        self.there = 0
        self._client = client
        self._held: dict[str, str] = {}
        self._seen: set[str] = set()

    @property
    def beyond(self) -> int:
        """About how many were not looked at: beyond the limit, or held by someone else."""
        return max(0, self.there - self.looked)

    def pages(self) -> Iterator[list[DeadLetter]]:
        """Messages not seen before, up to 32 at a time; none if there is no such queue yet.

        Raises:
            DependencyError: the queue did not give any.
        """
        try:
            with translated(self._client):
                count = self._client.get_queue_properties().approximate_message_count
        except NotThere:
            return
        self.there = int(count or 0)
        most = min(self.most, self.there)
        while self.looked < most:
            page = self._receive(min(RECEIVE_MESSAGES, most - self.looked))
            new = [letter for letter in page if letter.id not in self._seen]
            self._held.update((letter.id, letter.pop_receipt) for letter in page)
            # Leases that lapsed bring the first ones again.
            if not new:
                return
            self._seen.update(letter.id for letter in new)
            self.looked += len(new)
            yield new

    def settled(self, letter: DeadLetter) -> None:
        """This one is deleted, or someone else's: it is not given back."""
        self._held.pop(letter.id, None)

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held, self._held = list(self._held.items()), {}
        away = isinstance(error, DependencyError)
        for start in range(0, 0 if away else len(held), RECEIVE_MESSAGES):
            if not give_back(self._client, held[start : start + RECEIVE_MESSAGES]):
                return  # the leases lapse by themselves

    def _receive(self, most: int) -> list[DeadLetter]:
        with translated(self._client):
            # By page: the iterator over messages asks again until it sees an empty answer.
            pages = self._client.receive_messages(
                messages_per_page=most, visibility_timeout=LEASE_S
            ).by_page()
            return [
                DeadLetter(
                    id=str(message.id),
                    pop_receipt=str(message.pop_receipt),
                    stored=str(message.content),
                    inserted_at=message.inserted_on,
                    envelope=read_envelope(str(message.content)),
                )
                for message in next(pages, [])
            ]


def give_back(client: QueueClient, held: Sequence[tuple[str, str]]) -> bool:
    """Make messages visible again.

    Args:
        client: of their queue.
        held: message ids and pop receipts.

    Returns:
        False if the queue did not answer.
    """

    def give(one: tuple[str, str]) -> bool:
        try:
            with translated(client):
                client.update_message(*one, visibility_timeout=0)
        except LeaseLost:  # it lapsed
            return True
        except DependencyError:
            return False
        return True

    with ThreadPoolExecutor(THREADS, "give-back") as pool:
        return all(list(pool.map(give, held)))


def delete(client: QueueClient, message_id: str, pop_receipt: str) -> None:
    """Delete a poison message for good.

    Raises:
        LeaseLost: someone else has it, or it is gone.
        DependencyError: the queue did not do it.
    """
    with translated(client):
        client.delete_message(message_id, pop_receipt)

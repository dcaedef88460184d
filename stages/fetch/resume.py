"""Going on with the messages that the ``fetch`` before this one had leased when it died.

They are in the lease book before anybody speaks, so that every word on them counts. What the other
stages have of them is told by their first words on the new links; only what nobody has is handed
out again. None is renewed before its time: a renewal that this process does not live to see would
cost the lease.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from pipeline.errors import BadMessage
from pipeline.logs import log
from pipeline.message_format.rules import PRIORITIES, parse_message
from stages.fetch.handout import HandOut
from stages.fetch.journal import LeaseJournal
from stages.fetch.leases import Lease, LeaseBook

# For the first words of the other stages; one that is being restarted itself has nothing to tell.
HEAR_LIMIT_S = 3.0


class Resume:
    """What was left, on its way back to work.

    Args:
        journal: says what was leased.
        book: the leases of this process.
        hand_out: hands out.
        peers: processes that tell what they have.
    """

    def __init__(
        self,
        journal: LeaseJournal,
        book: LeaseBook,
        hand_out: HandOut,
        peers: Iterable[str],
    ) -> None:
        self._journal = journal
        self._book = book
        self._hand_out = hand_out
        self._silent = set(peers)
        self._all_heard = asyncio.Event()
        self._leases: list[Lease] = []

    def read(self, *, allow_writes: bool) -> None:
        """Enter what was left into the book, and begin a journal of our own.

        Args:
            allow_writes: ALLOW_WRITES.
        """
        now_s = time.monotonic()
        left = self._journal.left()
        for held in left:
            lasts_s = held.ends_at_s - time.time()
            if lasts_s <= 0:
                continue
            try:
                parsed = parse_message(held.text, allow_writes=allow_writes)
            except BadMessage:
                continue  # by other settings than before: it comes again, and is told as any other
            priority = PRIORITIES.index(parsed.priority)
            lease = self._book.add(held.ref, held.text, parsed.requests, now_s, priority)
            lease.expires_at_s = now_s + lasts_s
            self._leases.append(lease)
        if left:
            log.bind(action="leases_resumed", messages=len(self._leases)).info(
                "going on with {} of {} messages that were leased before",
                len(self._leases),
                len(left),
            )
        self._journal.open()

    def heard(self, peer: str) -> None:
        """This process has told what it has."""
        self._silent.discard(peer)
        if not self._silent:
            self._all_heard.set()

    async def run(self) -> None:
        """Hand out what nobody has."""
        if not self._leases:
            return
        try:
            await asyncio.wait_for(self._all_heard.wait(), HEAR_LIMIT_S)
        except TimeoutError:
            log.bind(action="not_heard", processes=sorted(self._silent)).debug("some are silent")
        for lease in self._leases:
            # Gone when it was lost; and what of it was finished meanwhile is not untouched.
            mine = self._book.get(lease.ref.lease_id) is lease
            if mine and (left := self._book.untouched(lease)):
                self._hand_out.add(lease, left)
        self._leases = []

"""The same GET is asked once: for all whose turn comes while it is under way, and a while after.

Whoever's turn comes first asks; the others wait for that answer and hold no thread. What came is
kept for CACHE_TTL; past it, what had an ETag is asked for only if it has changed since.
Pure: the time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from pipeline.messages import Outcome
from stages.execute.recorded import Recorded, Recording, RecordSpace

# Of one process: answers that are kept, and as much again of those under way.
SHARED_BYTES = 64 * 1024 * 1024
MAX_KEPT = 20_000
# Who comes later than this after the first call asks anew: what it waits for is no answer of now.
JOIN_WITHIN_S = 60.0


class Shareable(Protocol):
    """A request that may ask for others, or wait for another's answer."""

    recording: Recording | None

    @property
    def share_key(self) -> Hashable | None:
        """The same for those that ask the same; None for one that asks for itself."""
        ...

    @property
    def first_call_s(self) -> float | None:
        """When its first call was made, monotonic seconds; None before."""
        ...

    def ask_if_changed(self, known: Recorded) -> None:
        """Ask for the answer only if it is not this one any more."""
        ...


T = TypeVar("T", bound=Shareable)


class Sharing(Generic[T]):
    """Who asks for whom in one process.

    Args:
        ttl_s: CACHE_TTL in seconds; 0 keeps nothing.
        limit_bytes: of all answers that are kept, past which those not used for longest are
            forgotten; and of all under way, past which an answer serves only who asked for it.
    """

    def __init__(self, ttl_s: float, limit_bytes: int = SHARED_BYTES) -> None:
        self._ttl_s = ttl_s
        self._space = RecordSpace(limit_bytes)
        self._asking: dict[Hashable, T] = {}
        self._waiting: dict[T, list[T]] = {}
        self._kept: OrderedDict[Hashable, Recorded] = OrderedDict()
        self._kept_bytes = 0
        self._limit_bytes = limit_bytes

    def answer(self, request: T, now_s: float) -> Recorded | None:
        """The answer to a request that came in, if it is here."""
        if not self._kept:
            return None
        known = self._known(request.share_key, now_s)
        return known if known is not None and self._is_fresh(known, now_s) else None

    def join(self, request: T, now_s: float) -> Recorded | bool:
        """It is a request's turn to make its first call.

        Returns:
            The answer, if it is here; True if another one asks for it, whose :meth:`ended` gives
            this one back; False if it has to ask.
        """
        key = request.share_key
        if key is None:
            return False
        known = self._known(key, now_s)
        if known is not None and self._is_fresh(known, now_s):
            return known
        asking = self._asking.get(key)
        if asking is request:
            return False  # it begins anew
        if asking is not None:
            began_s = asking.first_call_s
            recorded = asking.recording is not None and asking.recording.whole
            if recorded and (began_s is None or now_s - began_s <= JOIN_WITHIN_S):
                self._waiting.setdefault(asking, []).append(request)
                return True
        if known is not None and known.etag is not None:
            request.ask_if_changed(known)
        request.recording = Recording(self._space)
        self._asking[key] = request
        return False

    def ended(self, request: T, outcome: Outcome | None) -> tuple[list[T], Recorded | None]:
        """A request is over; it need not have asked for anybody.

        Args:
            request: that is over.
            outcome: of it; None if it has none, because it was let go.

        Returns:
            Those that waited for it, and the answer; without one they have to ask for themselves.
        """
        recording, request.recording = request.recording, None
        if recording is None:
            return [], None
        key, asked_s = request.share_key, request.first_call_s
        if self._asking.get(key) is request:
            del self._asking[key]
        waiting = self._waiting.pop(request, [])
        recorded = None
        if outcome is not None and asked_s is not None and (waiting or self._ttl_s):
            recorded = recording.ended(outcome, asked_s)
        recording.drop()
        if recorded is not None and recorded.outcome == "complete" and self._ttl_s:
            self._keep(key, recorded)
        return waiting, recorded

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out those that wait for another's answer and for which this is true."""
        removed = []
        for asking, waiting in list(self._waiting.items()):
            removed += [request for request in waiting if unwanted(request)]
            self._waiting[asking] = [request for request in waiting if not unwanted(request)]
        return removed

    @property
    def kept(self) -> int:
        """Answers that are kept."""
        return len(self._kept)

    def _is_fresh(self, known: Recorded, now_s: float) -> bool:
        return now_s - known.asked_s <= self._ttl_s

    def _known(self, key: Hashable | None, now_s: float) -> Recorded | None:
        if (known := self._kept.get(key)) is None:
            return None
        if known.etag is None and not self._is_fresh(known, now_s):
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return known

    def _keep(self, key: Hashable, recorded: Recorded) -> None:
        self._forget(key)
        self._kept[key] = recorded
        self._kept_bytes += recorded.size_bytes
        while len(self._kept) > MAX_KEPT or self._kept_bytes > self._limit_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Hashable) -> None:
        if (known := self._kept.pop(key, None)) is not None:
            self._kept_bytes -= known.size_bytes

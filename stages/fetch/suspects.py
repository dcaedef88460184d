"""Requests that may have killed their worker: tried again, but beside nothing else.

A worker that dies leaves behind which requests its threads were busy with
(:class:`~pipeline.messages.InCall`). One of them may have killed it, or none. Each is handed out
again to be called alone; the one whose worker dies then is to blame, and its message goes back to
the queue for a while. One that is to blame time and again is poison, and nobody beside it is. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.messages import InCall, LeaseRef

# Messages under suspicion that are remembered; they are asked alone when they come again.
MAX_SUSPECTS = 10_000
# A message that is to blame so often is poison. A worker may die of something else just when one of
# its calls is alone; but hardly so often of the same one.
POISON_AT = 3


@dataclass(slots=True)
class Suspect:
    """A message under suspicion.

    Attributes:
        indices: its requests that a worker died in.
        blamed: deaths in which one of them was alone.
    """

    indices: set[int] = field(default_factory=set)
    blamed: int = 0


class Suspects:
    """The messages under suspicion.

    Args:
        max_dequeue_count: MAX_DEQUEUE_COUNT. A message on its last delivery goes alone: what took
            the whole host down with it has left no other trace than the queue's own count.
    """

    def __init__(self, max_dequeue_count: int) -> None:
        self._last_delivery = max(2, max_dequeue_count)
        self._suspects: OrderedDict[tuple[str, str], Suspect] = OrderedDict()

    def died_in(self, calls: Iterable[InCall]) -> InCall | None:
        """A worker died while it was busy with these.

        Returns:
            The one to blame, if it was alone.
        """
        calls = list(calls)
        blamed = calls[0] if len(calls) == 1 and calls[0].alone else None
        for call in calls:
            key = (call.queue, call.queue_message_id)
            suspect = self._suspects.setdefault(key, Suspect())
            self._suspects.move_to_end(key)
            suspect.indices.add(call.index)
            suspect.blamed += call is blamed
        while len(self._suspects) > MAX_SUSPECTS:
            self._suspects.popitem(last=False)
        return blamed

    def blamed(self, call: InCall) -> int:
        """How often this message was to blame."""
        suspect = self._suspects.get((call.queue, call.queue_message_id))
        return suspect.blamed if suspect is not None else 0

    def any_alone(self, ref: LeaseRef) -> bool:
        """Whether some request of this message may have to be called alone."""
        known = (ref.queue, ref.queue_message_id) in self._suspects
        return known or ref.dequeue_count >= self._last_delivery

    def alone(self, ref: LeaseRef, index: int) -> bool:
        """Whether this request is to be called alone."""
        suspect = self._suspects.get((ref.queue, ref.queue_message_id))
        if suspect is not None and index in suspect.indices:
            return True
        return ref.dequeue_count >= self._last_delivery

"""Which trace a message belongs to: its producer's, or one that every stage works out alike.

Pure, and without the SDK: the message format is checked here too.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from pipeline.messages import LeaseRef

# Of a header of a later version, which may be longer than today's 55 characters.
MAX_TRACEPARENT_CHARS = 256
TRACE_BYTES = 16
SPAN_BYTES = 8
_SAMPLED = 0x01

# Version ff is none. https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)


class Parent(NamedTuple):
    """The span of the producer's that a message came from."""

    trace_id: int
    span_id: int
    sampled: bool


class MessageIds(NamedTuple):
    """Where the span of one delivery of a message stands.

    Attributes:
        trace_id: 128 bits.
        span_id: 64 bits, of the span ``message``.
        parent: the producer's span, or None: then it is the root.
    """

    trace_id: int
    span_id: int
    parent: Parent | None


def normalised(text: str) -> str | None:
    """A ``traceparent`` of W3C Trace Context, in the form of version 00; None if it is none.

    Args:
        text: as the producer gave it.
    """
    if len(text) > MAX_TRACEPARENT_CHARS:
        return None
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    # Only a later version goes on after the flags; and all zeros are no id.
    if (more and version == "00") or not int(trace, 16) or not int(span, 16):
        return None
    return f"00-{trace}-{span}-{int(flags, 16) & _SAMPLED:02x}"


def parent_of(traceparent: str) -> Parent:
    """The span that a normalised ``traceparent`` names."""
    _, trace, span, flags = traceparent.split("-")
    return Parent(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))


def ids_of(ref: LeaseRef) -> MessageIds:
    """Where the span of this delivery stands: the same in every process."""
    return message_ids(ref.queue, ref.queue_message_id, ref.dequeue_count, ref.traceparent)


def message_ids(
    queue: str, queue_message_id: str, dequeue_count: int, traceparent: str | None
) -> MessageIds:
    """Where the span of a delivery stands.

    Args:
        queue: name of the queue.
        queue_message_id: the queue's own id.
        dequeue_count: deliveries so far; each has a span of its own.
        traceparent: the message's, normalised, or None: then each delivery is a trace.
    """
    delivery = f"{queue}\x1f{queue_message_id}\x1f{dequeue_count}".encode()
    digest = hashlib.blake2b(delivery, digest_size=TRACE_BYTES + SPAN_BYTES).digest()
    trace_id = int.from_bytes(digest[:TRACE_BYTES], "big") or 1
    span_id = int.from_bytes(digest[TRACE_BYTES:], "big") or 1
    if traceparent is None:
        return MessageIds(trace_id, span_id, None)
    parent = parent_of(traceparent)
    return MessageIds(parent.trace_id, span_id, parent)

"""The envelope in which a message stands in the poison queue, with the reason it is there.

Pure. It fits the queue's 64 KiB whatever the original was: a large original is kept compressed.

While a message is moved there, the envelope stands in the message's own queue too, with the mark of
the move (:class:`Moving`); so whoever receives it after an interruption goes on with the same move.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime

import msgspec

from pipeline.undecodable import UNDECODABLE

# What Azure Queue Storage takes, as stored.
MAX_STORED_BYTES = 64 * 1024
# Of a detail, in UTF-8 and escaped; the rules already cut what they quote. With it, even 64 KiB of
# random base64 fits: zlib takes a quarter off it, and base 85 adds a quarter to the rest.
MAX_DETAIL_BYTES = 2_000
# Of the original, where not all of it fits.
MAX_CUT_BYTES = 48 * 1024


class Mark(msgspec.Struct, frozen=True):
    """A placeholder, as it is written down before it is used; see :mod:`stages.fetch.placeholders`.

    Attributes:
        placeholder_id: message that becomes what it stands for.
        pop_receipt: its receipt while it is still the placeholder; good for one change.
        hidden_until: from when on others may receive it, by the service's clock.
    """

    placeholder_id: str
    pop_receipt: str
    hidden_until: datetime


class Envelope(msgspec.Struct, omit_defaults=True):
    """A poison message, as JSON.

    Attributes:
        reason: the rule that was broken, or ``delivered too often``.
        detail: what was got, what is taken, where.
        queue: where the message came from.
        queue_message_id: its id there.
        message_id: the producer's id, where it could be read.
        dequeue_count: deliveries, the last one included.
        inserted_at: when it was first enqueued, ISO 8601.
        poisoned_at: when it was put here, ISO 8601.
        text: the original, exactly as stored.
        text_zlib_b85: the original (UTF-8), zlib-compressed in base 85, where ``text`` would not
            fit.
        text_sha256: digest of the original's UTF-8, where not even that would fit.
    """

    reason: str
    detail: str
    queue: str
    queue_message_id: str
    dequeue_count: int
    inserted_at: str | None
    poisoned_at: str
    message_id: str | None = None
    text: str | None = None
    text_zlib_b85: str | None = None
    text_sha256: str | None = None


class Moving(Envelope, omit_defaults=True, kw_only=True):
    """A message on its way to the poison queue, as it stands in its own.

    Attributes:
        moving_to: placeholder in the poison queue that becomes the envelope.
    """

    moving_to: Mark


_encode = msgspec.json.Encoder().encode


def envelope(
    *,
    reason: str,
    detail: str,
    queue: str,
    queue_message_id: str,
    message_id: str | None,
    dequeue_count: int,
    inserted_at: datetime | None,
    text: str,
    now: datetime | None = None,
) -> str:
    """The poison message's text, at most :data:`MAX_STORED_BYTES` in UTF-8."""
    sealed = Envelope(
        reason=reason,
        detail=_cut(detail, MAX_DETAIL_BYTES),
        queue=queue,
        queue_message_id=queue_message_id,
        message_id=message_id,
        dequeue_count=dequeue_count,
        inserted_at=inserted_at.isoformat() if inserted_at is not None else None,
        poisoned_at=(now or datetime.now(UTC)).isoformat(),
        text=text,
    )
    stored = fitted(sealed)
    if stored is None:
        sealed.text_zlib_b85 = None
        sealed.text_sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        sealed.text = _cut(text, MAX_CUT_BYTES)
        stored = _encode(sealed).decode()
    return stored


def fitted(sealed: Envelope) -> str | None:
    """An envelope in at most :data:`MAX_STORED_BYTES`, its original whole; None if it is too large.

    Args:
        sealed: its text is packed and its detail left out where it would not fit.
    """
    stored = _encode(sealed)
    if len(stored) > MAX_STORED_BYTES and sealed.text is not None:
        packed = zlib.compress(sealed.text.encode("utf-8", "surrogatepass"), 9)
        sealed.text, sealed.text_zlib_b85 = None, base64.b85encode(packed).decode("ascii")
        stored = _encode(sealed)
    if len(stored) > MAX_STORED_BYTES:
        sealed.detail = ""
        stored = _encode(sealed)
    return stored.decode() if len(stored) <= MAX_STORED_BYTES else None


def moving(stored: str, mark: Mark) -> str | None:
    """What is written into a message before its envelope is; None if there is no room for it.

    Args:
        stored: the envelope, as :func:`envelope` made it.
        mark: of the placeholder that becomes the envelope.
    """
    opened = msgspec.json.decode(stored, type=Envelope)
    return fitted(Moving(**msgspec.structs.asdict(opened), moving_to=mark))


def moving_since(text: str, queue_message_id: str) -> tuple[Envelope, Mark] | None:
    """The envelope and the mark of a move that was begun; None if this is no text of one.

    Args:
        text: as received.
        queue_message_id: the queue's id of the message that holds it. A text that was copied, or
            made by a producer, names another one: it is no move, but a message that breaks a rule.
    """
    try:
        found = msgspec.structs.asdict(msgspec.json.decode(text, type=Moving))
    except UNDECODABLE:
        return None
    mark: Mark = found.pop("moving_to")
    return (Envelope(**found), mark) if found["queue_message_id"] == queue_message_id else None


def _cut(text: str, most_bytes: int) -> str:
    """The beginning of a text, as long as it takes at most so many bytes in JSON."""
    size = 0
    for end, char in enumerate(text):
        size += len(_encode(char)) - 2
        if size > most_bytes:
            return text[:end]
    return text


def original(stored: str) -> str:
    """The original text out of a poison message.

    Raises:
        ValueError: this is no envelope of ours, or its original was cut.
    """
    try:
        opened = msgspec.json.decode(stored, type=Envelope)
    except UNDECODABLE as error:
        raise ValueError(f"not a poison envelope: {error}") from error
    if opened.text_sha256 is not None:
        raise ValueError("the original was too large to be kept whole")
    if opened.text_zlib_b85 is not None:
        return zlib.decompress(base64.b85decode(opened.text_zlib_b85)).decode(
            "utf-8", "surrogatepass"
        )
    if opened.text is None:
        raise ValueError("not a poison envelope: no text")
    return opened.text

"""The envelope in which a message stands in the poison queue, with the reason it is there.

Pure. It fits the queue's 64 KiB whatever the original was: a large original is kept compressed.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime

import msgspec

# What Azure Queue Storage takes, as stored.
MAX_STORED_BYTES = 64 * 1024
# Of a detail, in UTF-8 and escaped; the rules already cut what they quote. With it, even 64 KiB of
# random base64 fits: zlib takes a quarter off it, and base 85 adds a quarter to the rest.
MAX_DETAIL_BYTES = 2_000
# Of the original, where not all of it fits.
MAX_CUT_BYTES = 48 * 1024


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
    stored = _encode(sealed)
    if len(stored) > MAX_STORED_BYTES:
        original = text.encode("utf-8", "surrogatepass")
        sealed.text = None
        sealed.text_zlib_b85 = base64.b85encode(zlib.compress(original, 9)).decode("ascii")
        stored = _encode(sealed)
        if len(stored) > MAX_STORED_BYTES:
            sealed.text_zlib_b85 = None
            sealed.text_sha256 = hashlib.sha256(original).hexdigest()
            sealed.text = _cut(text, MAX_CUT_BYTES)
            stored = _encode(sealed)
    return stored.decode()


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
    except msgspec.DecodeError as error:
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

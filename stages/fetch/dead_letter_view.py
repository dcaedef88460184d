"""How poison messages look to whoever asks for them: a line each, a row of JSON, or whole."""

from __future__ import annotations

import zlib
from typing import Any, TextIO

import msgspec

from stages.fetch.dead_letter import LEASE_S, DeadLetter, Look
from stages.fetch.dead_letter_replay import PLACEHOLDER, own_message_id
from stages.fetch.poison import original
from stages.fetch.queue import poison_name

# Of a detail, and of a text that is no envelope, in a list.
SHOWN_CHARS = 100


def row_of(queue: str, letter: DeadLetter) -> dict[str, Any]:
    """One message of a list, as JSON has it."""
    since = letter.inserted_at.isoformat() if letter.inserted_at is not None else None
    envelope = letter.envelope
    if envelope is None:
        return {
            "id": letter.id,
            "queue": queue,
            "poisoned_at": since,
            "note": "no envelope of this collector's",
            "text": letter.stored[:SHOWN_CHARS],
        }
    note: str | None = None
    if envelope.replay is not None:
        note = "a replay was interrupted; replay it again to finish"
    elif envelope.text == PLACEHOLDER:
        note = "placeholder of an interrupted replay; purge it"
    elif envelope.text_sha256 is not None:
        note = "its original was cut and cannot be replayed"
    return {
        "id": letter.id,
        "queue": queue,
        "poisoned_at": envelope.poisoned_at,
        "deliveries": envelope.dequeue_count,
        "reason": envelope.reason,
        "detail": envelope.detail,
        "message_id": own_message_id(letter),
        "note": note,
    }


def line_of(row: dict[str, Any]) -> str:
    """One message of a list, on a line."""
    note = f"  [{row['note']}]" if row["note"] else ""
    if "text" in row:
        return f"{row['id']}  {row['poisoned_at']}{note}  {plain(row['text'])}"
    detail = row["detail"]
    shown = detail if len(detail) <= SHOWN_CHARS else detail[: SHOWN_CHARS - 1] + "…"
    told = ": ".join(plain(part) for part in (row["reason"], shown) if part)
    known_as = f"  message_id {plain(row['message_id'])}" if row["message_id"] else ""
    deliveries = count(row["deliveries"], "delivery", "deliveries")
    when = plain(row["poisoned_at"])
    return f"{row['id']}  {when}  {deliveries}{known_as}  {told}{note}"


def show(queue: str, letter: DeadLetter, only_original: bool, out: TextIO) -> None:
    """Print the envelope, and below it the original: as it is, or escaped on a terminal."""
    envelope = letter.envelope
    text = letter.stored
    if envelope is not None:
        try:
            text = original(letter.stored)
        except (ValueError, zlib.error):
            text = envelope.text or ""
    if not only_original:
        fields = msgspec.to_builtins(envelope) if envelope is not None else {}
        for kept in ("text", "text_zlib_b85"):
            fields.pop(kept, None)
        head = {**row_of(queue, letter), **fields}
        head.pop("text", None)
        print(msgspec.json.format(msgspec.json.encode(head)).decode(), end="\n\n", file=out)
    if out.isatty():
        text = "\n".join(map(plain, text.split("\n")))
    print(text, file=out)


def looked(queue: str, look: Look) -> str:
    """What was looked through, and what was not."""
    said = f"{poison_name(queue)}: looked through {count(look.looked, 'message')}"
    if look.beyond:
        said += (
            f"; about {look.beyond:,} more are there, beyond the limit of {look.most:,} "
            f"or held by another command for up to {LEASE_S} seconds"
        )
    return said


def plain(text: str) -> str:
    """On one line, with nothing that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

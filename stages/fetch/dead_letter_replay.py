"""Puts the original of a poison message back into its queue: once, wherever it is interrupted.

Azure Queue Storage has no transaction over two queues, and none over a send and a delete. But it
changes a message only against its current pop receipt, and every change makes a new one. So the
original is not sent; a message that is there already *becomes* it:

::

    1  send      a placeholder into the work queue, hidden for days           → id, pop receipt
    2  mark      the poison message with that id and receipt
    3  put back  update the placeholder: original text, visible at once
    4  delete    the poison message

Whoever finds a mark, after whatever interruption, does step 3 again with the receipt it holds. The
queue takes that once: a refusal (``PopReceiptMismatch``, or ``MessageNotFound`` when it has been
collected meanwhile) means that it is done, and only step 4 is left. The same holds for an answer
that was lost, for the SDK's own retries and for two operators at once.

What is left over, and said where it turns up:

- Interrupted between 1 and 2, nobody knows of the placeholder. When it shows itself, the collector
  puts it into the poison queue as ``not JSON``; its text says what it is. It is never deleted here:
  a step 2 whose answer was lost may have been done, and a placeholder that is missing would then be
  taken for one that was put back.
- A mark older than the placeholder's hiding can no longer tell: others may have received it. A
  message with a ``message_id`` of its own is then put back anew, because a second delivery has the
  same ``ROW_KEY`` and ``REQUESTS`` keys, and MERGE finds them there. One without would be collected
  under two ids: it is kept, and the operator decides.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgspec

from pipeline.errors import BadMessage
from pipeline.message_format.envelopes import read
from stages.fetch import placeholders
from stages.fetch.dead_letter import LEASE_S, DeadLetter, MarkedEnvelope, delete
from stages.fetch.poison import Mark, fitted, original
from stages.fetch.queue import LeaseLost, translated
from stages.fetch.storage_sdk import QueueClient

PLACEHOLDER = (
    "azure-collector dead-letter replay was interrupted before it used this placeholder. "
    "No message is lost: the original is still in the poison queue. It may be purged."
)


class NotReplayable(Exception):
    """This message cannot be put back; it is kept. The text says why."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """A message that is back in its queue.

    Attributes:
        before: an earlier, interrupted replay had put it back.
        again: it may have been put back before, and is now for certain.
    """

    before: bool = False
    again: bool = False


def replay(poison: QueueClient, work: QueueClient, letter: DeadLetter) -> PutBack:
    """Put the original back and delete the poison message, or finish an earlier attempt.

    Args:
        poison: client of the poison queue.
        work: client of the queue the message came from.
        letter: leased.

    Raises:
        NotReplayable: it is kept, and why.
        DependencyError: a queue did not answer; the next replay goes on from where this one is.
    """
    text = original_for(letter, work.queue_name)
    mark, pop_receipt, again = _mark_of(letter), letter.pop_receipt, False
    if mark is not None:
        was_there = placeholders.use_placeholder(work, mark, text)
        if was_there is not None:
            _delete(poison, letter.id, pop_receipt)
            return PutBack(before=was_there)
        if own_message_id(letter) is None:
            raise NotReplayable(
                "a replay was interrupted, and others could receive its placeholder since "
                f"{mark.hidden_until:%Y-%m-%d %H:%M} UTC: whether the message was put back "
                "cannot be told, and without a message_id of its own a second delivery would be "
                "collected twice. Purge it, or send what `show --original` prints"
            )
        again = True
    mark, pop_receipt = begin(poison, work, letter)
    # A refusal means it is done: an answer was lost, or someone who found the mark was quicker.
    placeholders.use_placeholder(work, mark, text)
    _delete(poison, letter.id, pop_receipt)
    return PutBack(again=again)


def original_for(letter: DeadLetter, queue: str) -> str:
    """The text to put back, exactly as it was.

    Raises:
        NotReplayable: there is none, or it is not this queue's.
    """
    if letter.envelope is None:
        raise NotReplayable("it is no envelope of this collector's")
    if letter.envelope.queue != queue:
        raise NotReplayable(f"it came from {letter.envelope.queue!r}, not from {queue!r}")
    try:
        text = original(letter.stored)
    except (ValueError, zlib.error) as error:
        raise NotReplayable(str(error)) from error
    if text == PLACEHOLDER:
        raise NotReplayable("it is the placeholder of an interrupted replay; purge it")
    return text


def own_message_id(letter: DeadLetter) -> str | None:
    """The producer's id: the envelope's, or the original's, which may break another rule."""
    if letter.envelope is None or letter.envelope.message_id is not None:
        return letter.envelope.message_id if letter.envelope is not None else None
    try:
        message, _ = read(original(letter.stored))
    except (ValueError, zlib.error, BadMessage):
        return None
    return message.message_id


def begin(poison: QueueClient, work: QueueClient, letter: DeadLetter) -> tuple[Mark, str]:
    """Steps 1 and 2: a placeholder, and the mark that tells of it.

    Returns:
        The mark, and the poison message's new pop receipt.

    Raises:
        NotReplayable: the mark does not fit, or someone else has the message.
        DependencyError: a queue did not answer.
    """
    mark = send_placeholder(work)
    return mark, write_mark(poison, letter, mark)


def send_placeholder(work: QueueClient) -> Mark:
    """Step 1."""
    return placeholders.send_placeholder(work, PLACEHOLDER)


def write_mark(poison: QueueClient, letter: DeadLetter, mark: Mark) -> str:
    """Step 2; returns the poison message's new pop receipt. Raises as :func:`begin`."""
    assert letter.envelope is not None
    try:
        with translated(poison):
            updated = poison.update_message(
                letter.id,
                letter.pop_receipt,
                content=marked_text(letter.envelope, mark),
                visibility_timeout=LEASE_S,
            )
    except LeaseLost as error:
        raise NotReplayable(
            f"another command has it now; look again in {LEASE_S} seconds"
        ) from error
    return str(updated.pop_receipt)


def marked_text(envelope: MarkedEnvelope, mark: Mark) -> str:
    """The envelope with the mark, at most 64 KiB; the original in it stays whole.

    Raises:
        NotReplayable: it does not fit.
    """
    stored = fitted(msgspec.structs.replace(envelope, replay=mark))
    if stored is None:
        raise NotReplayable("the envelope has no room for the mark of a replay")
    return stored


def _mark_of(letter: DeadLetter) -> Mark | None:
    return letter.envelope.replay if letter.envelope is not None else None


def _delete(poison: QueueClient, message_id: str, pop_receipt: str) -> None:
    """Step 4. Whoever else has the message by now finds the mark, and deletes it."""
    try:
        delete(poison, message_id, pop_receipt)
    except LeaseLost:
        return

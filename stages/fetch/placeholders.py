"""A message that becomes another one, once: how a queue is written to without doubling.

Azure Queue Storage has no transaction, and a send whose answer is lost may or may not have been
done; done again, the message is there twice. But a message is changed only against its current pop
receipt, and every change makes a new one. So a hidden placeholder is sent, its id and receipt are
written down where whoever goes on will find them, and an update turns it into what it stands for.
That update can be repeated by anyone and any number of times: the queue takes it once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core.exceptions import HttpResponseError

from stages.fetch.poison import Mark
from stages.fetch.queue import NEVER_EXPIRES, LeaseLost, translated
from stages.fetch.storage_sdk import QueueClient

# How long a placeholder stays hidden, and so what was interrupted can be finished for certain.
# The service's limit is 7 days.
HIDDEN_S = 6 * 24 * 3600
# Taken off the end of the hiding: the service's dates have whole seconds.
MARGIN = timedelta(minutes=1)


def send_placeholder(client: QueueClient, text: str) -> Mark:
    """Put a hidden placeholder into a queue.

    Args:
        client: of the queue.
        text: says what it is to whoever finds it when nobody has used it.

    Raises:
        DependencyError: the queue did not say that it has one. It may have: a placeholder that
            nobody knows of shows itself when its hiding ends.
    """
    with translated(client):
        sent = client.send_message(text, visibility_timeout=HIDDEN_S, time_to_live=NEVER_EXPIRES)
    hidden_until = sent.next_visible_on or datetime.now(UTC) + timedelta(seconds=HIDDEN_S)
    return Mark(str(sent.id), str(sent.pop_receipt), hidden_until)


def use_placeholder(client: QueueClient, mark: Mark, text: str) -> bool | None:
    """Turn a placeholder into this text, visible at once, if it has not been yet.

    Returns:
        False if it has now, True if it had before, None if that cannot be told.

    Raises:
        DependencyError: the queue did not answer; it may be done again.
    """
    try:
        with translated(client):
            client.update_message(
                mark.placeholder_id, mark.pop_receipt, content=text, visibility_timeout=0
            )
    except LeaseLost as error:
        answered_at = _answered_at(error.__cause__)
        hidden = answered_at is not None and answered_at < mark.hidden_until - MARGIN
        # While it was hidden, nobody could change it but who knew the receipt.
        return True if hidden else None
    return False


def _answered_at(error: BaseException | None) -> datetime | None:
    """When the service refused, by its own clock."""
    response: Any = error.response if isinstance(error, HttpResponseError) else None
    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (AttributeError, KeyError, ValueError, TypeError):
        return None
    return date.replace(tzinfo=UTC)

"""Transactions that a dead process or a lost session has left open: they are aborted.

Snowflake keeps the transaction of a session whose client is gone, and its locks with it. It rolls
it back only when it was idle for five minutes and another transaction waits for it (reference,
"Transactions", section "Aborting transactions"). Until then no collector could merge.

``SHOW TRANSACTIONS`` lists the running transactions of the current user with the columns ``id``,
``user``, ``session``, ``name``, ``started_on``, ``state`` and ``scope``, without a warehouse.
``SYSTEM$ABORT_TRANSACTION(id)`` aborts one; only the user who has started it may, or an account
administrator; one that has ended is left as it is (Snowflake's reference of both).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pipeline.errors import DependencyError
from pipeline.logs import log
from stages.load.session import Session

_ACTION = "stale_transaction"


def abort(session: Session, left: Collection[int]) -> bool:
    """Abort what these sessions have left open. It never fails: a load can wait for it too.

    Args:
        session: an open one of the same user. It is asked nothing if ``left`` is empty.
        left: ids of sessions that nobody uses any more.

    Returns:
        Whether they have none open now.
    """
    if not left:
        return True
    try:
        names, rows = session.table("SHOW TRANSACTIONS")
        for transaction in transactions_of(names, rows, left):
            session.run(f"SELECT SYSTEM$ABORT_TRANSACTION({transaction})")
            log.bind(action=_ACTION, transaction=transaction).info(
                "aborted transaction {}, which a lost session had left open", transaction
            )
    except (DependencyError, LookupError, TypeError, ValueError) as error:
        log.bind(action=_ACTION).warning(
            "a transaction that a lost session may have left open cannot be aborted; if there is "
            "one, loads wait until Snowflake ends it after 5 minutes: {}",
            error,
        )
        return False
    return True


def transactions_of(
    names: Sequence[str], rows: Sequence[Sequence[Any]], sessions: Collection[int]
) -> list[int]:
    """Ids of the transactions of exactly these sessions.

    Args:
        names: columns of ``SHOW TRANSACTIONS``.
        rows: its rows.
        sessions: ids of sessions.

    Raises:
        ValueError: a column is missing, or an id is no number.
    """
    lower = [name.lower() for name in names]
    own, session = lower.index("id"), lower.index("session")
    return [int(row[own]) for row in rows if int(row[session]) in sessions]

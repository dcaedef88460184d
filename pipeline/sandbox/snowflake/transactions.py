"""SHOW TRANSACTIONS and SYSTEM$ABORT_TRANSACTION, as Snowflake answers them.

Columns and answers are those of Snowflake's reference: "SHOW TRANSACTIONS" and
"SYSTEM$ABORT_TRANSACTION".
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlglot import exp

from pipeline.sandbox.snowflake import USER

ABORT = "SYSTEM$ABORT_TRANSACTION"
_SHOWN = ("TRANSACTIONS", "TRANSACTIONS IN ACCOUNT")
# Snowflake's are about as large. Drawn, so that an id of an earlier run is no id of this one.
_SESSION_BITS = 47

_lock = threading.Lock()
_last_id = 0


def new_session_id() -> int:
    """An id for a session, unlike any other."""
    return secrets.randbits(_SESSION_BITS) | 1 << (_SESSION_BITS - 1)


def _new_id() -> int:
    """Milliseconds since 1970, as Snowflake's look, and each larger than the one before."""
    global _last_id
    with _lock:
        _last_id = max(_last_id + 1, time.time_ns() // 1_000_000)
        return _last_id


@dataclass(frozen=True)
class Transaction:
    """One that was begun with BEGIN and has not ended.

    Attributes:
        session: id of its session.
        id: its own.
        name: a UUID.
        started_on: when BEGIN came.
    """

    session: int
    id: int = field(default_factory=_new_id)
    name: str = field(default_factory=lambda: str(uuid.uuid4()))
    started_on: datetime = field(default_factory=lambda: datetime.now(UTC))


def is_shown(statement: exp.Expression) -> bool:
    """Whether it is ``SHOW TRANSACTIONS [IN ACCOUNT]``, which is text to the parser."""
    return (
        isinstance(statement, exp.Command)
        and str(statement.this).upper() == "SHOW"
        and " ".join(str(statement.expression).upper().split()) in _SHOWN
    )


def listing(transactions: Iterable[Transaction]) -> exp.Expression:
    """A SELECT of what ``SHOW TRANSACTIONS`` answers."""
    shown: exp.Expression | None = None
    for transaction in transactions:
        row = _row(transaction)
        shown = row if shown is None else exp.union(shown, row, distinct=False)
    return shown or _row(Transaction(0, 0)).where(exp.false())


def to_abort(statement: exp.Expression) -> int | None:
    """The id that ``SELECT SYSTEM$ABORT_TRANSACTION(id)`` names; None for any other statement."""
    for call in statement.find_all(exp.Anonymous):
        if str(call.this).upper() == ABORT and len(call.expressions) == 1:
            argument = call.expressions[0]
            if isinstance(argument, exp.Literal) and argument.name.isdigit():
                return int(argument.name)
    return None


def answer(transaction_id: int, found: bool) -> exp.Expression:
    """A SELECT of what the function answers; the words for one that has ended are our own."""
    text = (
        f"Aborted transaction id: {transaction_id}"
        if found
        else f"Transaction {transaction_id} is not running."
    )
    name = f"{ABORT}({transaction_id})"
    return exp.select(exp.alias_(exp.Literal.string(text), name, quoted=True))


def _row(transaction: Transaction) -> exp.Select:
    columns = (
        ("id", transaction.id, "BIGINT"),
        ("user", USER, "VARCHAR"),
        ("session", transaction.session, "BIGINT"),
        ("name", transaction.name, "VARCHAR"),
        ("started_on", transaction.started_on.isoformat(), "TIMESTAMPTZ"),
        ("state", "running", "VARCHAR"),
        ("scope", 0, "BIGINT"),
    )
    return exp.select(
        *(
            exp.alias_(exp.cast(exp.convert(value), kind), name, quoted=True)
            for name, value, kind in columns
        )
    )

"""Rows that Snowflake cannot take: found, described, and owned up to in REQUESTS."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import tables

# A VARCHAR's length and a VARIANT's size in accounts without the larger limits of 2025.
BODY_LIMIT_BYTES = 16 * 1024 * 1024
# So much of a body is kept that a person sees what it is.
START_LIMIT_CHARS = 200

# What REQUESTS says of a request that has a row set aside.
ROW_REJECTED = "RowRejected"

NOT_JSON = "body is not JSON"
NUMBER_TOO_LARGE = "Snowflake refuses the body: a number in it is beyond a double's range"
REFUSED = "Snowflake refuses the body, though it is JSON"
KILLS = "loading this row kills the process"

# Requests whose set-aside rows are remembered until their row of REQUESTS comes: the oldest go.
_REMEMBERED_REQUESTS = 10_000

# Of a row of RESOURCES, what tells whose it is.
WHOSE = (
    "ROW_KEY",
    "MESSAGE_ID",
    "REQUEST_INDEX",
    "SERVICE",
    "SUBSCRIPTION_ID",
    "RESOURCE_ID",
    "ENQUEUED_AT",
    "BATCH_ID",
)

# REJECTED_ROWS.
COLUMNS = pa.schema(
    [
        pa.field("ROW_KEY", pa.string(), nullable=False),
        pa.field("MESSAGE_ID", pa.string(), nullable=False),
        pa.field("REQUEST_INDEX", pa.int32(), nullable=False),
        pa.field("SERVICE", pa.string(), nullable=False),
        pa.field("SUBSCRIPTION_ID", pa.string()),
        pa.field("RESOURCE_ID", pa.string()),
        pa.field("REASON", pa.string(), nullable=False),
        pa.field("BODY_BYTES", pa.int64(), nullable=False),
        pa.field("BODY_DIGEST", pa.string(), nullable=False),
        pa.field("BODY_START", pa.string(), nullable=False),
        pa.field("ENQUEUED_AT", tables.TIMESTAMP, nullable=False),
        pa.field("REJECTED_AT", tables.TIMESTAMP, nullable=False),
        pa.field("BATCH_ID", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """A row that is set aside.

    Attributes:
        row_key, message_id, request_index, service, subscription_id, resource_id, enqueued_at,
            batch_id: as it has them.
        reason: why, in a few words.
        body_bytes: size of its body as UTF-8.
        body_digest: SHA-256 of the same, in hexadecimal.
        body_start: first characters of the body.
    """

    row_key: str
    message_id: str
    request_index: int
    service: str
    subscription_id: str | None
    resource_id: str | None
    reason: str
    body_bytes: int
    body_digest: str
    body_start: str
    enqueued_at: datetime
    batch_id: str


def unfit(row: Mapping[str, Any], reason: str) -> Unfit:
    """Describe a row that is set aside.

    Args:
        row: a row of RESOURCES: :data:`WHOSE` and ``BODY`` are looked at.
        reason: why, in a few words.
    """
    body = row["BODY"].encode("utf-8", "surrogatepass")
    return Unfit(
        reason=reason,
        body_bytes=len(body),
        body_digest=hashlib.sha256(body).hexdigest(),
        body_start=row["BODY"][:START_LIMIT_CHARS],
        **{name.lower(): row[name] for name in WHOSE},
    )


def killing(row: Mapping[str, Any]) -> Unfit:
    """Describe a row that kills the process which loads it, without the texts that may do it.

    Args:
        row: as for :func:`unfit`.
    """
    found = unfit({**row, "BODY": row["BODY"] or "", "RESOURCE_ID": None}, KILLS)
    return replace(found, body_start="")


def split(rows: pa.Table, limit_bytes: int = BODY_LIMIT_BYTES) -> tuple[pa.Table, list[Unfit]]:
    """Rows of RESOURCES that can be staged, and those that cannot.

    Args:
        rows: of :data:`pipeline.tables.RESOURCES`.
        limit_bytes: longest ``BODY``.
    """
    size_bytes = pc.binary_length(rows["BODY"])
    # PARSE_JSON takes an empty text for NULL, and would lose it in silence.
    bad = pc.fill_null(pc.or_(pc.greater(size_bytes, limit_bytes), pc.equal(size_bytes, 0)), False)
    if not pc.any(bad).as_py():
        return rows, []
    aside = rows.filter(bad).select([*WHOSE, "BODY"]).to_pylist()
    return rows.filter(pc.invert(bad)), [_misfit(row, limit_bytes) for row in aside]


def _misfit(row: dict[str, Any], limit_bytes: int) -> Unfit:
    if not row["BODY"]:
        return unfit(row, NOT_JSON)
    found = unfit(row, "")
    reason = f"body of {found.body_bytes} bytes is over {limit_bytes}"
    return Unfit(**{**asdict(found), "reason": reason})


def why_refused(body: str) -> str:
    """Why PARSE_JSON has refused this body, as far as it can be seen from here."""
    beyond = []

    def number(text: str) -> float:
        value = float(text)
        if math.isinf(value):
            beyond.append(text)
        return value

    try:
        # Integers too: Snowflake takes those above 38 digits for doubles.
        json.loads(body, parse_float=number, parse_int=number, parse_constant=_no_constant)
    except RecursionError:
        return f"{REFUSED}: it is nested too deep"
    except ValueError as error:
        return f"{NOT_JSON}: {error}"
    return NUMBER_TOO_LARGE if beyond else REFUSED


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is none of its words")


def to_table(aside: Iterable[Unfit], rejected_at: datetime) -> pa.Table:
    """These rows as rows of REJECTED_ROWS.

    Args:
        aside: rows set aside.
        rejected_at: when, with a zone.
    """
    rows = [
        {**{name.upper(): value for name, value in asdict(row).items()}, "REJECTED_AT": rejected_at}
        for row in aside
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


_Request = tuple[str, int]


class Told:
    """What requests have to own up to: one with a row set aside is not complete.

    A request's row in REQUESTS comes with the last of its rows or after them, so rows that are set
    aside are remembered until then.
    """

    def __init__(self) -> None:
        # How many rows of each request, by batch: the same batch may be loaded again.
        self._missing: OrderedDict[_Request, dict[str, int]] = OrderedDict()
        self._reasons: dict[_Request, str] = {}

    def remember(self, aside: Sequence[Unfit]) -> None:
        """Note all rows that a load sets aside; doing it again changes nothing."""
        by_batch = Counter((row.message_id, row.request_index, row.batch_id) for row in aside)
        for row in aside:
            request = (row.message_id, row.request_index)
            batches = self._missing.setdefault(request, {})
            batches[row.batch_id] = by_batch[(*request, row.batch_id)]
            self._reasons.setdefault(request, row.reason)
        while len(self._missing) > _REMEMBERED_REQUESTS:
            request, _ = self._missing.popitem(last=False)
            del self._reasons[request]

    def tell(self, requests: pa.Table) -> pa.Table:
        """These rows of REQUESTS as they are to be loaded.

        Args:
            requests: of :data:`pipeline.tables.REQUESTS`.
        """
        if not self._concerned(requests):
            return requests
        ledger = requests.to_pylist()
        for entry in ledger:
            request = (entry["MESSAGE_ID"], entry["REQUEST_INDEX"])
            missing = sum(self._missing.get(request, {}).values())
            if entry["OUTCOME"] == "complete" and missing:
                entry["OUTCOME"] = "failed"
                entry["ERROR_CODE"] = ROW_REJECTED
                entry["ERROR_MESSAGE"] = f"{missing} rows set aside: {self._reasons[request]}"
                entry["ROWS"] = max(0, entry["ROWS"] - missing)
        return pa.Table.from_pylist(ledger, schema=requests.schema)

    def committed(self, requests: pa.Table) -> None:
        """Forget what these have told: the same message, collected again, may be whole."""
        for request in self._concerned(requests):
            self._missing.pop(request, None)
            self._reasons.pop(request, None)

    def _concerned(self, requests: pa.Table) -> set[_Request]:
        if not self._missing:
            return set()
        names = ("MESSAGE_ID", "REQUEST_INDEX")
        keys = zip(*(requests[name].to_pylist() for name in names), strict=True)
        return self._missing.keys() & set(keys)

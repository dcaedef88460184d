"""Lists: rows that are made when asked for, cut into pages joined by ``nextLink``."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_plus

import msgspec

from pipeline.sandbox.arm.arm_errors import arm_error
from pipeline.sandbox.arm.catalogue import Item
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer

SKIP_TOKEN = "$skiptoken"  # noqa: S105 - the name of a query parameter


class Row(msgspec.Struct, frozen=True):
    """One row of a list.

    Attributes:
        id: ARM's id; ``None`` for rows that have none, e.g. usages.
        body: JSON.
    """

    id: str | None
    body: bytes


class Listing(msgspec.Struct, frozen=True):
    """A list of which every row can be made by its number.

    Attributes:
        kind: what is listed, for the statistics.
        count: rows over all pages.
        row: makes the i-th.
    """

    kind: str
    count: int
    row: Callable[[int], Row]


class One(msgspec.Struct, frozen=True):
    """A path that names one thing.

    Attributes:
        kind: its type, for the statistics.
        id: ARM's id.
        body: JSON.
        item: the resource, if it is one of the catalogue.
    """

    kind: str
    id: str
    body: bytes
    item: Item | None = None


def listing_of(kind: str, keys: Sequence[int], row: Callable[[int], Row]) -> Listing:
    """A list whose i-th row is made from the i-th of these keys."""
    return Listing(kind, len(keys), lambda i: row(keys[i]))


def encode_token(offset: int, salt: str) -> str:
    """An opaque token; it is good for the same ``salt`` only. Holds characters to be escaped."""
    check = zlib.crc32(f"{offset}|{salt}".encode())
    return base64.b64encode(f"o={offset};c={check:08x}??".encode()).decode()


def decode_token(token: str, salt: str) -> int | None:
    """The offset in a token; ``None`` if it is not one made for this salt."""
    try:
        text = base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    digits = text.partition(";")[0].removeprefix("o=")
    if not digits.isdecimal() or len(digits) > 12 or encode_token(int(digits), salt) != token:
        return None
    return int(digits)


def parse_query(query: str) -> dict[str, str]:
    """Parameters with names in lower case; of a repeated one the first."""
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            parameters.setdefault(unquote_plus(name).lower(), unquote_plus(value))
    return parameters


def next_link(origin: str, target: str, offset: int, name: str = quote(SKIP_TOKEN)) -> str:
    """The absolute link to the page that begins at this row; ``name`` is the token's, as sent."""
    path, _, query = target.partition("?")
    kept = [
        part
        for part in query.split("&")
        if part and unquote_plus(part.partition("=")[0]).lower() != SKIP_TOKEN
    ]
    token = quote(encode_token(offset, path.lower()), safe="")
    kept.append(f"{name}={token}")
    return f"{origin}{path}?{'&'.join(kept)}"


def page(listing: Listing, origin: str, target: str, page_size: int) -> Answer:
    """One page of a list.

    Args:
        listing: the rows.
        origin: scheme, host and port of the links, as the client called them.
        target: path and query of the request.
        page_size: rows; the request's ``$top`` makes it smaller.
    """
    path, _, query = target.partition("?")
    parameters = parse_query(query)
    offset = 0
    if (token := parameters.get(SKIP_TOKEN)) is not None:
        found = decode_token(token, path.lower())
        if found is None or found >= max(1, listing.count):
            return arm_error(400, "InvalidSkipToken", f"The skip token '{token}' is invalid.")
        offset = found
    top = parameters.get("$top")
    if top is not None:
        if not top.isdecimal() or not 1 <= len(top) <= 9 or int(top) < 1:
            return arm_error(400, "InvalidTopValue", f"The $top value '{top}' is invalid.")
        page_size = min(page_size, int(top))
    end = min(listing.count, offset + page_size)
    rows = b",".join([listing.row(i).body for i in range(offset, end)])
    if end < listing.count:
        link = msgspec.json.encode(next_link(origin, target, end))
        body = b'{"value":[%b],"nextLink":%b}' % (rows, link)
    else:
        body = b'{"value":[%b]}' % rows
    return Answer(200, body, (("Content-Type", JSON_TYPE),), kind=f"{listing.kind} list")

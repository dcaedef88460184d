"""Answers become rows here: one for each element of a list, or one for the whole answer.

Bodies are never parsed to objects and written again: a row's body is the very text that ARM sent,
so numbers keep their digits and nothing is read twice.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Any

import msgspec

from pipeline.messages import PlannedRequest, Resource

# Snowflake takes 16 MiB in a VARIANT; the limit counts it decompressed.
# https://docs.snowflake.com/en/sql-reference/data-types-semistructured
MAX_BODY_BYTES = 16 * 1024 * 1024
KEY_BYTES = 16

_SUBSCRIPTION = re.compile(r"/subscriptions/([^/]+)", re.IGNORECASE)
_GROUP = re.compile(r"/resourcegroups/([^/]+)", re.IGNORECASE)
_PROVIDER = re.compile(r"/providers/", re.IGNORECASE)


class BrokenBody(Exception):
    """The answer is not the JSON that it says it is. Another try may get it whole."""


class BodyTooLarge(Exception):
    """One resource is larger than a VARIANT can be."""


class _Page(msgspec.Struct):
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    next_link: Any = msgspec.field(default=None, name="nextLink")
    odata_next_link: Any = msgspec.field(default=None, name="@odata.nextLink")
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    skip_token: Any = msgspec.field(default=None, name="$skipToken")


class _Element(msgspec.Struct):
    id: Any = None
    type: Any = None
    name: Any = None
    location: Any = None


_page = msgspec.json.Decoder(_Page)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_element = msgspec.json.Decoder(_Element)
_any = msgspec.json.Decoder()


class Page(msgspec.Struct):
    """One answer, taken apart.

    Attributes:
        elements: JSON text of each element, or None when the answer is no list.
        body: the whole answer, or None when it is empty.
        next_link: as ARM wrote it, or None.
        skip_token: Resource Graph's, for the next page, or None.
    """

    elements: list[bytes] | None
    body: bytes | None
    next_link: str | None = None
    skip_token: str | None = None


def parse_page(body: bytes, *, graph: bool) -> Page:
    """Take an answer apart.

    Args:
        body: as received, decompressed.
        graph: a Resource Graph answer, whose rows are in ``data`` and pages by ``$skipToken``.

    Raises:
        BrokenBody: it is not JSON, not UTF-8, or cut short.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        return Page(None, None)
    try:
        body.decode()
        if not body.startswith(b"{"):
            _any.decode(body)
            return Page(None, body)
        page = _page.decode(body)
        rows = page.data if graph else page.value
        elements = None
        if isinstance(rows, msgspec.Raw) and bytes(rows).lstrip()[:1] == b"[":
            elements = [bytes(raw) for raw in _raws.decode(rows)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenBody(f"{error} ({len(body)} bytes)") from error
    link = _text(page.next_link) or _text(page.odata_next_link)
    return Page(elements, body, link, _text(page.skip_token) if graph else None)


class RowMaker:
    """Makes the rows of one request, page after page.

    A row's key is the digest of the message's id, the request's place in it and the resource's id,
    so it is the same however often the message is delivered. An element without an id is known by
    its place in the list; the same id seen again in one list is told apart by how often.

    Args:
        message_id: the message's.
        request: the request.
    """

    def __init__(self, message_id: str, request: PlannedRequest) -> None:
        self._prefix = f"{message_id}\x1f{request.index}\x1f".encode()
        self._request = request
        self._path = request.target.partition("?")[0]
        self._seen: Counter[str] = Counter()
        self.count = 0

    def rows(self, page: Page, collected_at_us: int) -> list[Resource]:
        """The rows of one page.

        Raises:
            BodyTooLarge: a resource is larger than Snowflake takes.
        """
        if page.elements is None:
            return [self._row(page.body, None, collected_at_us)]
        return [self._row(element, self.count, collected_at_us) for element in page.elements]

    def _row(self, body: bytes | None, place: int | None, collected_at_us: int) -> Resource:
        if body is not None and len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(
                f"element {self.count} has {len(body)} bytes; at most {MAX_BODY_BYTES}"
            )
        self.count += 1
        element = _element.decode(body) if body and body[:1] == b"{" else _Element()
        resource_id = _text(element.id)
        identity = (resource_id or "").lower()
        if place is not None and not identity:
            identity = f"#{place}"
        self._seen[identity] += 1
        if (times := self._seen[identity]) > 1:
            identity = f"{identity}\x1f{times}"
        if resource_id is None and place is None:
            resource_id = self._path
        where = resource_id or ""
        return Resource(
            row_key=_digest(self._prefix + identity.encode("utf-8", "surrogatepass")),
            resource_id=resource_id,
            resource_type=_text(element.type) or _type_in(where),
            name=_name(element.name),
            location=_text(element.location),
            subscription_id=_first(_SUBSCRIPTION, where, lower=True)
            or self._request.subscription_id
            or None,
            resource_group=_first(_GROUP, where) or self._request.resource_group or None,
            body=body,
            body_hash=_digest(body) if body is not None else None,
            collected_at_us=collected_at_us,
        )


def error_of(body: bytes) -> tuple[str | None, str | None]:
    """ARM's error code and message, where the body has them.

    Takes ``{"error":{"code","message"}}``, the older ``{"code","message"}`` and
    ``{"odata.error":{"code","message":{"value"}}}``.
    """
    try:
        decoded = _any.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if not isinstance(decoded, dict):
        return None, None
    inner = decoded.get("error", decoded.get("odata.error", decoded))
    if isinstance(inner, str):
        return inner, _text(decoded.get("error_description") or decoded.get("message"))
    if not isinstance(inner, dict):
        return None, None
    message = inner.get("message", inner.get("Message"))
    if isinstance(message, dict):
        message = message.get("value")
    return _text(inner.get("code", inner.get("Code"))), _text(message)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).hexdigest()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(value: object) -> str | None:
    # Usages and metrics name things as {"value": "cores", "localizedValue": "Total Cores"}.
    return _text(value.get("value")) if isinstance(value, dict) else _text(value)


def _first(pattern: re.Pattern[str], text: str, *, lower: bool = False) -> str | None:
    found = pattern.search(text)
    if found is None:
        return None
    return found[1].lower() if lower else found[1]


def _type_in(resource_id: str) -> str | None:
    """``Microsoft.Web/sites/slots`` out of ``…/providers/Microsoft.Web/sites/a/slots/b``."""
    parts = _PROVIDER.split(resource_id)
    if len(parts) < 2:
        return None
    namespace, *rest = [part for part in parts[-1].split("/") if part]
    return "/".join([namespace, *rest[::2]]) if rest else None

"""Answers become rows here: one for each element of a list, or one for the whole answer.

Bodies are never parsed to objects and written again: a row's body is the very text that ARM sent,
so numbers keep their digits and nothing is read twice. Only where a request has a ``select`` is it
what that makes of the text; what the row says beside it is still of the whole resource.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from pipeline.messages import MICROSOFT_GRAPH, PROVIDER, PlannedRequest, Resource
from pipeline.undecodable import UNDECODABLE
from stages.execute.selecting import SelectFailed, Selector
from stages.execute.targets import collection_of

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


class ResultTruncated(Exception):
    """Resource Graph has more rows than it gave, and no way to ask for them."""


class _Page(msgspec.Struct):
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    next_link: Any = msgspec.field(default=None, name="nextLink")
    odata_next_link: Any = msgspec.field(default=None, name="@odata.nextLink")
    old_odata_next_link: Any = msgspec.field(default=None, name="odata.nextLink")
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    skip_token: Any = msgspec.field(default=None, name="$skipToken")
    result_truncated: Any = msgspec.field(default=None, name="resultTruncated")


class _Answered(_Page):
    properties: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Linked(msgspec.Struct):
    next_link: Any = msgspec.field(default=None, name="nextLink")


class _Element(msgspec.Struct):
    id: Any = None
    type: Any = None
    name: Any = None
    location: Any = None
    display_name: Any = msgspec.field(default=None, name="displayName")
    odata_type: Any = msgspec.field(default=None, name="@odata.type")


_page = msgspec.json.Decoder(_Page)
_answered = msgspec.json.Decoder(_Answered)
_linked = msgspec.json.Decoder(_Linked)
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_element = msgspec.json.Decoder(_Element)
_any = msgspec.json.Decoder()


class Page(msgspec.Struct):
    """One answer, taken apart.

    Attributes:
        elements: JSON text of each element, or None when the answer is no list.
        body: the whole answer, or None when it is empty.
        next_link: as ARM wrote it, or None; a blank one is none.
        skip_token: Resource Graph's, for the next page, or None.
        asked_again: the link takes the question again, rather than a GET.
    """

    elements: list[bytes] | None
    body: bytes | None
    next_link: str | None = None
    skip_token: str | None = None
    asked_again: bool = False


def parse_page(body: bytes, *, graph: bool, posted: bool = False) -> Page:
    """Take an answer apart.

    Args:
        body: as received, decompressed.
        graph: a Resource Graph answer, whose rows are in ``data`` and pages by ``$skipToken``.
        posted: an answer to a POST. One that is no list may go on at ``properties.nextLink``, as
            Cost Management's do, whose further pages are asked for like the first.
            https://learn.microsoft.com/rest/api/cost-management/query/usage

    Raises:
        BrokenBody: it is not JSON, not UTF-8, or cut short; or says that there is a next page,
            and not where.
        ResultTruncated: Resource Graph left rows out.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        return Page(None, None)
    try:
        body.decode()
        if not body.startswith(b"{"):
            _any.decode(body)
            return Page(None, body)
        page = (_answered if posted else _page).decode(body)
        rows = page.data if graph else page.value
        elements = None
        if isinstance(rows, msgspec.Raw) and bytes(rows).lstrip()[:1] == b"[":
            elements = [bytes(raw) for raw in _raws.decode(rows)]
    except UNDECODABLE as error:
        raise BrokenBody(f"{error} ({len(body)} bytes)") from error
    links = (page.next_link, page.odata_next_link, page.old_odata_next_link)
    link = next((found for value in links if (found := _link(value)) is not None), None)
    if link is None and elements is None and isinstance(page, _Answered):
        below = _below(page.properties)
        if below is not None:
            return Page(None, body, below, asked_again=True)
    skip_token = _link(page.skip_token) if graph else None
    # "true" is text there: https://learn.microsoft.com/azure/governance/resource-graph/paginate
    if graph and skip_token is None and str(page.result_truncated).lower() == "true":
        raise ResultTruncated("more rows than were given, and no $skipToken: keep id in the query")
    return Page(elements, body, link, skip_token)


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
        self._seen: dict[str, int] = {}
        self._listed = False
        self._selector = Selector(request.select) if request.select is not None else None
        self._whole = hashlib.blake2b(digest_size=KEY_BYTES)
        self.count = 0

    @property
    def body_hash(self) -> str:
        """Digest of all resources so far as Azure gave them, in their order."""
        return self._whole.hexdigest()

    def rows(
        self, page: Page, collected_at_us: int, source: str = PROVIDER, *, cached: bool = False
    ) -> list[Resource]:
        """The rows of one page.

        Args:
            page: taken apart.
            collected_at_us: when Azure answered.
            source: who did.
            cached: another request asked for it.

        Raises:
            BodyTooLarge: a resource, or what is selected of it, is larger than Snowflake takes.
            SelectFailed: the request's ``select`` cannot be applied to one.
            BrokenBody: an element cannot be read, or a page after the first of a list is no list.
                Nothing was counted then: the page may be asked for again.
        """
        listed = page.elements is not None
        if self._listed and not listed:
            raise BrokenBody("a page of a list that is no list")
        bodies: list[bytes | None] = [page.body] if page.elements is None else [*page.elements]
        elements = [_element_of(body, self.count + place) for place, body in enumerate(bodies)]
        self._listed = listed
        return [
            self._row(body, element, collected_at_us, source, cached)
            for body, element in zip(bodies, elements, strict=True)
        ]

    def _kept(self, body: bytes) -> bytes:
        """What the request's ``select`` keeps of a resource."""
        assert self._selector is not None
        try:
            kept = self._selector.select(body)
        except SelectFailed as error:
            raise SelectFailed(f"element {self.count}: {error}") from error
        if len(kept) > MAX_BODY_BYTES:
            raise BodyTooLarge(
                f"select makes {len(kept)} bytes of element {self.count}; at most {MAX_BODY_BYTES}"
            )
        return kept

    def _row(
        self,
        body: bytes | None,
        element: _Element,
        collected_at_us: int,
        source: str,
        cached: bool,
    ) -> Resource:
        body_hash = _digest(body) if body is not None else None
        self._whole.update((body_hash or "-").encode())
        if body is not None and self._selector is not None:
            body = self._kept(body)
            body_hash = _digest(body)
        place = self.count if self._listed else None
        self.count += 1
        resource_id = _text(element.id)
        identity = (resource_id or "").lower()
        if place is not None and not identity:
            identity = f"#{place}"
        times = self._seen[identity] = self._seen.get(identity, 0) + 1
        if times > 1:
            # ARM's ids have no control characters, so this is no other's.
            identity = f"{identity}\x1f{times}"
        if resource_id is None and place is None:
            resource_id = self._path
        where = resource_id or ""
        return Resource(
            row_key=_digest(self._prefix + identity.encode("utf-8", "surrogatepass")),
            resource_id=resource_id,
            resource_type=self._type_of(element, where),
            name=_name(element.name) or _text(element.display_name),
            location=_text(element.location),
            subscription_id=_first(_SUBSCRIPTION, where, lower=True)
            or self._request.subscription_id
            or None,
            resource_group=_first(_GROUP, where) or self._request.resource_group or None,
            body=body,
            body_hash=body_hash,
            collected_at_us=collected_at_us,
            source=source,
            cached=cached,
        )

    def _type_of(self, element: _Element, where: str) -> str | None:
        if self._request.audience == MICROSOFT_GRAPH:
            # "#microsoft.graph.user", where a list may hold several types.
            return (_text(element.odata_type) or "").lstrip("#") or collection_of(self._path)
        return _text(element.type) or _type_in(where)


def error_of(body: bytes) -> tuple[str | None, str | None]:
    """ARM's error code and message, where the body has them.

    Takes ``{"error":{"code","message"}}``, the older ``{"code","message"}`` and
    ``{"odata.error":{"code","message":{"value"}}}``.
    """
    try:
        decoded = _any.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except UNDECODABLE:
        return None, None
    if not isinstance(decoded, dict):
        return None, None
    inner = decoded.get("error") or decoded.get("odata.error") or decoded
    if isinstance(inner, str):
        return inner, _text(decoded.get("error_description") or decoded.get("message"))
    if not isinstance(inner, dict):
        return None, None
    message = inner.get("message", inner.get("Message"))
    if isinstance(message, dict):
        message = message.get("value")
    return _text(inner.get("code", inner.get("Code"))), _text(message)


def _element_of(body: bytes | None, place: int) -> _Element:
    if body is None:
        return _Element()
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"element {place} has {len(body)} bytes; at most {MAX_BODY_BYTES}")
    if not body.startswith(b"{"):
        return _Element()
    try:
        return _element.decode(body)
    except UNDECODABLE as error:
        raise BrokenBody(f"element {place}: {error}") from error


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).hexdigest()


def _below(properties: msgspec.Raw | msgspec.UnsetType) -> str | None:
    """The link among an answer's properties, or None."""
    if not isinstance(properties, msgspec.Raw) or bytes(properties).lstrip()[:1] != b"{":
        return None
    return _link(_linked.decode(properties).next_link)


def _link(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value if value and value.strip() else None
    # To take it for the last page would make a part of the list pass for the whole.
    raise BrokenBody("the link to the next page is no text")


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

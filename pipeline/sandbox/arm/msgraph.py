"""Microsoft Graph: the directory over HTTP, as ``/v1.0/…`` and ``/beta/…``.

https://learn.microsoft.com/graph/use-the-api
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from pipeline.sandbox.arm.access import Access, TokenFault
from pipeline.sandbox.arm.api import Dialect, RequestIds
from pipeline.sandbox.arm.directory import GRAPH_APP_ID, Collection, Directory, Entry
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.pages import (
    SKIP_TOKEN,
    decode_token,
    next_link,
    parse_query,
)
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.wire import Answer, Request, compressed, json_answer, takes_gzip

VERSIONS = ("v1.0", "beta")
TOP_MAX = 999
# Elements of $select; more is no list of fields.
SELECT_MAX = 200

_JSON = (
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;"
    "charset=utf-8"
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ONE_OPTIONS = frozenset({"$select"})
_LIST_OPTIONS = frozenset({"$select", "$top", SKIP_TOKEN})
_TOKEN_MESSAGES: dict[TokenFault, str] = {
    "missing": "Access token is empty.",
    "unknown": "CompactToken parsing failed with error code: 80049217",
    "foreign": "Access token validation failure. Invalid audience.",
}


def graph_error(status: int, code: str, message: str, kind: str = "") -> Answer:
    """An answer with the body ``{"error": {"code": ..., "message": ...}}``, not yet finished."""
    error = {"code": code, "message": message}
    return json_answer(status, {"error": error}, kind or f"error {code}")


def unauthorized(fault: TokenFault) -> Answer:
    """The answer to a token that is not accepted."""
    answer = graph_error(401, "InvalidAuthenticationToken", _TOKEN_MESSAGES[fault])
    return answer.with_headers(
        (
            "WWW-Authenticate",
            'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/'
            f'authorize", client_id="{GRAPH_APP_ID}"',
        )
    )


# Fields to show of a collection's objects; None is all.
Fields = Callable[[Collection], frozenset[str] | None]

_DIALECT = Dialect(graph_error, "TooManyRequests", "@odata.nextLink")


class Objects(msgspec.Struct, frozen=True):
    """What a path names.

    Attributes:
        context: fragment of ``@odata.context``, e.g. ``users``.
        count: how many.
        entry: the i-th.
        is_one: one object, not a list of one.
        is_typed: the list holds objects of several types, and each says its own.
    """

    context: str
    count: int
    entry: Callable[[int], Entry]
    is_one: bool = False
    is_typed: bool = False


class MicrosoftGraph:
    """Answers as Microsoft Graph does.

    Args:
        directory: what exists.
        operations: those under way.
        ids: request ids.
        settings: page size, and whether to compress.
        access: whose tokens are taken.
    """

    dialect = _DIALECT

    def __init__(
        self,
        directory: Directory,
        operations: Operations,
        ids: RequestIds,
        settings: Settings,
        access: Access,
    ) -> None:
        self.access = access
        self._directory = directory
        self._operations = operations
        self._ids = ids
        self._settings = settings

    def answer(self, request: Request, principal: str, origin: str) -> Answer:
        """The answer to a request; see :class:`~pipeline.sandbox.arm.api.Api`."""
        del principal  # there are no limits for each caller
        if (status := self._operations.poll(request, origin)) is not None:
            return status
        if request.method != "GET":
            return graph_error(
                405, "MethodNotAllowed", "The simulated directory is read only: it takes GET."
            )
        answer = self._get(request.target, origin)
        zips = self._settings.gzip and takes_gzip(request) and answer.status == 200
        return compressed(answer) if zips else answer

    def finish(self, request: Request, answer: Answer) -> Answer:
        """The answer with the headers that all have; an error also with its ``innerError``."""
        request_id = self._ids.next()
        client_id = request.header(b"client-request-id") or request_id
        if answer.kind == "recorded":
            return msgspec.structs.replace(answer, kind=f"{request.method} recorded")
        body = answer.body
        if answer.status >= 400 and body:
            value = msgspec.json.decode(body, type=dict[str, dict[str, Any]])
            value["error"]["innerError"] = {
                "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
                "request-id": request_id,
                "client-request-id": client_id,
            }
            body = msgspec.json.encode(value)
        return msgspec.structs.replace(
            answer,
            body=body,
            kind=f"{request.method} {answer.kind}",
            headers=(
                ("Cache-Control", "no-cache"),
                *answer.headers,
                ("request-id", request_id),
                ("client-request-id", client_id),
                ("OData-Version", "4.0"),
            ),
        )

    def expected(self, target: str) -> list[str | None] | Answer | None:
        """Ids of a target's objects over all pages.

        Returns:
            The answer for a target that is refused; None for one that is not of this API.
        """
        if target.partition("?")[0].split("/")[1] not in VERSIONS:
            return None
        found = self._resolve(target)
        if isinstance(found, Answer):
            return found
        entries = (found.entry(i) for i in range(found.count))
        return [collection.id(k) for collection, k in entries]

    # -- objects

    def _get(self, target: str, origin: str) -> Answer:
        found = self._resolve(target)
        if isinstance(found, Answer):
            return found
        parameters = parse_query(target.partition("?")[2])
        allowed = _ONE_OPTIONS if found.is_one else _LIST_OPTIONS
        for name in parameters:
            if name.startswith("$") and name not in allowed:
                return _unsupported(f"The query option '{name}' is not supported here.")
        version = target.split("/")[1]
        fields = _fields(found, parameters.get("$select"), version)
        if isinstance(fields, Answer):
            return fields
        context = f"{origin}/{version}/$metadata#{found.context}"
        if "$select" in parameters:
            context += f"({parameters['$select']})"
        if found.is_one:
            value = {"@odata.context": f"{context}/$entity", **_shown(found, 0, fields)}
            return _json(value, f"Microsoft Graph {found.context}")
        return self._page(found, fields, context, target, origin, parameters)

    def _page(
        self,
        found: Objects,
        fields: Fields,
        context: str,
        target: str,
        origin: str,
        parameters: dict[str, str],
    ) -> Answer:
        top = parameters.get("$top")
        size = min(self._settings.page_size, TOP_MAX)
        if top is not None:
            size = int(top) if top.isascii() and top.isdecimal() and len(top) < 9 else 0
            if not 1 <= size <= TOP_MAX:
                return _unsupported(
                    f"Invalid page size specified: '{top}'. Must be between 1 and {TOP_MAX} "
                    "inclusive."
                )
        salt = target.partition("?")[0].lower()
        offset = 0
        if (token := parameters.get(SKIP_TOKEN)) is not None:
            decoded = decode_token(token, salt)
            if decoded is None:
                return graph_error(
                    400,
                    "Directory_ExpiredPageToken",
                    "The specified page token value has expired and can no longer be included in "
                    "your request.",
                )
            offset = decoded
        end = min(found.count, offset + size)
        value: dict[str, Any] = {"@odata.context": context}
        if end < found.count:
            value["@odata.nextLink"] = next_link(origin, target, end, SKIP_TOKEN)
        value["value"] = [_shown(found, i, fields) for i in range(offset, end)]
        return _json(value, f"Microsoft Graph {found.context} list")

    def _resolve(self, target: str) -> Objects | Answer:
        path = target.partition("?")[0]
        version, *segments = [unquote(part) for part in path.split("/")[1:]]
        if version not in VERSIONS:
            return graph_error(400, "BadRequest", f"Invalid version: {version}.")
        while segments and not segments[-1]:
            segments.pop()
        collection = self._directory.collections.get(segments[0].lower()) if segments else None
        if collection is None:
            return _no_segment(segments[0] if segments else "")
        if len(segments) == 1:
            return Objects(collection.name, collection.count, lambda i: (collection, i))
        return self._below(collection, segments[1:])

    def _below(self, collection: Collection, segments: list[str]) -> Objects | Answer:
        key, *rest = segments
        k = self._directory.find(collection, key)
        if k is None:
            if collection.type != "user" and _GUID.fullmatch(key) is None:
                return graph_error(400, "Request_BadRequest", f"Invalid object identifier '{key}'.")
            return graph_error(
                404,
                "Request_ResourceNotFound",
                f"Resource '{key}' does not exist or one of its queried reference-property objects "
                "are not present.",
            )
        if not rest:
            return Objects(collection.name, 1, lambda _: (collection, k), is_one=True)
        if collection.type == "group" and [part.lower() for part in rest] == ["members"]:
            members = self._directory.members(k)
            return Objects("directoryObjects", len(members), members.__getitem__, is_typed=True)
        return _no_segment(rest[0])


def _fields(found: Objects, select: str | None, version: str) -> Fields | Answer:
    """Fields that are asked for, id always among them."""
    if select is None:
        return (lambda _: None) if version == "beta" else (lambda collection: collection.basics)
    names = [name.strip() for name in select.split(",", SELECT_MAX)]
    # One of each type: members are users first and others last.
    ends = [found.entry(i) for i in {0, found.count - 1} if 0 <= i < found.count]
    known = {name.lower(): name for collection, k in ends for name in collection.value(k)}
    unknown = next((name for name in names if name.lower() not in known), None)
    if ends and unknown is not None:
        return graph_error(
            400,
            "BadRequest",
            "Parsing OData Select and Expand failed: Could not find a property named "
            f"'{unknown}' on type 'microsoft.graph.{ends[0][0].type}'.",
        )
    wanted = frozenset({"id", *(known.get(name.lower(), name) for name in names)})
    return lambda _: wanted


def _shown(found: Objects, i: int, fields: Fields) -> dict[str, Any]:
    collection, k = found.entry(i)
    value = collection.value(k)
    if (wanted := fields(collection)) is not None:
        value = {name: value[name] for name in value if name in wanted}
    return (
        {"@odata.type": f"#microsoft.graph.{collection.type}", **value} if found.is_typed else value
    )


def _json(value: dict[str, Any], kind: str) -> Answer:
    return Answer(200, msgspec.json.encode(value), (("Content-Type", _JSON),), kind)


def _unsupported(message: str) -> Answer:
    return graph_error(400, "Request_UnsupportedQuery", message)


def _no_segment(segment: str) -> Answer:
    return graph_error(400, "BadRequest", f"Resource not found for the segment '{segment}'.")

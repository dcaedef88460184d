"""The message format: from the text in the queue to requests that are ready to be sent.

A message either passes every rule or none of it is run. The rule that failed is the error's
``reason``: one of the constants here and in ``targets``, ``headers``, ``selects`` and ``envelopes``
beside this file; people filter the poison queue by it, so it stays as it is.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Literal

import msgspec

from pipeline.errors import BadMessage
from pipeline.message_format import (
    envelopes,
    headers,
    microsoft_graph,
    read_actions,
    selects,
    targets,
)
from pipeline.message_format.excerpts import excerpt
from pipeline.messages import ARM, MICROSOFT_GRAPH, PlannedRequest
from pipeline.tracing.context import normalised

MAX_REQUESTS = envelopes.MAX_REQUESTS
MAX_MESSAGE_BYTES = envelopes.MAX_MESSAGE_BYTES
MAX_ID_CHARS = 256
MAX_TIMESTAMP_CHARS = 64
# Of a service's name; no version is longer.
MAX_NAME_CHARS = 64

NO_REQUESTS = "no requests"
BAD_ID = "bad id"
BAD_TIMESTAMP = "bad timestamp"
BAD_PRIORITY = "bad priority"
BAD_SERVICE = "bad service"
BAD_API_VERSION = "bad api_version"
BAD_METHOD = "method not allowed"
WRITE_REFUSED = "write refused"
BAD_BODY = "bad body"
BAD_PREFER = "bad prefer"

METHODS = ("GET", "HEAD", "POST")
PREFER_GRAPH = "resource-graph"
# Ignored, as a field is that is no part of the format: it is about the message, and not part of it.
BAD_TRACEPARENT = "traceparent (not of W3C Trace Context)"

Priority = Literal["high", "normal", "low"]
# In falling order.
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
_PRIORITIES = {str(name): name for name in PRIORITIES}

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,63}")
_API_VERSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:-preview)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class ParsedMessage(msgspec.Struct, frozen=True):
    """A message after every rule was checked.

    Attributes:
        message_id: the producer's, or None.
        correlation_id: the producer's, carried through.
        timestamp: the producer's, carried through.
        priority: ``normal`` where the message says nothing.
        requests: in the message's order.
        unknown_fields: names that are no part of the format, where they stand; ignored.
        traceparent: of the trace that the message belongs to, or None.
    """

    message_id: str | None
    correlation_id: str | None
    timestamp: str | None
    priority: Priority
    requests: list[PlannedRequest]
    unknown_fields: list[str]
    traceparent: str | None = None


def parse_message(raw: bytes | str, *, allow_writes: bool) -> ParsedMessage:
    """Check a message against every rule of the format.

    Args:
        raw: as stored in the queue: UTF-8 JSON, plain or base64, at most 64 KiB.
        allow_writes: also take a POST that may write.

    Raises:
        BadMessage: the first rule it breaks, what was got, what is taken, and where.
    """
    envelope, unknown_fields = envelopes.read(raw)
    _check_text("message_id", envelope.message_id, BAD_ID, MAX_ID_CHARS)
    _check_text("correlation_id", envelope.correlation_id, BAD_ID, MAX_ID_CHARS)
    _check_text("timestamp", envelope.timestamp, BAD_TIMESTAMP, MAX_TIMESTAMP_CHARS)
    requests = envelope.api_requests
    if not requests:
        raise BadMessage(NO_REQUESTS, "api_requests is empty; takes 1 or more")
    if len(requests) > MAX_REQUESTS:
        raise envelopes.too_many(len(requests))
    traceparent = None
    if given := bytes(envelope.traceparent):
        traceparent = _traceparent(given)
        if traceparent is None and given != b"null":
            unknown_fields = [*unknown_fields, BAD_TRACEPARENT]
    return ParsedMessage(
        message_id=envelope.message_id,
        correlation_id=envelope.correlation_id,
        timestamp=envelope.timestamp,
        priority=_priority(envelope.priority),
        requests=[_plan(index, item, allow_writes) for index, item in enumerate(requests)],
        unknown_fields=unknown_fields,
        traceparent=traceparent,
    )


def _plan(index: int, request: envelopes.Request, allow_writes: bool) -> PlannedRequest:
    where = f"api_requests[{index}]"
    audience = None
    if len(request.service) <= MAX_NAME_CHARS and len(request.api_version) <= MAX_NAME_CHARS:
        audience = _audience(request.service, request.api_version)
    if audience is None:
        raise _bad_name(request, where)
    if request.method not in METHODS:
        raise BadMessage(
            BAD_METHOD, f"{where}.method is {excerpt(request.method)}; takes GET, HEAD or POST"
        )
    path = targets.build_path(request.resource_path, request.parameters or {}, where)
    if request.method == "POST" and not allow_writes and not read_actions.is_read(path, audience):
        raise BadMessage(
            WRITE_REFUSED,
            f"{where} is a POST to {excerpt(path)}, which may write; takes POST for read actions "
            "and queries, and any POST where the operator sets ALLOW_WRITES=true",
        )
    query = targets.build_query(request.query_params, where) if request.query_params else ""
    if audience == MICROSOFT_GRAPH:
        target = microsoft_graph.versioned(path, request.api_version, where)
        if query:
            target += "?" + query[1:]
    else:
        target = f"{path}?api-version={request.api_version}{query}"
    targets.check_length(target, where)
    if request.headers:
        headers.check_headers(request.headers, where)
    if request.select is not None:
        selects.check_select(request.select, request.method, where)
    # The directory lies in no subscription, whatever its paths look like.
    subscription_id, resource_group = targets.scope_of(path) if audience == ARM else ("", "")
    return PlannedRequest(
        index=index,
        service=request.service,
        method=request.method,
        api_version=request.api_version,
        target=target,
        headers=request.headers or {},
        body=_body(request, where),
        subscription_id=subscription_id,
        resource_group=resource_group,
        audience=audience,
        prefer_graph=_prefers_graph(request, audience, where),
        select=request.select,
    )


def _prefers_graph(request: envelopes.Request, audience: str, where: str) -> bool:
    if request.prefer is None:
        return False
    if request.prefer != PREFER_GRAPH:
        raise BadMessage(
            BAD_PREFER, f"{where}.prefer is {excerpt(request.prefer)}; takes {PREFER_GRAPH}"
        )
    if request.method != "GET" or audience != ARM:
        got = f"a {request.method}" if audience == ARM else "of Microsoft Graph"
        raise BadMessage(
            BAD_PREFER, f"{where} is {got}; only a GET of Azure Resource Manager takes prefer"
        )
    return True


def _body(request: envelopes.Request, where: str) -> bytes | None:
    """The body as the producer wrote it, so that its numbers keep their digits."""
    text = bytes(request.body)
    if text in (b"", b"null"):
        return None
    if not text.startswith(b"{"):
        raise BadMessage(BAD_BODY, f"{where}.body is {excerpt(text.decode())}; takes an object")
    if request.method != "POST":
        raise BadMessage(
            BAD_BODY, f"{where} is a {request.method} with a body; only POST takes one"
        )
    return text


@lru_cache(maxsize=512)
def _audience(service: str, version: str) -> str | None:
    """Whose service it is; None if it or the version of its API is not well-formed."""
    if not _SERVICE.fullmatch(service):
        return None
    if service == microsoft_graph.SERVICE:
        return MICROSOFT_GRAPH if version in microsoft_graph.VERSIONS else None
    return ARM if _is_api_version(version) else None


def _bad_name(request: envelopes.Request, where: str) -> BadMessage:
    """The error for a service or version that is not well-formed."""
    if not _SERVICE.fullmatch(request.service):
        return BadMessage(
            BAD_SERVICE,
            f"{where}.service is {excerpt(request.service)}; takes a name such as compute: "
            "a-z, 0-9 and -, starting with a letter, up to 64",
        )
    takes = "a date, YYYY-MM-DD or YYYY-MM-DD-preview"
    if request.service == microsoft_graph.SERVICE:
        takes = f"{' or '.join(microsoft_graph.VERSIONS)} for service {microsoft_graph.SERVICE}"
    return BadMessage(
        BAD_API_VERSION,
        f"{where}.api_version is {excerpt(request.api_version)}; takes {takes}",
    )


def _is_api_version(text: str) -> bool:
    found = _API_VERSION.fullmatch(text)
    if found is None:
        return False
    try:
        date.fromisoformat(found[1])
    except ValueError:
        return False
    return True


def _priority(text: str | None) -> Priority:
    if text is None:
        return "normal"
    priority = _PRIORITIES.get(text)
    if priority is None:
        raise BadMessage(BAD_PRIORITY, f"priority is {excerpt(text)}; takes high, normal or low")
    return priority


def _traceparent(raw: bytes) -> str | None:
    """That of the message, from the field's JSON; None if it is none, or escaped."""
    is_text = raw.startswith(b'"') and b"\\" not in raw
    return normalised(raw[1:-1].decode()) if is_text else None


def _check_text(field: str, text: str | None, reason: str, limit: int) -> None:
    """Check a text that is carried through: not empty, short, one line."""
    if text is None:
        return
    if not text:
        problem = "is empty"
    elif len(text) > limit:
        problem = f"has {len(text)} characters"
    elif _CONTROL.search(text):
        problem = f"has a control character: {excerpt(text)}"
    else:
        return
    raise BadMessage(
        reason, f"{field} {problem}; takes 1 to {limit} characters without control characters"
    )

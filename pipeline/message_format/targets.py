"""Path and query of a request: filled, percent-encoded, and unable to leave the ARM origin.

What is written literally in ``resource_path`` keeps its percent-escapes exactly as they stand
(``Microsoft.Sql%2FServers``); what comes from ``parameters`` is one path segment or a part of one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from pipeline.errors import BadMessage
from pipeline.message_format.excerpts import excerpt, short_name

# Request target as sent; the limit of the HTTP stack in front of ARM is near 16 KiB.
MAX_TARGET_BYTES = 8192
# How often a percent-encoded path is decoded to look for what it hides.
MAX_DECODES = 3
# Longer templates are checked anew each time, so that the cache stays small.
CACHED_TEMPLATE_CHARS = 512

BAD_PATH = "bad resource_path"
UNFILLED = "unfilled parameter"
BAD_PARAMETER = "bad parameter"
BAD_QUERY = "bad query parameter"
TARGET_TOO_LONG = "target too long"

# Characters that stand for themselves in a path segment (RFC 3986, pchar without escapes).
_PCHAR = r"A-Za-z0-9\-._~!$&'()*+,;=:@"
# A whole path that needs no further look: no escapes, no empty segment, no dot segment.
_PLAIN_PATH = re.compile(rf"(?:/(?!\.\.?(?:/|\Z))[{_PCHAR}]+)+/?")
_PLAIN_LITERAL = re.compile(rf"[{_PCHAR}/]*")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9\-._~]+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9\-._~$]+")
_PLACEHOLDER = re.compile(r"\{([^{}/]*)\}")
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_PATH = {
    "?": "put the query into query_params",
    "#": "takes no fragment",
    "\\": "takes / between segments",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Every character of it percent-encoded.
_GUID_MAX_CHARS = 36 * len("%00")
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def build_path(template: str, parameters: dict[str, str], where: str) -> str:
    """Fill and check a ``resource_path``.

    Args:
        template: as the message has it.
        parameters: values of its ``{name}`` places; more than it needs is fine.
        where: place of the request in the message, for the detail.

    Returns:
        The path, percent-encoded, starting with ``/``.

    Raises:
        BadMessage: it breaks a rule.
    """
    # One that is written out needs no look at its parts.
    if "{" not in template and _PLAIN_PATH.fullmatch(template):
        return template
    compiled = _compiled_short if len(template) <= CACHED_TEMPLATE_CHARS else _compiled
    try:
        pieces = list(compiled(template))
    except BadMessage as error:
        raise BadMessage(error.reason, f"{where}.{error.detail}") from None
    for at in range(1, len(pieces), 2):
        pieces[at] = _filled(pieces[at], parameters, where)
    path = "".join(pieces)
    if not _PLAIN_PATH.fullmatch(path):
        _check_segments(path, where)
    return path


def build_query(query_params: dict[str, str], where: str) -> str:
    """Percent-encode the message's query parameters in their order.

    Returns:
        ``&name=value`` for each, to stand after ``?api-version=…``; empty when there are none.

    Raises:
        BadMessage: an empty name, a control character, or ``api-version`` among them.
    """
    query = ""
    for name, value in query_params.items():
        key = name
        if not _PLAIN_NAME.fullmatch(name):
            _check_query_name(name, where)
            key = quote(name, safe="$")
        if name.lower() == "api-version":
            raise BadMessage(
                BAD_QUERY,
                f"{where}.query_params has {excerpt(name)}; the version belongs in api_version",
            )
        if not _PLAIN_VALUE.fullmatch(value):
            if _CONTROL.search(value):
                raise BadMessage(
                    BAD_QUERY,
                    f"{where}.query_params.{short_name(name)} has a control character; takes text",
                )
            value = quote(value, safe="")
        query += f"&{key}={value}"
    return query


def check_length(target: str, where: str) -> None:
    """Refuse a request target that is longer than :data:`MAX_TARGET_BYTES`."""
    if len(target) > MAX_TARGET_BYTES:
        raise BadMessage(
            TARGET_TOO_LONG,
            f"{where}: path and query are {len(target)} bytes; takes up to {MAX_TARGET_BYTES}",
        )


def scope_of(path: str) -> tuple[str, str]:
    """Subscription id (lower case) and resource group a path lies in, each ``""`` if there is none.

    Both are decoded; a subscription that is no GUID counts as none.
    """
    # "", "subscriptions", its id, "resourceGroups", its name, what follows
    parts = path.split("/", 5)
    if len(parts) < 3 or parts[1].lower() != "subscriptions":
        return "", ""
    in_group = len(parts) > 4 and parts[3].lower() == "resourcegroups"
    subscription = _subscription(parts[2]) if len(parts[2]) <= _GUID_MAX_CHARS else ""
    return subscription, unquote(parts[4]) if in_group else ""


@lru_cache(maxsize=1024)
def _subscription(segment: str) -> str:
    subscription = unquote(segment).lower()
    return subscription if _GUID.fullmatch(subscription) else ""


def _compiled(template: str) -> tuple[str, ...]:
    """Check a template and take it apart: literal, name, literal, name, …, literal.

    Raises:
        BadMessage: its detail starts at ``resource_path``.
    """
    _check_template(template)
    pieces = _PLACEHOLDER.split(template)
    pieces[::2] = [_literal(text, template) for text in pieces[::2]]
    return tuple(pieces)


# Producers send the same few templates over and over.
_compiled_short = lru_cache(maxsize=1024)(_compiled)


def _check_template(template: str) -> None:
    """What a template must be before it is filled; each problem in words of its own."""
    if not template.startswith("/"):
        problem = "has a scheme or host" if _SCHEME.match(template) else "does not start with /"
        takes = "takes a path from /, e.g. /subscriptions/{subscriptionId}/resourceGroups"
        raise BadMessage(BAD_PATH, f"resource_path {problem}: {excerpt(template)}; {takes}")
    if template.startswith("//"):
        raise BadMessage(
            BAD_PATH, f"resource_path has a host or an empty segment (//): {excerpt(template)}"
        )
    if _CONTROL.search(template):
        raise BadMessage(BAD_PATH, f"resource_path has a control character: {excerpt(template)}")
    for char, takes in _NOT_IN_PATH.items():
        if char in template:
            raise BadMessage(BAD_PATH, f"resource_path has {char!r}: {excerpt(template)}; {takes}")


def _literal(text: str, template: str) -> str:
    """The literal part of a template, with what needs it percent-encoded and escapes kept."""
    if _PLAIN_LITERAL.fullmatch(text):
        return text
    if "{" in text or "}" in text:
        raise BadMessage(
            UNFILLED,
            f"resource_path has a brace that is no part of a {{name}}: {excerpt(template)}",
        )
    if _BAD_ESCAPE.search(text):
        raise BadMessage(
            BAD_PATH,
            f"resource_path has a % that starts no escape: {excerpt(template)}; "
            "write a literal % as %25",
        )
    return quote(text, safe="/%!$&'()*+,;=:@~")


def _filled(name: str, parameters: dict[str, str], where: str) -> str:
    """The value for one ``{name}``, percent-encoded."""
    value = parameters.get(name)
    if value is None:
        given = excerpt(", ".join(sorted(parameters)[:10])) if parameters else "none"
        raise BadMessage(
            UNFILLED,
            f"{where}.resource_path has {{{short_name(name)}}} and parameters has no such name; "
            f"given: {given}",
        )
    if _PLAIN_VALUE.fullmatch(value) and value not in (".", ".."):
        return value
    if problem := _value_problem(value):
        raise BadMessage(
            BAD_PARAMETER,
            f"{where}.parameters.{short_name(name)} {problem}: {excerpt(value)}; "
            "takes the text of one path segment, not encoded",
        )
    return quote(value, safe="")


def _value_problem(value: str) -> str:
    """Why a value cannot be one path segment, or ``""``."""
    if not value:
        return "is empty"
    if value in (".", ".."):
        return "is a dot segment"
    if _CONTROL.search(value):
        return "has a control character"
    for char in "/\\?#":
        if char in value:
            return f"has {char!r}"
    if _ESCAPE.search(value):
        return "is percent-encoded"
    return ""


def _check_segments(path: str, where: str) -> None:
    """Look for what a percent-encoded path hides, however often it was encoded."""
    field = f"{where}.resource_path"
    if path == "/":
        raise BadMessage(BAD_PATH, f"{field} names nothing: '/'")
    seen = path
    for _ in range(MAX_DECODES + 1):
        segments = seen[1:].split("/")
        if not segments[-1]:
            segments.pop()  # one / at the end is harmless
        if "" in segments:
            raise BadMessage(BAD_PATH, f"{field} has an empty segment (//): {excerpt(path)}")
        if "." in segments or ".." in segments:
            raise BadMessage(BAD_PATH, f"{field} has a dot segment: {excerpt(path)}")
        if "\\" in seen or _CONTROL.search(seen):
            raise BadMessage(
                BAD_PATH, f"{field} hides a backslash or control character: {excerpt(path)}"
            )
        try:
            decoded = unquote(seen, errors="strict")
        except UnicodeDecodeError:
            raise BadMessage(
                BAD_PATH, f"{field} has an escape that is not UTF-8: {excerpt(path)}"
            ) from None
        if decoded == seen:
            return
        seen = decoded
    raise BadMessage(
        BAD_PATH, f"{field} is percent-encoded more than {MAX_DECODES} times: {excerpt(path)}"
    )


def _check_query_name(name: str, where: str) -> None:
    if not name:
        raise BadMessage(BAD_QUERY, f"{where}.query_params has an empty name")
    if _CONTROL.search(name):
        raise BadMessage(
            BAD_QUERY, f"{where}.query_params has a control character in {excerpt(name)}"
        )
    if unquote(name).strip().lower() == "api-version":
        raise BadMessage(
            BAD_QUERY, f"{where}.query_params has {excerpt(name)}; it belongs in api_version"
        )

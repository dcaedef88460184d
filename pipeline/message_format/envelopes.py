"""The outer form of a message: text to typed fields, before any rule about their values.

Bad text must cost little and break nothing: size, UTF-8 and depth are checked before the decoder.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

import msgspec

from pipeline.errors import BadMessage
from pipeline.message_format.excerpts import excerpt, short_name
from pipeline.undecodable import UNDECODABLE

# What Azure Queue Storage stores at most for one message, base64 included.
MAX_MESSAGE_BYTES = 65_536
MAX_REQUESTS = 1_000
# Objects and lists within one another; a Resource Graph body needs about 6.
MAX_DEPTH = 64
# Names of unknown fields that are reported.
MAX_UNKNOWN_FIELDS = 20

TOO_LARGE = "too large"
NOT_UTF8 = "not UTF-8"
NOT_JSON = "not JSON"
NOT_BASE64_JSON = "not base64 JSON"
NOT_AN_OBJECT = "not an object"
TOO_DEEP = "nested too deeply"
TOO_MANY_REQUESTS = "too many requests"
MISSING_FIELD = "missing field"
WRONG_TYPE = "wrong type"

_BOM = b"\xef\xbb\xbf"  # some editors and .NET writers put it before UTF-8
# A JSON string; its end is optional so that a match never fails and no text is read twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_PLACE = re.compile(r" - at `\$\.?(.*)`\Z")
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|([A-Za-z_]+)")
_FIELD = re.compile(r"missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `([^`]+)`")
_JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


class Request(msgspec.Struct, kw_only=True, gc=False):
    """One element of ``api_requests`` with its types checked, and nothing else."""

    service: str
    api_version: str
    method: str
    resource_path: str
    parameters: dict[str, str] | None = None
    query_params: dict[str, str] | None = None
    headers: dict[str, str] | None = None
    body: msgspec.Raw = msgspec.Raw()
    prefer: str | None = None
    select: str | None = None


class _Head(msgspec.Struct, kw_only=True, gc=False):
    message_id: str | None = None
    correlation_id: str | None = None
    timestamp: str | None = None
    priority: str | None = None
    # Whatever it is, it refuses no message.
    traceparent: msgspec.Raw = msgspec.Raw()


class Envelope(_Head, kw_only=True, gc=False):
    """A message with its types checked, and nothing else."""

    api_requests: list[Request]


class _ExactRequest(Request, kw_only=True, gc=False, forbid_unknown_fields=True):
    pass


class _ExactEnvelope(_Head, kw_only=True, gc=False, forbid_unknown_fields=True):
    api_requests: list[_ExactRequest]


_decode_exact = msgspec.json.Decoder(_ExactEnvelope).decode
_decode = msgspec.json.Decoder(Envelope).decode
# Values stay raw: what stands in an unknown field need not even be a number Python can hold.
_decode_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list_names = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_any = msgspec.json.Decoder().decode


def read(raw: bytes | str) -> tuple[Envelope | _ExactEnvelope, list[str]]:
    """Read a message as stored and check its types.

    A key that comes twice counts with its last value, here and in what is sent.

    Args:
        raw: UTF-8 JSON, or its base64 in the standard alphabet.

    Returns:
        The message, and the names of the fields in it that are no part of the format.

    Raises:
        BadMessage: too large, not UTF-8, not JSON, nested too deeply, a field missing or of the
            wrong type.
    """
    text, is_base64 = _json_text(raw)
    return _decode_checked(text, NOT_BASE64_JSON if is_base64 else NOT_JSON)


def _json_text(raw: bytes | str) -> tuple[bytes, bool]:
    """The JSON text of a message, and whether it was base64."""
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_MESSAGE_BYTES:
        raise BadMessage(TOO_LARGE, f"{len(raw)} bytes as stored; takes up to {MAX_MESSAGE_BYTES}")
    _check_utf8(raw)
    text = raw.removeprefix(_BOM).strip()
    if text.startswith(b"{"):
        return text, False
    return _from_base64(text), True


def _decode_checked(text: bytes, not_json: str) -> tuple[Envelope | _ExactEnvelope, list[str]]:
    _check_depth(text)
    try:
        return _decode_exact(text), []
    except msgspec.ValidationError:
        pass  # an unknown field, which is no error, or a rule broken, which comes again below
    except UNDECODABLE as error:
        raise BadMessage(not_json, f"{error}: {excerpt(text.decode())}") from None
    try:
        return _decode(text), _unknown_fields(text)
    except msgspec.ValidationError as error:
        raise _explained(text, str(error)) from None
    except UNDECODABLE as error:
        raise BadMessage(not_json, f"{error}: {excerpt(text.decode())}") from None


def too_many(count: int) -> BadMessage:
    """The error for a list that is too long."""
    return BadMessage(TOO_MANY_REQUESTS, f"api_requests has {count}; takes 1 to {MAX_REQUESTS}")


def _check_utf8(text: bytes) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadMessage(
            NOT_UTF8, f"byte {error.start} is 0x{text[error.start]:02x}: {error.reason}"
        ) from None


def _from_base64(text: bytes) -> bytes:
    """Decode base64 strictly; what is no base64 at all is named for what it is."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        decoded = None
    if decoded is not None:
        inner = decoded.removeprefix(_BOM).strip()
        if inner.startswith(b"{"):
            _check_utf8(inner)
            return inner
    # 'null' and '1234' are base64 as well as JSON; as JSON they say more.
    shown = excerpt(text.decode())
    if _is_json(text):
        raise BadMessage(NOT_AN_OBJECT, f"{shown}; takes an object with api_requests")
    if decoded:
        raise BadMessage(NOT_BASE64_JSON, f"{shown} is base64, of something else than an object")
    raise BadMessage(NOT_JSON, f"{shown}; takes a JSON object, or its base64 (standard alphabet)")


def _is_json(text: bytes) -> bool:
    try:
        _check_depth(text)
    except BadMessage:
        return True  # a deep list: no object in any case
    try:
        _decode_any(text)
    except UNDECODABLE:
        return False
    return True


def _check_depth(text: bytes) -> None:
    """Refuse deep nesting before the decoder would recurse into it."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return
    # Without escapes every second quote ends a string, and splitting is faster.
    bare = _STRING.sub(b"", text) if b"\\" in text else b"".join(text.split(b'"')[::2])
    brackets = bare.translate(None, _NOT_BRACKETS)
    # Each pass takes away the innermost level, at the speed of C.
    outer = brackets
    for _ in range(MAX_DEPTH):
        inner_chars = len(outer)
        outer = outer.replace(b"{}", b"").replace(b"[]", b"")
        if not outer:
            return
        if len(outer) == inner_chars:
            break
    depth = 0
    for char in brackets:  # unbalanced or too deep: rare, so it may be slow
        depth += 1 if char in b"{[" else -1
        if depth > MAX_DEPTH:
            raise BadMessage(TOO_DEEP, f"more than {MAX_DEPTH} objects and lists in each other")


def _unknown_fields(text: bytes) -> list[str]:
    """Fields that are no part of the format, each with its place, at most a few."""
    message = _decode_names(text)
    known = Envelope.__struct_fields__
    found = [short_name(name) for name in message if name not in known]
    known = Request.__struct_fields__
    for index, request in enumerate(_decode_list_names(message["api_requests"])):
        found += [
            f"api_requests[{index}].{short_name(name)}" for name in request if name not in known
        ]
        if len(found) >= MAX_UNKNOWN_FIELDS:
            break
    return found[:MAX_UNKNOWN_FIELDS]


def _explained(text: bytes, problem: str) -> BadMessage:
    """A BadMessage for a message that is JSON and of the wrong form.

    Args:
        text: the message.
        problem: msgspec's words, ending in the place, e.g. ``… - at `$.api_requests[0]```.
    """
    try:
        message = _decode_any(text)
    except UNDECODABLE:
        # A number out of range, say; the decoder's own words have to do.
        return BadMessage(WRONG_TYPE, problem.replace("$.", ""))
    requests = message.get("api_requests") if isinstance(message, dict) else None
    if isinstance(requests, list) and len(requests) > MAX_REQUESTS:
        return too_many(len(requests))
    found = _PLACE.search(problem)
    place, value = _walk(message, found[1] if found else "")
    if missing := _FIELD.search(problem):
        return BadMessage(MISSING_FIELD, f"{place or 'the message'} has no {missing[1]}")
    expected = _EXPECTED.search(problem)
    takes = expected[1] if expected else problem
    takes = takes.replace("str", "a string").replace("array", "a list").replace(" | null", "")
    got = _JSON_NAMES.get(type(value), "something else")
    if type(value) in (int, float, str) and ".headers" not in place:
        got += f" {excerpt(value)}"
    return BadMessage(
        WRONG_TYPE,
        f"{place or 'the message'} is {got}; takes {takes.replace('object', 'an object')}",
    )


def _walk(value: Any, path: str) -> tuple[str, Any]:
    """Follow msgspec's path to the value it complains of, naming what it leaves as ``[...]``.

    Returns:
        The place in the message's own words, and what stands there.
    """
    place = ""
    for index, name in _STEP.findall(path):
        if index == "...":
            name = next((key for key, item in value.items() if not isinstance(item, str)), "")
            index = ""
        if index:
            place += f"[{index}]"
            value = value[int(index)]
        else:
            place += f".{short_name(name)}" if place else short_name(name)
            value = value.get(name)
    return place, value

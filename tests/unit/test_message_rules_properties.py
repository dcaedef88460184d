"""Whatever a message says, the URL it becomes has the origin, path and headers it should have."""

from __future__ import annotations

import base64
import json
import string
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import BadMessage
from pipeline.message_format import headers as header_rules
from pipeline.message_format.rules import ParsedMessage, parse_message

ORIGIN = "https://management.azure.com"
API_VERSION = "2024-07-01"

# Other tests share the processor.
in_its_own_time = settings(deadline=None)

# Text in which what matters for URLs and headers is common.
SHARP = st.text(
    st.sampled_from("/\\?#%.:@;&=+ {}~\r\n\t\x00\"'<>abz0129\u00e9\u6f22\u2028\uff0f\u3002")
    | st.characters(codec="utf-8"),
    max_size=20,
)
ESCAPED = st.sampled_from(
    [
        "%2e",
        "%2E%2e",
        "%2f",
        "%5C",
        "%252e",
        "%25252f",
        "%00",
        "%0d%0a",
        "%3f",
        "%c0%af",
        "..",
        "//",
    ]
)
TRICKY = st.lists(SHARP | ESCAPED, max_size=4).map("".join)
NAMES = st.text(string.ascii_letters, min_size=1, max_size=8)
VALUES = SHARP | ESCAPED | st.text(string.ascii_letters + string.digits, min_size=1)
# Mostly good, so that many are taken.
PIECES = st.sampled_from(["{a}", "{b}", "x{a}", "{b}.{b}", "subscriptions"]) | NAMES | ESCAPED
PATHS = st.lists(PIECES, min_size=1, max_size=4).map(lambda pieces: "/" + "/".join(pieces))


def parsed_or_refused(raw: bytes | str) -> ParsedMessage | None:
    """The message, or None if a rule refuses it; anything else that is raised is a fault."""
    try:
        return parse_message(raw, allow_writes=False)
    except BadMessage as error:
        refusal = error
    assert refusal.reason
    assert str(refusal).isprintable()
    return None


def parsed(**fields: Any) -> ParsedMessage | None:
    """The message with one request of these fields, or None if a rule refuses it."""
    request = {
        "service": "compute",
        "api_version": API_VERSION,
        "method": "GET",
        "resource_path": "/subscriptions",
        **fields,
    }
    return parsed_or_refused(json.dumps({"api_requests": [request]}))


def decoded(text: str) -> str:
    """The text after all percent-encoding is taken away, however often it was applied."""
    while (once := unquote(text)) != text:
        text = once
    return text


def assert_stays_in_place(target: str) -> None:
    """The target can be put behind the origin in any way and still means the same place."""
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
    for url in (ORIGIN + target, urljoin(ORIGIN + "/x/y", target)):
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}" == ORIGIN
        assert parts.fragment == ""
        assert f"{parts.path}?{parts.query}" == target
        segments = decoded(parts.path).replace("\\", "/").split("/")[1:]
        assert not {".", ".."} & set(segments)
        assert "" not in segments[:-1]
        assert parse_qsl(parts.query)[0] == ("api-version", API_VERSION)


@in_its_own_time
@given(path=PATHS | TRICKY, parameters=st.fixed_dictionaries({"a": VALUES, "b": NAMES}))
@example(path="/{a}{b}", parameters={"a": ".", "b": "."})
@example(path="/.{a}", parameters={"a": "."})
@example(path="/%25{a}", parameters={"a": "2e"})
@example(path="/%{a}", parameters={"a": "2e%2e"})
def test_no_path_leaves_its_place(path: str, parameters: dict[str, str]) -> None:
    message = parsed(resource_path=path, parameters=parameters)
    if message is not None:
        assert_stays_in_place(message.requests[0].target)


@in_its_own_time
@given(
    literals=st.lists(st.text(string.ascii_letters + "-_.~", min_size=1), min_size=1, max_size=4),
    values=st.lists(VALUES, min_size=1, max_size=4),
)
def test_a_parameter_fills_its_own_segment_and_nothing_else(
    literals: list[str], values: list[str]
) -> None:
    template = "".join(
        f"/x{literal}/{{p{number}}}"
        for number, (literal, _) in enumerate(zip(literals, values, strict=False))
    )
    parameters = {f"p{number}": value for number, value in enumerate(values)}
    message = parsed(resource_path=template, parameters=parameters)
    if message is None:
        return
    path = message.requests[0].target.partition("?")[0]
    segments = path.split("/")[1:]
    assert len(segments) == 2 * min(len(literals), len(values))
    for number, segment in enumerate(segments[1::2]):
        assert unquote(segment) == values[number]
        assert segment == quote(values[number], safe="")


@in_its_own_time
@given(query=st.dictionaries(TRICKY | NAMES, TRICKY, max_size=4))
def test_query_parameters_arrive_as_they_were_written(query: dict[str, str]) -> None:
    message = parsed(query_params=query)
    if message is None:
        return
    target = message.requests[0].target
    assert_stays_in_place(target)
    pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    assert pairs == [("api-version", API_VERSION), *query.items()]


@in_its_own_time
@given(headers=st.dictionaries(TRICKY | NAMES, TRICKY, max_size=4))
def test_headers_that_are_taken_are_one_line_each_and_not_the_collectors(
    headers: dict[str, str],
) -> None:
    message = parsed(headers=headers)
    if message is None:
        return
    assert message.requests[0].headers == headers
    for name, value in headers.items():
        line = f"{name}: {value}"
        assert line.isascii()
        assert line.isprintable()
        assert line.index(":") == len(name)
        assert name.strip().lower() not in header_rules._REFUSED


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | SHARP,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHARP, inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["service", "api_version", "method", "resource_path", "parameters", "query_params", "headers",
     "body", "message_id", "priority", "timestamp", "api_requests", "other"]
)  # fmt: skip


@in_its_own_time
@given(
    message=st.dictionaries(FIELDS, JSON_VALUES, max_size=4),
    requests=st.lists(st.dictionaries(FIELDS, JSON_VALUES, max_size=6), max_size=3),
)
def test_any_json_is_a_message_or_has_a_reason(
    message: dict[str, Any], requests: list[dict[str, Any]]
) -> None:
    for document in (message, {**message, "api_requests": requests}):
        text = json.dumps(document)
        for raw in (text, base64.b64encode(text.encode())):
            parsed_or_refused(raw)


@in_its_own_time
@given(raw=st.binary(max_size=200) | st.text(max_size=200) | st.binary().map(base64.b64encode))
def test_any_bytes_are_a_message_or_have_a_reason(raw: bytes | str) -> None:
    parsed_or_refused(raw)


@in_its_own_time
@given(cut=st.integers(0, 400), put=st.binary(max_size=3))
def test_a_damaged_message_is_a_message_or_has_a_reason(cut: int, put: bytes) -> None:
    request = {
        "service": "compute",
        "api_version": API_VERSION,
        "method": "POST",
        "resource_path": "/providers/Microsoft.ResourceGraph/resources",
        "parameters": {"a": "ü"},
        "headers": {"X-A": "b"},
        "body": {"query": "Resources", "options": {"$top": 1.5e3}},
    }
    text = json.dumps({"api_requests": [request]}, ensure_ascii=False).encode()
    message = parsed_or_refused(text[:cut] + put + text[cut + 1 :])
    for planned in message.requests if message else ():
        assert planned.body is None or isinstance(json.loads(planned.body), dict)

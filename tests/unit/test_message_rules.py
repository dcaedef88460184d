"""The message format: what is taken, and with which reason the rest is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.unit.message_fixture import NOT_GIVEN, SUBSCRIPTION, a_message, a_request, parse, refusal

VM_PATH = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.Compute/virtualMachines/{vmName}"
)
VM_PARAMETERS = {
    "subscriptionId": SUBSCRIPTION,
    "resourceGroupName": "rg (west)",
    "vmName": "vm-1",
}


# ── what is taken ────────────────────────────────────────────────────────────────────────────────


def test_a_message_with_every_field_becomes_requests_ready_to_be_sent() -> None:
    message = parse(
        json.dumps(
            {
                "message_id": "m-1",
                "correlation_id": "c-1",
                "timestamp": "2026-11-22T10:00:00Z",
                "priority": "high",
                "api_requests": [
                    a_request(
                        resource_path=VM_PATH,
                        parameters={**VM_PARAMETERS, "unused": "x"},
                        query_params={"$expand": "instanceView", "$filter": "a eq 'ü & b'"},
                        headers={"ConsistencyLevel": "eventual"},
                    ),
                    a_request(
                        service="resourcegraph",
                        api_version="2018-09-01-preview",
                        method="POST",
                        resource_path="/providers/Microsoft.ResourceGraph/resources",
                        body={"query": "Resources"},
                    ),
                ],
            }
        )
    )
    assert (message.message_id, message.correlation_id) == ("m-1", "c-1")
    assert (message.timestamp, message.priority) == ("2026-11-22T10:00:00Z", "high")
    first, second = message.requests
    assert first.target == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg%20%28west%29"
        "/providers/Microsoft.Compute/virtualMachines/vm-1"
        "?api-version=2024-07-01&$expand=instanceView&$filter=a%20eq%20%27%C3%BC%20%26%20b%27"
    )
    assert (first.index, first.service, first.method) == (0, "compute", "GET")
    assert first.headers == {"ConsistencyLevel": "eventual"}
    assert first.subscription_id == SUBSCRIPTION.lower()
    assert first.resource_group == "rg (west)"
    assert first.body is None
    assert (second.index, second.method, second.subscription_id) == (1, "POST", "")
    assert second.body == b'{"query": "Resources"}'


def test_what_is_not_said_is_absent_and_priority_is_normal() -> None:
    message = parse(a_message())
    assert message.message_id is None
    assert message.correlation_id is None
    assert message.timestamp is None
    assert message.priority == "normal"
    assert message.unknown_fields == []


def test_null_stands_for_an_optional_field_that_is_absent() -> None:
    request = a_request(parameters=None, query_params=None, headers=None, body=None)
    message = parse(a_message(request, message_id=None, priority=None))
    assert (message.message_id, message.priority) == (None, "normal")
    assert message.requests[0].body is None


def test_unknown_fields_are_ignored_and_named_with_their_place() -> None:
    message = parse(a_message(a_request(), a_request(preferred="x"), trace=[{"deep": 1}]))
    assert message.unknown_fields == ["trace", "api_requests[1].preferred"]


def test_an_unknown_field_may_hold_what_python_cannot() -> None:
    text = '{"big": 1e999, "api_requests": ' + json.dumps([a_request()]) + "}"
    assert parse(text).unknown_fields == ["big"]


def test_a_body_keeps_the_digits_of_its_numbers() -> None:
    text = a_message(
        a_request(
            method="POST",
            resource_path="/providers/Microsoft.ResourceGraph/resources",
            body="BODY",
        )
    ).replace('"BODY"', '{"n": 1.10, "m": 12345678901234567890123}')
    assert parse(text).requests[0].body == b'{"n": 1.10, "m": 12345678901234567890123}'


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: f"\r\n {text}\n",
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.b64encode(text.encode()).decode() + "\n",
        lambda text: base64.b64encode(b"\xef\xbb\xbf " + text.encode()),
    ],
)
def test_plain_and_base64_are_taken_with_a_byte_order_mark_and_space_around(wrap: Any) -> None:
    text = a_message(message_id="mëssage")
    assert parse(wrap(text)).message_id == "mëssage"


def test_names_of_services_that_are_not_in_the_table_are_taken() -> None:
    assert parse(a_message(a_request(service="custom-2"))).requests[0].service == "custom-2"


def test_as_many_requests_as_fit_are_taken() -> None:
    small = {"service": "a", "api_version": "2024-07-01", "method": "GET", "resource_path": "/b"}
    text = json.dumps({"api_requests": [small] * 700}, separators=(",", ":"))
    assert len(parse(text).requests) == 700


# ── the text ─────────────────────────────────────────────────────────────────────────────────────


def encoded(text: bytes) -> bytes:
    return base64.b64encode(text)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"message_id": "\xe4"}', "not UTF-8"),
        ("", "not JSON"),
        (" \n", "not JSON"),
        ("hello", "not JSON"),
        ("<QueueMessage/>", "not JSON"),
        ("{", "not JSON"),
        ('{"api_requests": [}', "not JSON"),
        ('{"api_requests": []} {}', "not JSON"),
        ('{"message_id": "\\ud800", "api_requests": []}', "not JSON"),
        ("{'api_requests': []}", "not JSON"),
        ("aGVsbG8=", "not base64 JSON"),
        (encoded(b"[1]"), "not base64 JSON"),
        (encoded(b'{"api_requests":'), "not base64 JSON"),
        (encoded(b'{"message_id": "\xff"}'), "not UTF-8"),
        (encoded(encoded(b"{}")), "not base64 JSON"),
        (a_message().encode("utf-16"), "not UTF-8"),
        ("null", "not an object"),
        ("1234", "not an object"),
        ("[]", "not an object"),
        ('"text"', "not an object"),
        ("[" * 30_000, "not an object"),
        ("{}", "missing field"),
        ('{"api_requests": null}', "wrong type"),
        ('{"api_requests": {}}', "wrong type"),
        ('{"api_requests": ["GET"]}', "wrong type"),
        ('{"api_requests": []}', "no requests"),
        ('{"api_requests": ' + json.dumps([{}] * 10_000) + "}", "too many requests"),
        ('{"api_requests": ' + json.dumps([1] * 10_000) + "}", "too many requests"),
        ('{"api_requests": ' + json.dumps([{}] * 1_001) + "}", "too many requests"),
        ('{"api_requests": ' + "[" * 30_000 + "]" * 30_000 + "}", "nested too deeply"),
        ('{"a": ' * 9_000, "nested too deeply"),
        (encoded(b'{"a": ' * 7_000), "nested too deeply"),
        ('{"message_id": "\\"", "a": ' + "[" * 100 + "]" * 100 + "}", "nested too deeply"),
        ("{" + " " * 65_536 + "}", "too large"),
        (encoded(b"{" + b" " * 60_000 + b"}"), "too large"),
    ],
)  # fmt: skip
def test_text_that_is_no_message_is_refused(raw: bytes | str, reason: str) -> None:
    assert refusal(raw).reason == reason


def test_base64_must_be_strict() -> None:
    text = encoded(a_message().encode())
    for broken in (text[:-2], text[:20] + b"\n" + text[20:], text[:20] + b"-_" + text[22:]):
        assert refusal(broken).reason in {"not JSON", "not base64 JSON", "not UTF-8"}


def test_depth_is_counted_outside_strings_only() -> None:
    brackets = "[" * 200 + '\\"' + "{" * 200
    assert parse('{"message_id": "' + brackets[:250] + '", ' + a_message()[1:]).message_id


def test_the_depth_of_a_body_is_limited() -> None:
    for depth, ok in ((50, True), (70, False)):
        body = '{"a":' * depth + "1" + "}" * depth
        text = a_message(
            a_request(
                method="POST",
                resource_path="/providers/Microsoft.ResourceGraph/resources",
                body="BODY",
            )
        ).replace('"BODY"', body)
        if ok:
            assert parse(text).requests[0].body == body.encode()
        else:
            assert refusal(text).reason == "nested too deeply"


@pytest.mark.parametrize(
    "evil", ['"' + '\\"' * 32_000, '{"' + '\\"' * 31_000, "{" + '"\\' * 32_000]
)
def test_text_made_to_be_slow_is_refused_at_once(evil: str) -> None:
    # Without linear scanning this takes minutes, so no clock is needed to see it.
    assert refusal(evil).reason == "not JSON"


# ── the fields ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"message_id": ""}, "bad id", "message_id is empty"),
        ({"message_id": "x" * 257}, "bad id", "message_id has 257 characters"),
        ({"message_id": "a\nb"}, "bad id", "message_id has a control character"),
        ({"message_id": "a\u2028b"}, "bad id", "message_id has a control character"),
        ({"message_id": 7}, "wrong type", "message_id is a number 7; takes a string"),
        ({"correlation_id": ["x"]}, "wrong type", "correlation_id is a list; takes a string"),
        ({"correlation_id": "a\x00"}, "bad id", "correlation_id has a control character"),
        ({"timestamp": "x" * 65}, "bad timestamp", "timestamp has 65 characters"),
        ({"timestamp": 1700000000}, "wrong type", "timestamp is a number 1700000000"),
        ({"priority": "urgent"}, "bad priority", "priority is 'urgent'; takes high, normal or low"),
        ({"priority": True}, "wrong type", "priority is a boolean; takes a string"),
    ],
)
def test_a_bad_field_of_the_message_is_named(
    fields: dict[str, Any], reason: str, detail: str
) -> None:
    error = refusal(a_message(**fields))
    assert error.reason == reason
    assert detail in error.detail


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"service": NOT_GIVEN}, "missing field", "has no service"),
        ({"api_version": NOT_GIVEN}, "missing field", "has no api_version"),
        ({"method": NOT_GIVEN}, "missing field", "has no method"),
        ({"resource_path": NOT_GIVEN}, "missing field", "has no resource_path"),
        ({"service": None}, "wrong type", ".service is null; takes a string"),
        ({"service": "Compute"}, "bad service", ".service is 'Compute'"),
        ({"service": "a" * 65}, "bad service", ".service is 'aaa"),
        ({"service": "1a"}, "bad service", ".service is '1a'"),
        ({"service": "compute\n"}, "bad service", ".service is 'compute\\n'"),
        ({"api_version": "latest"}, "bad api_version", ".api_version is 'latest'"),
        ({"api_version": "2024-02-30"}, "bad api_version", "'2024-02-30'"),
        ({"api_version": "2024-07-01-beta"}, "bad api_version", "YYYY-MM-DD-preview"),
        ({"api_version": "2024-07-01&a=b"}, "bad api_version", "YYYY-MM-DD"),
        ({"api_version": "\uff12\uff10\uff12\uff14-07-01"}, "bad api_version", "YYYY-MM-DD"),
        ({"method": "get"}, "method not allowed", ".method is 'get'; takes GET, HEAD or POST"),
        ({"method": "DELETE"}, "method not allowed", ".method is 'DELETE'"),
        ({"method": "PUT"}, "method not allowed", ".method is 'PUT'"),
        ({"method": "GET / HTTP/1.1\r\nHost: x\r\n"}, "method not allowed", ".method is 'GET /"),
        ({"body": {"a": 1}}, "bad body", "is a GET with a body; only POST takes one"),
        ({"method": "HEAD", "body": {}}, "bad body", "is a HEAD with a body"),
        ({"body": [1]}, "bad body", ".body is '[1]'; takes an object"),
        ({"body": "text"}, "bad body", "takes an object"),
        ({"parameters": []}, "wrong type", ".parameters is a list; takes an object"),
        ({"parameters": {"a": "x", "n": 5}}, "wrong type", ".parameters.n is a number 5"),
        ({"query_params": {"$top": 5}}, "wrong type", ".query_params.$top is a number 5"),
        ({"headers": {"X-A": None}}, "wrong type", ".headers.X-A is null; takes a string"),
        ({"headers": "X-A: 1"}, "wrong type", ".headers is a string; takes an object"),
    ],
)
def test_a_bad_field_of_a_request_is_named_with_its_place(
    fields: dict[str, Any], reason: str, detail: str
) -> None:
    error = refusal(a_message(a_request(), a_request(**fields)))
    assert error.reason == reason
    assert "api_requests[1]" in error.detail
    assert detail in error.detail


# ── details ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "raw",
    [
        '{"api_requests": [{"headers": {"Authorization": "Bearer s3cr3t.value.x"}',
        '{"headers": {"X-Api-Token": "s3cr3t"}',
        '"AccountKey=s3cr3t;x"',
        "https://x.blob.core.windows.net/?sv=1&sig=s3cr3t",
        a_message(a_request(resource_path="https://h/?sig=s3cr3t")),
        a_message(a_request(service="Bearer s3cr3t")),
        a_message(a_request(headers={"X-Secret": ["s3cr3t"]})),
    ],
)
def test_no_credential_is_shown(raw: str) -> None:
    assert "s3cr3t" not in str(refusal(raw))


def test_a_detail_is_short_and_on_one_line() -> None:
    for fields in (
        {"resource_path": "x\n" * 20_000},
        {"service": "\n" * 20_000},
        {"resource_path": "/{n}", "parameters": {"n": "\n" * 20_000}},
        {"resource_path": "/{" + "n\n" * 9_000 + "}"},
        {"headers": {"x\n" * 20_000: "1"}},
        {"query_params": {"x\n" * 20_000: "1"}},
        {"parameters": {"x\n" * 20_000: 1}},
        {"parameters": {str(number) * 50: "" for number in range(500)}, "resource_path": "/{n}"},
    ):
        error = refusal(a_message(a_request(**fields)))
        assert "\n" not in str(error)
        assert len(str(error)) < 400

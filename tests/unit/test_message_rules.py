"""The message format: what is taken, and with which reason the rest is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

from pipeline.errors import BadMessage
from pipeline.message_rules import ParsedMessage, parse_message

SUBSCRIPTION = "6F0E8F4E-0f5e-4a5e-9e57-3d4b7f8b9c01"
VM_PATH = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.Compute/virtualMachines/{vmName}"
)
VM_PARAMETERS = {
    "subscriptionId": SUBSCRIPTION,
    "resourceGroupName": "rg (west)",
    "vmName": "vm-1",
}
RECORDINGS = Path(__file__).parents[3] / "shared" / "arm-recordings" / "recorded.jsonl"
NOT_GIVEN: Any = object()


def a_request(**fields: Any) -> dict[str, Any]:
    """A good request with some fields replaced, or left out where they are NOT_GIVEN."""
    request: dict[str, Any] = {
        "service": "compute",
        "api_version": "2024-07-01",
        "method": "GET",
        "resource_path": "/subscriptions",
        **fields,
    }
    return {name: value for name, value in request.items() if value is not NOT_GIVEN}


def a_message(*requests: Any, **fields: Any) -> str:
    return json.dumps({"api_requests": list(requests) or [a_request()], **fields})


def parse(raw: bytes | str, *, allow_writes: bool = False) -> ParsedMessage:
    return parse_message(raw, allow_writes=allow_writes)


def refusal(raw: bytes | str, *, allow_writes: bool = False) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        parse_message(raw, allow_writes=allow_writes)
    return caught.value


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
    message = parse(a_message(a_request(), a_request(prefer="x"), trace=[{"deep": 1}]))
    assert message.unknown_fields == ["trace", "api_requests[1].prefer"]


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


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a/Microsoft.Sql%2FServers/s", "/a/Microsoft.Sql%2FServers/s"),
        ("/a/b%20c", "/a/b%20c"),
        ("/a/b c/ü", "/a/b%20c/%C3%BC"),
        ("/a/b/", "/a/b/"),
        ("/a/...", "/a/..."),
        ("/a/b;v=1,2(3)@x:y", "/a/b;v=1,2(3)@x:y"),
        ("/a/100%25", "/a/100%25"),
    ],
)
def test_a_path_keeps_its_escapes_and_gets_those_it_lacks(path: str, target: str) -> None:
    request = parse(a_message(a_request(resource_path=path))).requests[0]
    assert request.target == f"{target}?api-version=2024-07-01"


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("vm-1", "vm-1"),
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("é&=+", "%C3%A9%26%3D%2B"),
        ("…", "%E2%80%A6"),
    ],
)
def test_a_parameter_is_percent_encoded(value: str, segment: str) -> None:
    request = a_request(resource_path="/a/x-{name}/b", parameters={"name": value})
    assert parse(a_message(request)).requests[0].target.startswith(f"/a/x-{segment}/b?")


@pytest.mark.parametrize(
    ("path", "subscription", "group"),
    [
        ("/providers/Microsoft.ResourceGraph/resources", "", ""),
        ("/subscriptions", "", ""),
        (f"/subscriptions/{SUBSCRIPTION}", SUBSCRIPTION.lower(), ""),
        (f"/Subscriptions/{SUBSCRIPTION}/ResourceGroups/Rg-1/x", SUBSCRIPTION.lower(), "Rg-1"),
        ("/subscriptions/not-a-guid/resourceGroups/rg", "", "rg"),
        (f"/subscriptions/{SUBSCRIPTION}/resourceGroups", SUBSCRIPTION.lower(), ""),
    ],
)
def test_the_scope_is_read_from_the_path(path: str, subscription: str, group: str) -> None:
    request = parse(a_message(a_request(resource_path=path))).requests[0]
    assert (request.subscription_id, request.resource_group) == (subscription, group)


def test_as_many_requests_as_fit_are_taken() -> None:
    small = {"service": "a", "api_version": "2024-07-01", "method": "GET", "resource_path": "/b"}
    text = json.dumps({"api_requests": [small] * 700}, separators=(",", ":"))
    assert len(parse(text).requests) == 700


def test_recorded_requests_are_taken_and_keep_their_path() -> None:
    if not RECORDINGS.is_file():
        pytest.skip("the recorded traffic is not beside the project")
    for line in RECORDINGS.read_text().splitlines():
        recorded = json.loads(line)
        pairs = dict(pair.partition("=")[::2] for pair in recorded["query"].split("&"))
        version = pairs.pop("api-version", None)
        if version is None or "//" in recorded["path"]:
            continue  # a link that ARM gave, and a slip that the format refuses
        request = a_request(
            api_version=version,
            method=recorded["method"],
            resource_path=recorded["path"],
            query_params={unquote(name): unquote(value) for name, value in pairs.items()},
        )
        target = parse(a_message(request)).requests[0].target
        path, _, query = target.partition("?")
        assert path == recorded["path"]
        assert sorted(parse_qsl(query)) == sorted(parse_qsl(recorded["query"]))


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
        (encoded(b'{"message_id": "\xff"}'), "not base64 JSON"),
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
        assert refusal(broken).reason in {"not JSON", "not base64 JSON"}


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


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "does not start with /"),
        ("subscriptions", "does not start with /"),
        ("https://management.azure.com/subscriptions", "has a scheme or host"),
        ("HTTP:/subscriptions", "has a scheme or host"),
        (" javascript:x", "has a scheme or host"),
        ("//evil.example/subscriptions", "has a host or an empty segment"),
        ("/\\evil.example/x", "has '\\\\'"),
        ("\\\\evil.example\\x", "does not start with /"),
        ("/", "names nothing"),
        ("/a//b", "empty segment"),
        ("/a/%2F/b", "empty segment"),
        ("/%2Fevil.example/b", "empty segment"),
        ("/a/../b", "dot segment"),
        ("/a/./b", "dot segment"),
        ("/a/..", "dot segment"),
        ("/a/%2e%2E/b", "dot segment"),
        ("/a/.%2e/b", "dot segment"),
        ("/a/%252e%252e/b", "dot segment"),
        ("/a/%25252e%25252e/b", "dot segment"),
        ("/a%2f..%2fb", "dot segment"),
        ("/a%252f%252e%252e%252fb", "dot segment"),
        ("/a/%2525252525", "percent-encoded more than 3 times"),
        ("/a?b=c", "has '?'"),
        ("/a#b", "has '#'"),
        ("/a\r\nHost: evil", "control character"),
        ("/a\x00b", "control character"),
        ("/a%0d%0aHost:%20evil", "control character"),
        ("/a%00", "control character"),
        ("/a%5c..%5cb", "backslash"),
        ("/a%zz", "% that starts no escape"),
        ("/a%", "% that starts no escape"),
        ("/%2{n}", "% that starts no escape"),
        ("/%c0%ae%c0%ae/b", "not UTF-8"),
    ],
)
def test_a_path_that_could_leave_its_place_is_refused(path: str, problem: str) -> None:
    request = a_request(resource_path=path, parameters={"n": "e%"})
    error = refusal(a_message(request))
    assert error.reason == "bad resource_path"
    assert error.detail.startswith("api_requests[0].resource_path ")
    assert problem in error.detail


@pytest.mark.parametrize(
    "path", ["/a/{name}", "/a/{}", "/a/{name", "/a/name}", "/a/{{n}}", "/{a/b}"]
)
def test_a_path_with_an_unfilled_place_is_refused(path: str) -> None:
    error = refusal(a_message(a_request(resource_path=path, parameters={"n": "x"})))
    assert error.reason == "unfilled parameter"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        (".", "is a dot segment"),
        ("..", "is a dot segment"),
        ("a/b", "has '/'"),
        ("../x", "has '/'"),
        ("a\\b", "has '\\\\'"),
        ("a?b=c", "has '?'"),
        ("a#b", "has '#'"),
        ("a%2fb", "is percent-encoded"),
        ("%2e%2e", "is percent-encoded"),
        ("a%252fb", "is percent-encoded"),
        ("a\r\nb", "has a control character"),
        ("a\x7f", "has a control character"),
    ],
)
def test_a_parameter_that_is_more_than_a_segment_is_refused(value: str, problem: str) -> None:
    request = a_request(resource_path="/a/{name}/b", parameters={"name": value})
    error = refusal(a_message(request))
    assert error.reason == "bad parameter"
    assert error.detail.startswith(f"api_requests[0].parameters.name {problem}")


def test_two_good_parameters_cannot_make_a_dot_segment() -> None:
    request = a_request(resource_path="/a/.{n}/b", parameters={"n": "."})
    assert refusal(a_message(request)).reason == "bad parameter"


@pytest.mark.parametrize("name", ["api-version", "API-Version", "api%2Dversion", " api-version"])
def test_a_second_api_version_is_refused(name: str) -> None:
    error = refusal(a_message(a_request(query_params={name: "2020-01-01"})))
    assert error.reason == "bad query parameter"
    assert "api_version" in error.detail


@pytest.mark.parametrize("query", [{"": "x"}, {"a": "x\ny"}, {"a\x00": "x"}])
def test_a_query_parameter_with_a_control_character_or_no_name_is_refused(
    query: dict[str, str],
) -> None:
    assert refusal(a_message(a_request(query_params=query))).reason == "bad query parameter"


def test_a_target_that_is_too_long_is_refused() -> None:
    error = refusal(a_message(a_request(query_params={"$filter": "x" * 9_000})))
    assert error.reason == "target too long"
    assert "takes up to 8192" in error.detail


# ── headers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "authorization", "AUTHORIZATION", "Proxy-Authorization", "Host", "hOST",
        "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Trailer", "Expect",
        "Cookie", "Accept-Encoding", "x-ms-authorization-auxiliary", "X-HTTP-Method-Override",
        "X-Forwarded-Host", "Proxy-Connection", "Range",
    ],
)  # fmt: skip
def test_a_header_that_is_the_collectors_own_is_refused(name: str) -> None:
    error = refusal(a_message(a_request(headers={"X-Ok": "1", name: "Bearer s3cr3t-value"})))
    assert error.reason == "header not allowed"
    assert name in error.detail
    assert "s3cr3t" not in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nAuthorization: x"),
        ("X-A", "a\nb"),
        ("X-A", "a\rb"),
        ("X-A", "a\x00b"),
        ("X-A", "tab\tbed"),
        ("X-A", "é"),
        ("X-A", "x" * 4_097),
        ("", "a"),
        ("X A", "a"),
        ("X-A:", "a"),
        (":authority", "evil.example"),
        ("Host: evil.example\r\nX-A", "a"),
        ("Authorization: Bearer s3cr3t", "a"),
        ("Host ", "evil.example"),
        ("\tHost", "evil.example"),
        ("Hosté", "a"),
        ("X" * 129, "a"),
    ],
)
def test_a_header_that_is_no_header_is_refused(name: str, value: str) -> None:
    error = refusal(a_message(a_request(headers={name: value})))
    assert error.reason == "bad header"
    assert "s3cr3t" not in str(error)


def test_a_header_twice_or_too_many_or_too_much_is_refused() -> None:
    many = {f"X-{number}": "1" for number in range(33)}
    much = {f"X-{number}": "x" * 4_000 for number in range(3)}
    for headers in ({"X-A": "1", "x-a": "2"}, many, much):
        assert refusal(a_message(a_request(headers=headers))).reason == "bad header"


# ── what writes ──────────────────────────────────────────────────────────────────────────────────

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"


@pytest.mark.parametrize(
    "path",
    [
        "/providers/Microsoft.ResourceGraph/resources",
        "/providers/microsoft.resourcegraph/resourcesHistory",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/query",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/forecast",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/listKeys",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/listkeys",
        f"{GROUP}/providers/Microsoft.Web/sites/s/config/appsettings/list",
        f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/c/listClusterUserCredential",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Storage/checkNameAvailability",
        f"{GROUP}/providers/Microsoft.PolicyInsights/policyStates/latest/queryResults",
        f"{GROUP}/providers/Microsoft.PolicyInsights/policyStates/latest/summarize",
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/w/query",
        f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/w/api/query",
        f"{GROUP}/providers/Microsoft.Network/networkInterfaces/n/effectiveRouteTable",
        f"{GROUP}/providers/Microsoft.DataFactory/factories/f/queryPipelineRuns",
        f"{GROUP}/exportTemplate",
        "/providers/Microsoft.Management/getEntities",
    ],
)
def test_a_post_that_reads_is_taken(path: str) -> None:
    assert (
        parse(a_message(a_request(method="POST", resource_path=path))).requests[0].method == "POST"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/subscriptions",
        "/batch",
        f"{VM}",
        f"{VM}/start",
        f"{VM}/deallocate",
        f"{VM}/runCommand",
        f"{VM}/",
        f"{GROUP}/moveResources",
        f"{GROUP}/providers/Microsoft.Compute/virtualMachines/listVm",
        f"{GROUP}/providers/Microsoft.Compute/virtualMachines/query",
        f"{VM}/start%2Flist",
        f"{VM}/start%3Flist",
        f"{VM}/start;list",
        f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s/regenerateKey",
        f"{GROUP}/providers/Microsoft.OperationalInsights/queryPacks",
        f"{GROUP}/providers/Microsoft.Network/networkWatchers/w/listener",
        "/providers/Microsoft.Authorization/elevateAccess",
        "/providers/Microsoft.Evil/resources",
        f"{GROUP}/providers",
        f"{GROUP}/providers/Microsoft.Compute",
    ],
)
def test_a_post_that_may_write_is_refused_unless_the_operator_allows_it(path: str) -> None:
    message = a_message(a_request(method="POST", resource_path=path))
    error = refusal(message)
    assert error.reason == "write refused"
    assert "ALLOW_WRITES" in error.detail
    assert parse(message, allow_writes=True).requests[0].method == "POST"


def test_a_parameter_cannot_turn_a_write_into_a_read() -> None:
    request = a_request(
        method="POST", resource_path=f"{VM}/{{action}}", parameters={"action": "start"}
    )
    assert refusal(a_message(request)).reason == "write refused"


def test_allowing_writes_does_not_widen_the_methods() -> None:
    error = refusal(a_message(a_request(method="DELETE")), allow_writes=True)
    assert error.reason == "method not allowed"


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

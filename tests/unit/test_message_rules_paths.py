"""Paths, queries and headers of a message: what is kept, what is encoded, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import pytest

from tests.unit.message_fixture import SUBSCRIPTION, a_message, a_request, parse, refusal

RECORDINGS = Path(__file__).parents[3] / "shared" / "arm-recordings" / "recorded.jsonl"


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

"""Messages that break a rule, as producers get them wrong, and the reason each is poison for."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.acceptance.stores import request

PATH = "/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.Compute/disks"


def _message(*requests: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"api_requests": list(requests), **fields})


def _deep(levels: int) -> str:
    nested = '{"a":' * levels + "1" + "}" * levels
    return _message(request(PATH, method="POST", body={})).replace("{}", nested)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BAD: dict[str, tuple[str, str]] = {
    "cut short": ("{", "not JSON"),
    "plain words": ("collect everything", "not JSON"),
    "base64 of words": (_base64(b"not json"), "not base64 JSON"),
    "base64 of latin-1": (_base64('{"api_requests": "é"}'.encode("latin-1")), "not UTF-8"),
    "a list": ("[]", "not an object"),
    "no api_requests": ("{}", "missing field"),
    "an empty list": (_message(), "no requests"),
    "ten thousand requests": (
        json.dumps({"api_requests": [{}] * 10_000}).replace(" ", ""),
        "too many requests",
    ),
    "deep nesting": (_deep(5_000), "nested too deeply"),
    "a number for a string": (_message(request(PATH), message_id=7), "wrong type"),
    "no service": (_message({"api_version": "2024-07-01"}), "missing field"),
    "a service with blanks": (_message(request(PATH, service="com pute")), "bad service"),
    "a version that is no date": (
        _message(request(PATH, api_version="2024-13-01")),
        "bad api_version",
    ),
    "a method that writes": (_message(request(PATH, method="DELETE")), "method not allowed"),
    "a POST that writes": (
        _message(request(PATH + "/d/beginGetAccess", method="POST")),
        "write refused",
    ),
    "a body for a GET": (_message(request(PATH, body={})), "bad body"),
    "a scheme": (_message(request("https://evil.example" + PATH)), "bad resource_path"),
    "a host": (_message(request("//evil.example" + PATH)), "bad resource_path"),
    "a double slash": (_message(request("/subscriptions//x")), "bad resource_path"),
    "two dots": (_message(request("/subscriptions/../x")), "bad resource_path"),
    "two dots, encoded": (_message(request("/subscriptions/%2e%2E/x")), "bad resource_path"),
    "a query in the path": (_message(request(PATH + "?a=b")), "bad resource_path"),
    "an unfilled name": (_message(request("/subscriptions/{id}")), "unfilled parameter"),
    "a parameter with a slash": (
        _message(request("/subscriptions/{id}", parameters={"id": "a/b"})),
        "bad parameter",
    ),
    "a parameter with a query": (
        _message(request("/subscriptions/{id}", parameters={"id": "a?b=c"})),
        "bad parameter",
    ),
    "api-version twice": (
        _message(request(PATH, query_params={"api-version": "2020-01-01"})),
        "bad query parameter",
    ),
    "CR and LF in a header": (
        _message(request(PATH, headers={"x-a": "b\r\nAuthorization: c"})),
        "bad header",
    ),
    "a colon in a header's name": (_message(request(PATH, headers={"x-a:": "b"})), "bad header"),
    "an Authorization header": (
        _message(request(PATH, headers={"authorization": "Bearer sesame"})),
        "header not allowed",
    ),
    "a Host header": (
        _message(request(PATH, headers={"Host": "evil.example"})),
        "header not allowed",
    ),
}

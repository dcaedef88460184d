"""Which requests a fault hits, and what it does to an answer."""

from typing import Any

import msgspec
import pytest

from pipeline.sandbox.arm.api import Dialect
from pipeline.sandbox.arm.faults import AnyFault, Faults, NextLink, Throttled
from pipeline.sandbox.arm.msgraph import MicrosoftGraph
from pipeline.sandbox.arm.resource_manager import ResourceManager
from pipeline.sandbox.arm.spoiling import replacement, spoil
from pipeline.sandbox.arm.wire import Answer, Request

ORIGIN = "http://127.0.0.1:1"
ARM, GRAPH = ResourceManager.dialect, MicrosoftGraph.dialect


def faults(*rules: dict[str, Any]) -> Faults:
    found = Faults()
    found.replace(msgspec.convert(list(rules), list[AnyFault]))
    return found


def hits(rule: dict[str, Any], *targets: str, method: str = "GET") -> list[bool]:
    found = faults({"kind": "reset", **rule})
    return [found.match(method, target) is not None for target in targets]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [True, True, True]),
        ({"prefix": "/A"}, [True, True, False]),
        ({"regex": "x=\\d"}, [False, True, False]),
        ({"target": "/a"}, [True, True, False]),
        ({"target": "/a?x=1"}, [False, True, False]),
        ({"method": "post"}, [False, False, False]),
        ({"first": 2}, [True, True, False]),
        ({"skip": 1}, [False, True, True]),
        ({"skip": 1, "first": 1}, [False, True, False]),
        ({"every": 2}, [True, False, True]),
        ({"probability": 0.0}, [False, False, False]),
    ],
)
def test_a_rule_hits(rule: dict[str, Any], expected: list[bool]) -> None:
    assert hits(rule, "/a", "/a?x=1", "/b") == expected


def test_a_rule_may_count_each_target_apart() -> None:
    rule = {"first": 1, "per_target": True}
    assert hits(rule, "/a", "/b", "/a", "/b") == [True, True, False, False]


def test_chance_is_the_same_each_time() -> None:
    rule = {"probability": 0.5, "seed": 7}
    first = hits(rule, *["/a"] * 100)
    assert first == hits(rule, *["/a"] * 100)
    assert 30 < sum(first) < 70


def test_the_first_rule_that_is_due_is_applied() -> None:
    found = faults({"kind": "reset", "first": 1}, {"kind": "redirect"})
    kinds = [type(found.match("GET", "/")).__name__ for _ in range(2)]
    assert kinds == ["Reset", "Redirect"]


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "nope"},
        {"kind": "status"},
        {"kind": "status", "status": 99},
        {"kind": "reset", "prefix": "/", "regex": "x"},
        {"kind": "reset", "regex": "("},
        {"kind": "reset", "colour": "red"},
        {"kind": "stall", "stall_s": -1},
        {"kind": "stall", "stall_s": 1e9},
    ],
)
def test_a_rule_that_is_wrong_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        faults(rule)


@pytest.mark.parametrize(
    ("form", "header", "value"),
    [
        ("seconds", "Retry-After", "3"),
        ("ms", "x-ms-retry-after-ms", "2500"),
        ("none", "Retry-After", ""),
    ],
)
def test_the_wait_of_a_throttle_is_told_in_its_form(form: Any, header: str, value: str) -> None:
    answer = replacement(Throttled(form=form, retry_after_s=2.5), "/", ARM)
    assert answer is not None
    assert answer.status == 429
    assert answer.header(header) == value


def test_the_wait_of_a_throttle_as_a_date() -> None:
    answer = replacement(Throttled(form="date", retry_after_s=60), "/", ARM)
    assert answer is not None
    assert answer.header("Retry-After").endswith(" GMT")


@pytest.mark.parametrize(
    ("form", "link"),
    [
        ("foreign", "http://management.azure.com.attacker.invalid/a?page=2"),
        ("loop", f"{ORIGIN}/a"),
        ("empty", ""),
        ("null", None),
        ("relative", "/a?page=2"),
        ("exact", "ftp://x"),
    ],
)
def test_a_next_link_is_replaced(form: Any, link: str | None) -> None:
    for dialect in (ARM, GRAPH):
        body = {"value": [], dialect.next_link: f"{ORIGIN}/a?page=2"}
        answer = Answer(200, msgspec.json.encode(body))
        fault = NextLink(form=form, link="ftp://x")
        found = spoil(fault, answer, Request("GET", "/a", {}), ORIGIN, dialect)
        assert msgspec.json.decode(found.body) == body | {dialect.next_link: link}


@pytest.mark.parametrize(
    ("dialect", "code", "cause"),
    [(ARM, "SubscriptionRequestsThrottled", "gateway"), (GRAPH, "TooManyRequests", "")],
)
def test_a_throttle_is_of_the_form_of_the_api(dialect: Dialect, code: str, cause: str) -> None:
    answer = replacement(Throttled(), "/", dialect)
    assert answer is not None
    assert msgspec.json.decode(answer.body)["error"]["code"] == code
    assert answer.header("x-ms-failure-cause") == cause

"""Recorded answers and long operations."""

import msgspec
import pytest

from pipeline.sandbox.arm.faults import LongOperation
from pipeline.sandbox.arm.operations import OPERATIONS_MAX, Operations
from pipeline.sandbox.arm.recordings import Recording, Recordings
from pipeline.sandbox.arm.wire import Answer, Request

ORIGIN = "http://127.0.0.1:1"
SEED = "7d3f7c0e-53c1-5f0b-9d0b-2f3c1c1a7f10"
BEGIN = Request("GET", "/subscriptions/s/x?api-version=2024-07-01", {})
RESULT = Answer(200, b'{"done":true}')


def recordings(*given: Recording) -> Recordings:
    found = Recordings()
    found.add(list(given))
    return found


def body(answer: Answer | None) -> bytes | None:
    return None if answer is None else answer.body


def test_a_recording_is_found_however_its_query_is_escaped_and_ordered() -> None:
    found = recordings(Recording(path="/A%20b", query="$top=1&x=a%20b", body="1"))
    assert body(found.find("GET", "/a b?x=a+b&%24top=1")) == b"1"
    assert found.find("GET", "/a b?x=other") is None
    assert found.find("POST", "/a b?x=a+b&%24top=1") is None


def test_an_exact_query_goes_before_any() -> None:
    found = recordings(
        Recording(path="/a", body="any"), Recording(path="/a", query="x=1", body="1")
    )
    assert body(found.find("GET", "/a?x=1")) == b"1"
    assert body(found.find("GET", "/a?x=2")) == b"any"


def test_several_answers_of_one_key_are_served_in_turn_and_the_last_for_ever() -> None:
    found = recordings(Recording(path="/a", body="1"), Recording(path="/a", body="2"))
    assert [body(found.find("GET", "/a")) for _ in range(3)] == [b"1", b"2", b"2"]


def test_headers_of_the_connection_are_left_out() -> None:
    found = recordings(Recording(path="/a", headers={"Content-Length": "9", "x-a": "b"}))
    answer = found.find("GET", "/a")
    assert answer is not None
    assert answer.headers == (("x-a", "b"),)


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a\n": "b"}])
def test_a_header_with_a_line_break_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        Recording(path="/a", headers=headers)


def poll(operations: Operations, link: str) -> Answer:
    answer = operations.poll(Request("GET", link.removeprefix(ORIGIN), {}), ORIGIN)
    assert answer is not None
    return answer


def test_an_operation_is_polled_at_its_status_and_read_at_its_location() -> None:
    operations = Operations(SEED)
    begun = operations.begin(LongOperation(polls=2), BEGIN, RESULT, ORIGIN)
    assert begun.status == 202
    assert begun.header("Retry-After") == "1"
    states = [
        msgspec.json.decode(poll(operations, begun.header("Azure-AsyncOperation")).body)["status"]
        for _ in range(3)
    ]
    assert states == ["InProgress", "InProgress", "Succeeded"]
    assert poll(operations, begun.header("Location")).body == RESULT.body


def test_an_operation_with_only_a_location() -> None:
    operations = Operations(SEED)
    begun = operations.begin(LongOperation(style="location", polls=1), BEGIN, RESULT, ORIGIN)
    assert begun.header("Azure-AsyncOperation") == ""
    answers = [poll(operations, begun.header("Location")) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 200]


def test_an_operation_that_ends_at_its_original_path() -> None:
    operations = Operations(SEED)
    plan = LongOperation(polls=0, result="original")
    begun = operations.begin(plan, BEGIN, RESULT, ORIGIN)
    assert begun.header("Location") == ""
    poll(operations, begun.header("Azure-AsyncOperation"))
    assert operations.begin(plan, BEGIN, RESULT, ORIGIN) is RESULT
    assert operations.begin(plan, BEGIN, RESULT, ORIGIN).status == 202


@pytest.mark.parametrize("outcome", ["Failed", "Canceled"])
def test_an_operation_that_does_not_succeed(outcome: str) -> None:
    operations = Operations(SEED)
    plan = msgspec.convert({"kind": "operation", "polls": 0, "outcome": outcome}, LongOperation)
    begun = operations.begin(plan, BEGIN, RESULT, ORIGIN)
    status = msgspec.json.decode(poll(operations, begun.header("Azure-AsyncOperation")).body)
    assert status["status"] == outcome
    assert status["error"]["code"] == f"Operation{outcome}"
    assert poll(operations, begun.header("Location")).status == 409


def test_the_oldest_operations_are_forgotten() -> None:
    operations = Operations(SEED)
    first = operations.begin(LongOperation(), BEGIN, RESULT, ORIGIN)
    for _ in range(OPERATIONS_MAX):
        operations.begin(LongOperation(), BEGIN, RESULT, ORIGIN)
    assert poll(operations, first.header("Location")).status == 404

"""Messages in files: JSON object, JSON array or JSON Lines, each problem with its place."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands import message_commands
from pipeline.commands.message_files import FileMessage, FileProblem, read_messages
from pipeline.message_format.rules import parse_message

GOOD: dict[str, Any] = {
    "api_requests": [
        {
            "service": "compute",
            "api_version": "2024-07-01",
            "method": "GET",
            "resource_path": "/subscriptions",
        }
    ]
}
BAD: dict[str, Any] = {"api_requests": []}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "messages.json"


def read(file: Path, *, as_base64: bool = False) -> list[FileMessage | FileProblem]:
    return list(read_messages(str(file), as_base64=as_base64, allow_writes=False))


def lines(*messages: object) -> str:
    return "\n".join(json.dumps(message) for message in messages) + "\n"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (json.dumps(GOOD), [""]),
        (json.dumps(GOOD, indent=4), [""]),
        ("\ufeff" + json.dumps(GOOD, indent=4), [""]),
        (json.dumps([GOOD, GOOD], indent=2), [": element 1", ": element 2"]),
        (lines(GOOD), [""]),
        (lines(GOOD, GOOD), [":1", ":2"]),
        ("\n" + lines(GOOD) + "\r\n\n" + lines(GOOD), [":2", ":5"]),
        (base64.b64encode(json.dumps(GOOD).encode()).decode(), [":1"]),
    ],
)
def test_each_form_gives_its_messages_with_their_places(
    file: Path, text: str, places: list[str]
) -> None:
    file.write_text(text)
    found = read(file)
    assert [type(item) for item in found] == [FileMessage] * len(places)
    assert [item.place for item in found] == [f"{file}{place}" for place in places]


def test_a_message_is_stored_without_line_breaks_and_with_its_digits(file: Path) -> None:
    body = '{\n "limit": 1.10,\n "text": "a  b\\n" }'
    request = {
        **GOOD["api_requests"][0],
        "method": "POST",
        "resource_path": "/providers/Microsoft.ResourceGraph/resources",
        "body": "BODY",
    }
    file.write_text(json.dumps({"api_requests": [request]}, indent=4).replace('"BODY"', body))
    (message,) = read(file)
    assert isinstance(message, FileMessage)
    assert "\n" not in message.stored
    assert '{"limit":1.10,"text":"a  b\\n"}' in message.stored


def test_base64_is_what_is_stored_and_measured(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    (message,) = read(file, as_base64=True)
    assert isinstance(message, FileMessage)
    assert json.loads(base64.b64decode(message.stored)) == GOOD

    file.write_text(json.dumps({**GOOD, "note": "x" * 60_000}))
    assert isinstance(read(file)[0], FileMessage)
    (problem,) = read(file, as_base64=True)
    assert isinstance(problem, FileProblem)
    assert "too large" in problem.problem


def test_text_that_xml_cannot_hold_is_stored_as_base64(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "correlation_id": "\uffff"}, ensure_ascii=False))
    (message,) = read(file)
    assert isinstance(message, FileMessage)
    assert message.stored.isascii()
    assert parse_message(message.stored, allow_writes=False).correlation_id == "\uffff"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (b"", "", "is empty"),
        (b" \n", "", "is empty"),
        (b"hello", ":1", "not JSON"),
        (json.dumps(BAD).encode(), "", "no requests"),
        (lines(GOOD, BAD, GOOD).encode(), ":2", "no requests"),
        (lines(GOOD).encode() + b"{broken\n", ":2", "not JSON"),
        (json.dumps([GOOD, BAD]).encode(), ": element 2", "no requests"),
        (json.dumps([GOOD, 5]).encode(), ": element 2", "not an object"),
        (json.dumps([GOOD], indent=1)[:-1].encode(), ":11", "not JSON"),
        (b'{\n "api_requests": [\n oops\n ]\n}', ":3", "not JSON"),
        (b'{\n "api_requests": [\n', ":2", "not JSON"),
        (lines(GOOD).encode() + b'{"message_id": "\xff"}', ":2", "not UTF-8"),
        (json.dumps(GOOD).encode("utf-16"), ":1", "not UTF-8"),
        (b"[" * 50_000, "", "not JSON"),
    ],
)
def test_a_problem_is_named_with_its_place(
    file: Path, text: bytes, place: str, problem: str
) -> None:
    file.write_bytes(text)
    problems = [item for item in read(file) if isinstance(item, FileProblem)]
    assert problems
    assert problems[0].place == f"{file}{place}"
    assert problem in problems[0].problem


def test_a_file_that_is_not_there_is_a_problem(file: Path) -> None:
    (problem,) = read(file)
    assert isinstance(problem, FileProblem)
    assert "No such file" in problem.problem


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(GOOD, BAD).encode())))
    good, bad = read_messages("-", as_base64=False, allow_writes=False)
    assert isinstance(good, FileMessage)
    assert (good.place, bad.place) == ("stdin:1", "stdin:2")


# ── validate-message and examples ────────────────────────────────────────────────────────────────


def validate(file: Path, *, allow_writes: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = message_commands.validate_message(
        [str(file)], allow_writes=allow_writes, out=out, err=err
    )
    return code, out.getvalue(), err.getvalue()


def test_validate_message_counts_the_good_and_names_the_bad(file: Path) -> None:
    file.write_text(lines(GOOD, BAD, GOOD))
    code, out, err = validate(file)
    assert code == 2
    assert out == "2 good messages (2 requests), 1 bad\n"
    assert err == f"{file}:2: no requests: api_requests is empty; takes 1 or more\n"


def test_validate_message_notes_what_is_probably_a_slip(file: Path) -> None:
    slip = {
        "message_id": "m",
        "prority": "high",
        "api_requests": [{**GOOD["api_requests"][0], "service": "computee"}],
    }
    file.write_text(lines(slip, {**GOOD, "message_id": "m"}))
    code, out, err = validate(file)
    assert code == 0
    assert out == "2 good messages (2 requests), 0 bad\n"
    assert f"note: {file}:1: prority is ignored" in err
    assert "did you mean compute?" in err
    assert f"{file}:2: message_id is the same as at {file}:1" in err


def test_validate_message_takes_writes_only_where_told(file: Path) -> None:
    write = {**GOOD["api_requests"][0], "method": "POST"}
    file.write_text(lines({"api_requests": [write]}))
    assert validate(file)[0] == 2
    assert validate(file, allow_writes=True)[0] == 0


def test_a_thousand_problems_are_cut_and_counted(file: Path) -> None:
    file.write_text(lines(*[BAD] * 1_000))
    code, out, err = validate(file)
    assert code == 2
    assert out.startswith("0 good messages")
    assert err.endswith("… and 950 more problems\n")


def test_examples_are_listed_and_printed_as_messages_to_send(file: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert message_commands.list_examples(out) == 0
    assert "virtual machines" in out.getvalue()
    out = io.StringIO()
    assert message_commands.print_example("compute", out=out, err=err) == 0
    file.write_text(out.getvalue())
    assert validate(file)[0] == 0
    assert message_commands.print_example("computee", out=out, err=err) == 2
    assert "did you mean compute?" in err.getvalue()

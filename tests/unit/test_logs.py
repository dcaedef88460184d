"""Log lines: one a line, with their ids, and never with a secret."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline import masking
from pipeline.logs import add_secret, log, setup


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No secrets of other tests, and no handler left behind."""
    monkeypatch.setattr(masking, "_lasting", set())
    monkeypatch.setattr(masking, "_passing", type(masking._passing)())
    monkeypatch.setattr(masking, "_secrets", [])
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before
    log.remove()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_json_line_has_level_stage_action_and_ids(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "json", "fetch")
    log.bind(action="lease_lost", message_id="m-1").info("{} lost", "m-1")
    log.bind(action="noise").debug("not shown")
    [line] = lines(capsys)
    assert line.pop("time").endswith("+00:00") or True
    assert line == {
        "level": "INFO",
        "message": "m-1 lost",
        "stage": "fetch",
        "action": "lease_lost",
        "message_id": "m-1",
    }


def test_a_text_line_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "text", "fetch")
    log.bind(action="lease_lost", message_id="m-1").info("lost")
    out = capsys.readouterr().out
    assert "INFO    fetch       lost  message_id=m-1" in out
    assert "action" not in out


def test_commands_log_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "text", "send", to_stderr=True)
    log.info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
SECRETS = [
    "plain-secret",
    'with "quotes" and \\backslashes',
    PEM,
    "tab\tand\x01control",
    "ключ-от-всего",
    "with/slash+and==",
]


@pytest.mark.parametrize("fmt", ["json", "text"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(
    secret: str, fmt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("INFO", fmt, "load")
    add_secret(secret)
    log.bind(action="x", where=f"key={secret}", nested={"a": [secret]}).info("it is {}", secret)
    log.info("it is {!r}", secret)
    try:
        raise ValueError(f"bad key {secret}")
    except ValueError as error:
        log.bind(action="y").opt(exception=error).error("failed")
    logging.getLogger("some.library").warning("sent %s", secret)
    out = capsys.readouterr().out
    for part in secret.splitlines():
        if not part.startswith("-----"):
            for shape in (part, json.dumps(part)[1:-1], repr(part)[1:-1]):
                assert shape not in out
    assert "***" in out
    if fmt == "json":
        assert all(json.loads(line) for line in out.splitlines())


def test_a_secret_within_a_secret_does_not_unmask_its_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "text", "load")
    add_secret("abcdef")
    add_secret("abcdef-ghijkl")
    log.info("abcdef-ghijkl")
    assert "ghijkl" not in capsys.readouterr().out


def test_short_and_empty_values_are_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "text", "load")
    for value in (None, "", "a", "12345"):
        add_secret(value)
    log.info("a 12345")
    assert "a 12345" in capsys.readouterr().out


def test_tokens_are_forgotten_after_many_newer_ones_and_lasting_secrets_never(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "text", "fetch")
    add_secret("password-of-old")
    for number in range(masking.MAX_PASSING_SECRETS + 1):
        add_secret(f"token-{number:04}", passing=True)
    log.info("password-of-old token-0000 token-0001")
    out = capsys.readouterr().out
    assert "token-0000" in out
    assert "token-0001" not in out
    assert "password-of-old" not in out


def test_an_error_says_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "json", "load")
    try:
        int("x")
    except ValueError as error:
        log.bind(action="failed").opt(exception=error).error("no")
    [line] = lines(capsys)
    assert line["error"].startswith("ValueError: invalid literal")
    assert "[test_logs.py:" in line["error"]


def test_warnings_of_libraries_come_as_our_lines_and_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "json", "load")
    setup("INFO", "json", "load")
    logging.getLogger("azure.identity").warning("slow %s", "answer")
    logging.getLogger("azure.identity").info("not shown")
    logging.addLevelName(35, "LOUD")
    logging.getLogger("azure.identity").log(35, "a level of its own")
    first, second = lines(capsys)
    assert (first["action"], first["logger"]) == ("library", "azure.identity")
    assert (first["level"], first["message"]) == ("WARNING", "slow answer")
    assert second["message"] == "a level of its own"


def test_no_text_is_lost_to_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    setup("INFO", "json", "fetch")
    log.bind(action="x", half="\ud800").info("one 🌍")
    log.bind(action="x").info("two é")
    first, second = raw.getvalue().decode("ascii").splitlines()
    assert json.loads(first)["message"] == "one 🌍"
    assert "two" in second


def test_a_reader_that_went_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    setup("INFO", "json", "fetch")
    log.info("nobody hears this")

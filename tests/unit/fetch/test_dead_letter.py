"""Poison messages read, marked for a replay, chosen and shown: without a queue."""

from __future__ import annotations

import base64
import io
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from stages.fetch.dead_letter import DeadLetter, Mark, read_envelope
from stages.fetch.dead_letter_commands import Wanted
from stages.fetch.dead_letter_replay import (
    PLACEHOLDER,
    NotReplayable,
    marked_text,
    original_for,
    own_message_id,
)
from stages.fetch.dead_letter_view import line_of, row_of, show
from stages.fetch.poison import MAX_STORED_BYTES, envelope, original

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
MARK = Mark("0" * 36, "A" * 40, NOW)
CHANCE = random.Random(20261123)


def sealed(text: str = "{}", **changes: Any) -> str:
    fields: dict[str, Any] = {
        "reason": "not JSON",
        "detail": "",
        "queue": "requests",
        "queue_message_id": "1",
        "message_id": None,
        "dequeue_count": 1,
        "inserted_at": NOW,
        "text": text,
        "now": NOW,
    }
    return envelope(**{**fields, **changes})


def letter(stored: str) -> DeadLetter:
    return DeadLetter("id-1", "receipt", stored, NOW, read_envelope(stored))


@pytest.mark.parametrize(
    "stored", ["", "hello", "{}", "[]", '{"reason": "x"}', "[" * 60_000, '{"a":' * 10_000]
)
def test_what_is_no_envelope_is_no_error(stored: str) -> None:
    assert read_envelope(stored) is None
    with pytest.raises(NotReplayable, match="no envelope"):
        original_for(letter(stored), "requests")
    assert "no envelope" in line_of(row_of("requests", letter(stored)))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "x" * 65_000,
        "x" * 65_270,
        base64.b64encode(CHANCE.randbytes(48 * 1024)).decode(),
        "é" * 32_768,
    ],
)
@pytest.mark.parametrize("detail", ["", "d" * 10_000, "\x01" * 10_000])
def test_a_mark_fits_beside_the_whole_original(text: str, detail: str) -> None:
    stored = sealed(text, detail=detail, message_id="m" * 256)
    opened = read_envelope(stored)
    assert opened is not None
    assert opened.replay is None
    marked = marked_text(opened, MARK)
    assert len(marked.encode()) <= MAX_STORED_BYTES
    assert original(marked) == text
    again = read_envelope(marked)
    assert again is not None
    assert again.replay == MARK
    assert again.message_id == "m" * 256


def test_a_cut_original_is_not_replayed() -> None:
    cut = json.dumps({**json.loads(sealed()), "text_sha256": "0" * 64})
    with pytest.raises(NotReplayable, match="too large to be kept whole"):
        original_for(letter(cut), "requests")
    assert "cannot be replayed" in line_of(row_of("requests", letter(cut)))


def test_a_damaged_original_is_not_replayed() -> None:
    damaged = json.dumps({**json.loads(sealed()), "text_zlib_b85": "abcde"})
    with pytest.raises(NotReplayable):
        original_for(letter(damaged), "requests")


def test_a_message_goes_only_to_the_queue_it_came_from() -> None:
    with pytest.raises(NotReplayable, match="came from 'other', not from 'requests'"):
        original_for(letter(sealed(queue="other")), "requests")


def test_a_placeholder_is_told_and_not_replayed() -> None:
    found = letter(sealed(PLACEHOLDER))
    with pytest.raises(NotReplayable, match="placeholder"):
        original_for(found, "requests")
    assert "placeholder of an interrupted replay" in line_of(row_of("requests", found))


def test_an_interrupted_replay_is_told() -> None:
    opened = read_envelope(sealed())
    assert opened is not None
    found = letter(marked_text(opened, MARK))
    assert "a replay was interrupted" in line_of(row_of("requests", found))


def test_all_may_be_narrowed_to_a_reason() -> None:
    assert Wanted(reason="JSON").takes(letter(sealed()))
    assert Wanted(reason="not json").takes(letter(sealed()))
    assert not Wanted(reason="delivered").takes(letter(sealed()))
    assert not Wanted(reason="").takes(letter("no envelope"))
    assert Wanted().takes(letter("no envelope"))
    assert not Wanted(ids=frozenset(["other"])).takes(letter(sealed()))


def test_a_line_has_nothing_a_terminal_would_act_on() -> None:
    found = letter(sealed(detail="a\x1b[2Jb\nc", message_id="m\x9b"))
    assert line_of(row_of("requests", found)).isprintable()
    foreign = letter("\x9b2J\n")
    assert line_of(row_of("requests", foreign)).isprintable()


def test_a_long_detail_is_cut_in_a_line_and_whole_in_json() -> None:
    found = letter(sealed(detail="d" * 1_000))
    row = row_of("requests", found)
    assert row["detail"] == "d" * 1_000
    assert "d" * 101 not in line_of(row)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ('{"message_id": "m-2", "api_requests": []}', "m-2"),
        (base64.b64encode(b'{"message_id": "m-2", "api_requests": []}').decode(), "m-2"),
        ('{"api_requests": []}', None),
        ('{"message_id": 7, "api_requests": []}', None),
        ("not JSON", None),
    ],
)
def test_the_producers_id_is_read_from_the_original_where_it_can_be(
    text: str, own: str | None
) -> None:
    assert own_message_id(letter(sealed(text))) == own
    assert own_message_id(letter(sealed(text, message_id="m-1"))) == "m-1"


def test_show_gives_the_envelope_and_the_original() -> None:
    text = "x" * 70_000
    out = io.StringIO()
    show("requests", letter(sealed(text, message_id="m-1")), False, out)
    head, _, shown = out.getvalue().partition("\n\n")
    assert json.loads(head)["message_id"] == "m-1"
    assert "text_zlib_b85" not in json.loads(head)
    assert shown == text + "\n"

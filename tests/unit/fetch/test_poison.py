"""The poison envelope: fits the queue and gives the original back, whatever it was."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.fetch.poison import (
    MAX_STORED_BYTES,
    Mark,
    envelope,
    fitted,
    moving,
    moving_since,
    original,
)

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
CHANCE = random.Random(20261123)


def sealed(text: str, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "reason": "not JSON",
        "detail": "",
        "queue": "collector",
        "queue_message_id": "00000000-0000-0000-0000-000000000001",
        "message_id": None,
        "dequeue_count": 1,
        "inserted_at": NOW,
        "text": text,
        "now": NOW,
    }
    return envelope(**{**fields, **changes})


def size(stored: str) -> int:
    return len(stored.encode())


@given(st.text(max_size=300), st.text(max_size=300), st.one_of(st.none(), st.text(max_size=256)))
def test_any_text_comes_back_as_it_was(text: str, detail: str, message_id: str | None) -> None:
    stored = sealed(text, detail=detail, message_id=message_id)
    assert size(stored) <= MAX_STORED_BYTES
    assert original(stored) == text


FULL = {
    "random base64": base64.b64encode(CHANCE.randbytes(48 * 1024)).decode(),
    "control characters": "\x01" * 65_536,
    "quotes": '"\\' * 32_768,
    "two bytes each": "é" * 32_768,
    "four bytes each": "🌍" * 16_384,
    "JSON": json.dumps([{"service": f"s{n}"} for n in range(3_500)])[:65_536],
}


@pytest.mark.parametrize("text", FULL.values(), ids=FULL)
@pytest.mark.parametrize("detail", ["", "a" * 10_000, "\x01" * 10_000, "🌍" * 10_000])
def test_the_largest_original_fits_and_comes_back(text: str, detail: str) -> None:
    assert len(text.encode()) <= MAX_STORED_BYTES
    stored = sealed(text, detail=detail, message_id="m" * 256)
    assert size(stored) <= MAX_STORED_BYTES
    assert original(stored) == text


@pytest.mark.parametrize("text", [chr(7), "x", "🌍"], ids=["control", "plain", "wide"])
def test_what_no_compression_makes_fit_is_cut_and_says_so(text: str) -> None:
    # Larger than the queue takes, so that only a change of its limits leads here.
    noise = "".join(text + chr(CHANCE.randrange(0x4E00, 0x9FFF)) for _ in range(60_000))
    stored = sealed(noise, detail=text * 10_000)
    assert size(stored) <= MAX_STORED_BYTES
    assert json.loads(stored)["text_sha256"]
    assert noise.startswith(json.loads(stored)["text"])
    with pytest.raises(ValueError, match="too large"):
        original(stored)


def test_it_says_why_from_where_and_when() -> None:
    stored = json.loads(sealed("{", detail="line 1", message_id="m-1", dequeue_count=3))
    assert stored == {
        "reason": "not JSON",
        "detail": "line 1",
        "queue": "collector",
        "queue_message_id": "00000000-0000-0000-0000-000000000001",
        "message_id": "m-1",
        "dequeue_count": 3,
        "inserted_at": "2026-11-20T12:30:00+00:00",
        "poisoned_at": "2026-11-20T12:30:00+00:00",
        "text": "{",
    }


@pytest.mark.parametrize("text", ["", "{", "{}", '{"reason": 1}', "[]"])
def test_what_is_no_envelope_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not a poison envelope"):
        original(text)


# ── on the way ───────────────────────────────────────────────────────────────────────────────────

MESSAGE_ID = "00000000-0000-0000-0000-000000000001"
MARK = Mark("f" * 36, "A" * 40, NOW)


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_message_on_its_way_holds_its_envelope_and_where_it_goes(text: str, detail: str) -> None:
    stored = sealed(text, detail=detail)
    marked = moving(stored, MARK)
    assert marked is not None
    assert size(marked) <= MAX_STORED_BYTES
    found = moving_since(marked, MESSAGE_ID)
    assert found is not None
    assert found[1] == MARK
    assert fitted(found[0]) == stored


@pytest.mark.parametrize("text", FULL.values(), ids=FULL)
def test_even_the_largest_has_room_for_the_mark(text: str) -> None:
    marked = moving(sealed(text, detail="a" * 10_000, message_id="m" * 256), MARK)
    assert marked is not None
    assert size(marked) <= MAX_STORED_BYTES
    found = moving_since(marked, MESSAGE_ID)
    assert found is not None
    stored = fitted(found[0])
    assert stored is not None
    assert original(stored) == text


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "[" * 60_000, sealed("{")])
def test_what_is_on_no_way_is_told(text: str) -> None:
    assert moving_since(text, MESSAGE_ID) is None


def test_a_copied_mark_is_none() -> None:
    marked = moving(sealed("{"), MARK)
    assert marked is not None
    assert moving_since(marked, "another message's id") is None

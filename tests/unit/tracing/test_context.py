"""The ids of a message's trace, and the field that a producer names its own by."""

from __future__ import annotations

import pytest

from pipeline.message_format.rules import BAD_TRACEPARENT
from pipeline.tracing.context import (
    MAX_TRACEPARENT_CHARS,
    MessageIds,
    Parent,
    message_ids,
    normalised,
)
from tests.unit.message_fixture import a_message, parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        # Flags that nobody here knows; a later version, which may say more.
        (f"00-{TRACE}-{SPAN}-03", GOOD),
        (f"cc-{TRACE}-{SPAN}-01", GOOD),
        (f"cc-{TRACE}-{SPAN}-01-what-is-to-come", GOOD),
        (f"cc-{TRACE}-{SPAN}-01.what-is-no-form", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (GOOD.upper(), None),
        (GOOD + "\n", None),
        (f" {GOOD}", None),
        (GOOD[:-1], None),
        ("", None),
        (f"cc-{TRACE}-{SPAN}-01-" + "x" * MAX_TRACEPARENT_CHARS, None),
    ],
)
def test_only_what_w3c_defines_is_a_traceparent(text: str, expected: str | None) -> None:
    assert normalised(text) == expected


def test_every_process_works_out_the_same_ids() -> None:
    # Written down: two versions may run side by side in an upgrade.
    assert message_ids("q", "id-1", 1, None) == MessageIds(
        0x26B55233AB139E6815551B0F67DDB811, 0xD327CBD8EE326501, None
    )


def test_each_delivery_is_a_span_of_its_own() -> None:
    spans = {message_ids(*which, GOOD).span_id for which in DELIVERIES}
    assert len(spans) == len(DELIVERIES)
    assert {message_ids(*which, GOOD).trace_id for which in DELIVERIES} == {int(TRACE, 16)}
    assert len({message_ids(*which, None).trace_id for which in DELIVERIES}) == len(DELIVERIES)


DELIVERIES = [("q", "id-1", 1), ("q", "id-1", 2), ("q", "id-2", 1), ("p", "id-1", 1)]


def test_a_message_goes_on_with_its_producers_trace() -> None:
    unsampled = f"00-{TRACE}-{SPAN}-00"
    assert message_ids("q", "id-1", 1, GOOD).parent == Parent(int(TRACE, 16), int(SPAN, 16), True)
    assert message_ids("q", "id-1", 1, unsampled).parent == Parent(
        int(TRACE, 16), int(SPAN, 16), False
    )


def test_the_field_is_known() -> None:
    parsed = parse(a_message(traceparent=GOOD))
    assert (parsed.traceparent, parsed.unknown_fields) == (GOOD, [])
    assert parse(a_message(traceparent=GOOD, colour="red")).unknown_fields == ["colour"]
    assert parse(a_message(traceparent=None)).unknown_fields == []
    assert parse(a_message()).traceparent is None


@pytest.mark.parametrize("odd", ["", "yes", 7, 1.5, True, {}, [GOOD], "\\u0030", '"', "ü" * 300])
def test_one_that_is_none_refuses_no_message_and_is_told(odd: object) -> None:
    parsed = parse(a_message(traceparent=odd))
    assert (parsed.traceparent, parsed.unknown_fields) == (None, [BAD_TRACEPARENT])

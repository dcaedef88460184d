"""Answers of the queue's REST API, read."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

import pytest

from stages.fetch.curl_calls import Answer
from stages.fetch.queue_rest import error_code, messages

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def page(*texts: str, between: str = "") -> bytes:
    found = between.join(
        between.join(
            (
                "<QueueMessage>",
                "<MessageId>id</MessageId>",
                f"<InsertionTime>{DATE}</InsertionTime>",
                "<PopReceipt>Ag+/==</PopReceipt>",
                "<DequeueCount>7</DequeueCount>",
                text,
                "</QueueMessage>",
            )
        )
        for text in texts
    )
    return f"<?xml version='1.0'?><QueueMessagesList>{found}</QueueMessagesList>".encode()


@pytest.mark.parametrize(
    "text",
    ["", "plain", "<&>\"'", "é 🌍", "  spaces  ", "]]>", '{"a":"b"}' * 5000, "x" * 65_536 * 3],
)
@pytest.mark.parametrize("between", ["", "\n  "])
def test_a_message_is_read_as_it_was_stored(text: str, between: str) -> None:
    stored = escape(text, {'"': "&quot;", "\r": "&#xD;"})
    body = page(f"<MessageText>{stored}</MessageText>", "<MessageText />", between=between)
    first, second = messages(body)
    assert (first.text, second.text) == (text, "")
    assert (first.id, first.pop_receipt, first.dequeue_count) == ("id", "Ag+/==", 7)
    assert first.inserted_at == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_a_byte_order_mark_and_an_empty_page_are_fine() -> None:
    assert messages(b"\xef\xbb\xbf" + page()) == []
    assert messages(b"<QueueMessagesList />") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"<a/>",
        b"\xff",
        page("<MessageText>x</MessageText>")[:-5],
        page("no text"),
        page("<MessageText>x</MessageText>").replace(b"<DequeueCount>7", b"<DequeueCount>x"),
        page("<MessageText>x</MessageText>").replace(DATE.encode(), b"now"),
    ],
)
def test_what_is_no_page_of_messages_is_refused(body: bytes) -> None:
    with pytest.raises((ExpatError, KeyError, ValueError)):
        messages(body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<?xml version='1.0'?><Error><Code>QueueNotFound</Code></Error>", "QueueNotFound"),
        (b"<Error/>", ""),
        (b"<html>Bad gateway", ""),
        (b"", ""),
    ],
)
def test_an_error_code_is_read_where_there_is_one(body: bytes, code: str) -> None:
    assert error_code(body) == code


def test_a_header_is_found_whatever_its_case() -> None:
    answer = Answer(204, b"HTTP/1.1 204 No Content\r\nX-Ms-PopReceipt:  Ag: \r\n\r\n", b"")
    assert answer.header("x-ms-popreceipt") == "Ag:"
    assert answer.header("date") == ""

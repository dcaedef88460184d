"""Messages in files: a JSON object, a JSON array, or JSON Lines, each message with its place."""

from __future__ import annotations

import base64
import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.errors import BadMessage
from pipeline.message_format.rules import ParsedMessage, parse_message
from pipeline.undecodable import UNDECODABLE

STDIN = "-"
# A file of this size holds 4,000 messages of the largest size.
MAX_FILE_BYTES = 256 * 1024 * 1024
# How many lines are looked at to tell JSON Lines from one broken object.
LINES_LOOKED_AT = 10

_BOM = b"\xef\xbb\xbf"
_BYTE = re.compile(r"\(byte (\d+)\)")
# Characters that are JSON and cannot stand in the XML of the queue's protocol.
_NOT_XML = re.compile("[\ufffe\uffff]")

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class FileMessage(msgspec.Struct, frozen=True):
    """A message that passed every rule.

    Attributes:
        place: file and line or element, for people.
        stored: the text as it goes into the queue.
        parsed: what it says.
    """

    place: str
    stored: str
    parsed: ParsedMessage


class FileProblem(msgspec.Struct, frozen=True):
    """A message, or a whole file, that cannot be taken.

    Attributes:
        place: file and line or element.
        problem: the reason and the detail.
    """

    place: str
    problem: str


def read_messages(
    file: str, *, as_base64: bool, allow_writes: bool
) -> Iterator[FileMessage | FileProblem]:
    """Read a file and check each message in it as the collector would.

    Args:
        file: its path, or ``-`` for standard input.
        as_base64: store the messages as base64; their size is checked as stored.
        allow_writes: also take POSTs that may write.
    """
    name = "stdin" if file == STDIN else file
    try:
        text = _read(file)
    except OSError as error:
        yield FileProblem(name, f"cannot be read: {error.strerror or error}")
        return
    if len(text) > MAX_FILE_BYTES:
        yield FileProblem(name, f"is larger than {MAX_FILE_BYTES} bytes: split it")
        return
    if not text.strip():
        yield FileProblem(name, "is empty; takes a JSON object, a JSON array or JSON Lines")
        return
    try:
        for place, message in _split(name, text):
            yield _checked(place, message, as_base64, allow_writes)
    except UNDECODABLE as error:
        yield FileProblem(_at(name, text, str(error)), f"not JSON: {error}")


def _read(file: str) -> bytes:
    limit = MAX_FILE_BYTES + 1
    if file == STDIN:
        data = sys.stdin.buffer.read(limit)
    else:
        with Path(file).open("rb") as opened:
            data = opened.read(limit)
    return data.removeprefix(_BOM)


def _split(name: str, text: bytes) -> Iterator[tuple[str, bytes]]:
    """Each message with its place.

    Raises:
        msgspec.DecodeError: neither of the three forms.
    """
    start = text.lstrip()[:1]
    if start == b"[":
        for number, element in enumerate(_decode_list(text), start=1):
            yield f"{name}: element {number}", bytes(element)
        return
    lines = [
        (number, stripped)
        for number, line in enumerate(text.split(b"\n"), start=1)
        if (stripped := line.strip())
    ]
    if start == b"{" and (len(lines) == 1 or not any(map(_is_object, lines[:LINES_LOOKED_AT]))):
        _decode_object(text)
        yield name, text
        return
    for number, line in lines:
        yield f"{name}:{number}", line


def _is_object(line: tuple[int, bytes]) -> bool:
    try:
        _decode_object(line[1])
    except UNDECODABLE:
        return False
    return True


def _checked(
    place: str, message: bytes, as_base64: bool, allow_writes: bool
) -> FileMessage | FileProblem:
    try:
        stored = _stored(message, as_base64)
        return FileMessage(place, stored, parse_message(stored, allow_writes=allow_writes))
    except BadMessage as error:
        return FileProblem(place, str(error))


def _stored(message: bytes, as_base64: bool) -> str:
    """The text that goes into the queue: without the file's line breaks and indents.

    Raises:
        BadMessage: not UTF-8.
    """
    if message.startswith(b"{"):
        with contextlib.suppress(*UNDECODABLE):  # the rules say what it is
            message = msgspec.json.format(message, indent=-1)
    try:
        text = message.decode()
    except UnicodeDecodeError as error:
        raise BadMessage("not UTF-8", f"byte {error.start}: {error.reason}") from None
    if as_base64 or _NOT_XML.search(text):
        return base64.b64encode(message).decode("ascii")
    return text


def _at(name: str, text: bytes, error: str) -> str:
    """File and line of a decoder's error that names a byte, or the last line if it ran out."""
    if found := _BYTE.search(error):
        end = int(found[1])
    elif "truncated" in error:
        end = len(text.rstrip())
    else:
        return name
    line = text.count(b"\n", 0, end) + 1
    return f"{name}:{line}"

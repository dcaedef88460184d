"""Which extra headers a message may give, and what they may hold."""

from __future__ import annotations

import re

from pipeline.errors import BadMessage
from pipeline.message_format.excerpts import excerpt

MAX_HEADERS = 32
MAX_NAME_CHARS = 128
MAX_VALUE_CHARS = 4096
# All names and values together; servers commonly stop at 16 KiB with what the client adds.
MAX_TOTAL_CHARS = 8192

BAD_HEADER = "bad header"
HEADER_REFUSED = "header not allowed"

# A token of RFC 9110, section 5.6.2: no colon, no space, no control character.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Visible ASCII and space; CR, LF, NUL, tab and everything beyond ASCII stay out.
_VALUE = re.compile(r"[ -~]*")

_REFUSED = frozenset(
    {
        # who we are
        "authorization",
        "cookie",
        "cookie2",
        "x-ms-authorization-auxiliary",
        # where the request goes
        "host",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        # where it ends, and what the connection does
        "connection",
        "content-length",
        "content-encoding",
        "expect",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        # what it does: a GET must not become a DELETE on the way
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        # which answer comes: whole, and in an encoding the client reads
        "accept-encoding",
        "if-range",
        "range",
    }
)
_REFUSED_PREFIXES = ("proxy-", "x-forwarded-", "x-ms-authorization", "sec-")


def check_headers(headers: dict[str, str], where: str) -> None:
    """Check a request's extra headers. A detail never shows a value.

    Args:
        headers: as the message has them.
        where: place of the request in the message, for the detail.

    Raises:
        BadMessage: a name or value breaks the syntax, is the collector's own to set, comes twice,
            or there is too much of it.
    """
    field = f"{where}.headers"
    if len(headers) > MAX_HEADERS:
        raise BadMessage(BAD_HEADER, f"{field} has {len(headers)} names; takes up to {MAX_HEADERS}")
    seen: set[str] = set()
    total_chars = 0
    for name, value in headers.items():
        lower = name.lower()
        _check_name(name, lower, field)
        if len(value) > MAX_VALUE_CHARS or not _VALUE.fullmatch(value):
            problem = (
                f"has {len(value)} characters" if len(value) > MAX_VALUE_CHARS else _unfit(value)
            )
            raise BadMessage(
                BAD_HEADER,
                f"{field}.{name} {problem}; takes up to {MAX_VALUE_CHARS} visible ASCII characters",
            )
        if lower in seen:
            raise BadMessage(BAD_HEADER, f"{field} has {name} twice, in different case")
        seen.add(lower)
        total_chars += len(name) + len(value)
    if total_chars > MAX_TOTAL_CHARS:
        raise BadMessage(
            BAD_HEADER, f"{field} has {total_chars} characters; takes up to {MAX_TOTAL_CHARS}"
        )


def _check_name(name: str, lower: str, field: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        # Only what stands before a colon is shown: a whole header may have been put into the name.
        shown = excerpt(re.split(r"[:\s]", name, maxsplit=1)[0])
        raise BadMessage(
            BAD_HEADER,
            f"{field} has a name that starts {shown} and is no header name; takes "
            f"up to {MAX_NAME_CHARS} letters, digits and !#$%&'*+-.^_`|~",
        )
    if lower in _REFUSED or lower.startswith(_REFUSED_PREFIXES):
        raise BadMessage(HEADER_REFUSED, f"{field} has {name}, which the collector sets or refuses")


def _unfit(value: str) -> str:
    if "\r" in value or "\n" in value:
        return "has CR or LF"
    return "has a control character" if value.isascii() else "has characters beyond ASCII"

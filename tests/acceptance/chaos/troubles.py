"""What each service answers when it is in trouble."""

from __future__ import annotations

import random
from typing import Literal

Service = Literal["plain", "arm", "queue"]

_XML = (
    '<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message>'
    "</Error>"
)
_JSON = '{{"error":{{"code":"{code}","message":"{text}"}}}}'
# Status, code, text.
_TROUBLES: dict[Service, tuple[tuple[int, str, str], ...]] = {
    "plain": ((503, "", "Service Unavailable"), (500, "", "Internal Server Error")),
    "arm": (
        (503, "ServiceUnavailable", "The service is unavailable now."),
        (500, "InternalServerError", "An unexpected error occurred."),
    ),
    "queue": (
        (503, "ServerBusy", "The server is busy."),
        (500, "InternalError", "The server encountered an internal error."),
    ),
}


def trouble(service: Service, method: str, chance: random.Random) -> bytes:
    """An answer of this service with a status of 500 or 503, as it stands on the wire.

    Args:
        service: whose; ``plain`` is text.
        method: of the request; the answer to HEAD has no body.
        chance: chooses one.
    """
    status, code, text = chance.choice(_TROUBLES[service])
    headers = []
    if service == "arm":
        headers.append("Content-Type: application/json; charset=utf-8")
        text = _JSON.format(code=code, text=text)
    elif service == "queue":
        headers += ["Content-Type: application/xml", f"x-ms-error-code: {code}"]
        text = _XML.format(code=code, text=text)
    headers.append(f"Content-Length: {len(text)}")
    head = "\r\n".join([f"HTTP/1.1 {status} {code or text}", *headers, "", ""])
    return (head + ("" if method == "HEAD" else text)).encode()

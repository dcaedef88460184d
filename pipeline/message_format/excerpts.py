"""Short excerpts of what was got, for error details: bounded, on one line, without credentials."""

from __future__ import annotations

import re

EXCERPT_CHARS = 120

# What a credential looks like wherever it stands: bearer values, JWTs, SAS signatures, keys.
_CREDENTIAL = re.compile(
    r"(?i)(?:(?:bearer|basic|sharedkey|sharedaccesssignature)\s+[^\s\"',}]+"
    r"|eyJ[\w-]+\.[\w.-]+"
    r"|(?:sig|signature|password|pwd|secret|accountkey|client_secret|token|key|code)=[^\s&;\"']+"
    r"|\"[\w-]*(?:authorization|password|secret|token|cookie)[\w-]*\"\s*:\s*\"[^\"]*\"?)"
)


def excerpt(value: object, limit: int = EXCERPT_CHARS) -> str:
    """The value as it may stand in an error detail.

    Args:
        value: text, or any decoded JSON value.
        limit: characters kept; what is cut off is shown as ``…``.
    """
    # The first mask works on more than is shown, so that a cut never leaves half a credential.
    text = value[: limit * 20] if isinstance(value, str) else repr(value)[: limit * 20]
    text = _CREDENTIAL.sub("***", text)
    if len(text) > limit:
        text = text[:limit] + "…"
    return repr(text) if isinstance(value, str) else text


def short_name(name: str, limit: int = 40) -> str:
    """A field's name, bounded and on one line, to stand in the place part of a detail."""
    plain = "".join(char if char.isprintable() else "?" for char in name[:limit])
    return plain if len(name) <= limit else plain + "…"

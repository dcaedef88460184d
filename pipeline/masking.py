"""Secrets are masked in all that this process says."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

MASK = "***"
# Shorter values are not masked in text: they would blank out ordinary words.
SECRET_MIN_CHARS = 6
# Secrets that are replaced every hour or so are masked until so many newer ones have come.
MAX_PASSING_SECRETS = 32

_lasting: set[str] = set()
_passing: OrderedDict[str, None] = OrderedDict()
# Both, and how they look in JSON and line by line; the longest first.
_secrets: list[str] = []


def add_secret(value: str | None, *, passing: bool = False) -> None:
    """Mask this value in every log line of this process from now on.

    Args:
        value: the secret; nothing happens if it is None or short.
        passing: it will be replaced by another one, as a token is.
    """
    global _secrets
    if not value or len(value) < SECRET_MIN_CHARS or value in _lasting or value in _passing:
        return
    if passing:
        _passing[value] = None
        if len(_passing) > MAX_PASSING_SECRETS:
            _passing.popitem(last=False)
    else:
        _lasting.add(value)
    shapes = {shape for secret in (*_lasting, *_passing) for shape in _shapes(secret)}
    # A secret within a secret must not unmask its rest.
    _secrets = sorted(shapes, key=len, reverse=True)


def masked(text: str) -> str:
    """The text with every registered secret replaced."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _shapes(secret: str) -> set[str]:
    """A secret as it may stand in text: as it is, in JSON, in a repr, a line of it alone."""
    whole = {secret, msgspec.json.encode(secret).decode()[1:-1], repr(secret)[1:-1]}
    lines = {line for line in secret.splitlines() if not line.startswith("-----")}
    return {shape for shape in whole | lines if len(shape) >= SECRET_MIN_CHARS}

"""Every secret that the suite uses, and all that was said while it ran.

Fixtures and stand-ins hand their secrets to :func:`secret`; those in the environment of a process
that a test starts are known too. What is said comes in by itself (:mod:`tests.secrets_plugin`); a
page that a test has fetched is handed to :func:`said`. At the end of the session no secret may be
found in any of it.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

# Shorter ones are words, which stand in any text.
MIN_CHARS = 8
# Texts are kept until the end, because a secret may become known after it was said; past this they
# are looked through at once and let go.
MAX_KEPT_CHARS = 64 << 20
# Members of a family, such as tokens that all begin alike, are looked for together.
PREFIX_CHARS = 6
# Leaks that are told.
MAX_TOLD = 50
# Variables that hold a secret.
NAMES = (
    "_PASSWORD",
    "_PASSPHRASE",
    "_TOKEN",
    "_SECRET",
    "_PRIVATE_KEY",
    "_CONNECTION_STRING",
)
# Parts of a connection string that are secrets by themselves.
PARTS = re.compile(r"(?:AccountKey|SharedAccessSignature)=([^;]+)")


class Seen:
    """Secrets, and texts in which none of them may be."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._texts: list[tuple[str, str]] = []
        self._files: dict[Path, str] = {}
        self._kept_chars = 0
        self._found: dict[str, None] = {}

    def secret(self, value: str) -> str:
        """Know this secret; return it."""
        if len(value) >= MIN_CHARS and not value.startswith("kv:"):
            self._secrets.add(value)
        return value

    def secrets_of(self, settings: Mapping[str, str]) -> None:
        """Know the secrets of these settings."""
        for name, value in settings.items():
            if name.endswith(NAMES):
                self.secret(value)
                for part in PARTS.findall(value):
                    self.secret(part)

    def said(self, text: str | bytes | None, where: str) -> None:
        """This was said there."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if not text:
            return
        self._texts.append((where, text))
        self._kept_chars += len(text)
        if self._kept_chars > MAX_KEPT_CHARS:
            self._look()

    def file(self, path: Path, where: str) -> None:
        """What is in this file at the end was said there."""
        self._files.setdefault(path, where)

    def leaks(self) -> list[str]:
        """Where which secrets were said; each by its beginning."""
        for path, where in self._files.items():
            if path.is_file():
                self.said(path.read_bytes(), f"{where}, {path.name}")
        self._files.clear()
        self._look()
        return list(self._found)[:MAX_TOLD]

    def _look(self) -> None:
        families = _families(self._secrets)
        for where, text in self._texts:
            for shown in _found_in(text, families):
                self._found[f"{shown[:PREFIX_CHARS]}… in {where}"] = None
        self._texts.clear()
        self._kept_chars = 0


def _found_in(text: str, families: Mapping[str, set[str]]) -> list[str]:
    """Which of these stand in the text."""
    found = []
    for prefix, members in families.items():
        if len(members) == 1:
            found += [member for member in members if member in text]
            continue
        lengths = {len(member) for member in members}
        at = text.find(prefix)
        while at >= 0:
            found += [one for size in lengths if (one := text[at : at + size]) in members]
            at = text.find(prefix, at + 1)
    return found


def _families(secrets: Iterable[str]) -> dict[str, set[str]]:
    """What to look for, by its beginning."""
    families: defaultdict[str, set[str]] = defaultdict(set)
    for value in secrets:
        for shape in _shapes(value):
            families[shape[:PREFIX_CHARS]].add(shape)
    return families


def _shapes(value: str) -> set[str]:
    """A secret as it may stand in text: as it is, in JSON, in a repr, in an address, in lines."""
    whole = {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe="")}
    lines = {line for line in value.splitlines() if not line.startswith("-----")}
    return {shape for shape in whole | lines if len(shape) >= MIN_CHARS}


_seen = Seen()
secret = _seen.secret
secrets_of = _seen.secrets_of
file = _seen.file
leaks = _seen.leaks


def said(text: str | bytes | None, what: str) -> None:
    """The test that runs has got this text from a collector.

    Args:
        text: a page, an answer, an output.
        what: of what, e.g. ``/metrics``.
    """
    _seen.said(text, f"{where()}, {what}")


def where() -> str:
    """The test that runs."""
    return os.environ.get("PYTEST_CURRENT_TEST", "between tests")

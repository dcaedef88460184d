"""What a collector's settings were when it last started, to tell which have changed since.

Kept in a small file in the folder of its spool. Of a secret it has a digest that says whether the
secret is another one and nothing that leads back to it: 16 bits under a salt of the file's own, so
that of any list of guesses one in 65,536 fits. As many changes go unnoticed.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

import msgspec

from pipeline.config import Config
from pipeline.config.settings import SETTINGS
from pipeline.undecodable import UNDECODABLE

NAME = "last-start.json"
# What the audit log says of a secret that is another one now.
CHANGED = "changed"
MODE = 0o600
SALT_BYTES = 16
DIGEST_CHARS = 4
# Settings are a few kilobytes; past this it is another file.
MAX_BYTES = 1 << 20


class Note(msgspec.Struct, frozen=True):
    """The settings of one start.

    Attributes:
        salt: of the digests, hexadecimal.
        settings: by name, those that have a value; as ``show-config`` shows them.
        secrets: by name, those that have a value: a digest of each.
    """

    salt: str
    settings: dict[str, str]
    secrets: dict[str, str]


def note_of(config: Config, salt: str) -> Note:
    """The settings in force.

    Args:
        config: the settings, secrets resolved.
        salt: hexadecimal.
    """
    key = bytes.fromhex(salt)
    settings, secrets = {}, {}
    for setting in SETTINGS:
        if not (shown := config.shown(setting.name)):
            continue
        settings[setting.name] = shown
        if setting.secret:
            value = str(getattr(config, setting.attribute))
            digest = hmac.digest(key, f"{setting.name}={value}".encode(), "sha256")
            secrets[setting.name] = digest.hex()[:DIGEST_CHARS]
    return Note(salt, settings, secrets)


def changes(before: Note, now: Note) -> dict[str, object]:
    """Which settings are others now, by name: ``{"from": …, "to": …}``, or only that it changed.

    Args:
        before: of an earlier start.
        now: of this one, with the same salt.
    """
    found: dict[str, object] = {}
    for setting in SETTINGS:
        name = setting.name
        if before.secrets.get(name) != now.secrets.get(name):
            found[name] = CHANGED
        elif (old := before.settings.get(name)) != (new := now.settings.get(name)):
            found[name] = {"from": old, "to": new}
    return found


def changed_since(config: Config, folder: Path) -> dict[str, object] | None:
    """Which settings have changed since the last start in this folder; note those of this one.

    Args:
        config: the settings, secrets resolved.
        folder: which no other collector uses.

    Returns:
        As :func:`changes`; None if there is no note of a start before.

    Raises:
        OSError: the settings cannot be noted, so the next start will compare with an older one.
    """
    path = folder / NAME
    before = _read(path)
    now = note_of(config, before.salt if before is not None else os.urandom(SALT_BYTES).hex())
    _write(path, now)
    return changes(before, now) if before is not None else None


def _read(path: Path) -> Note | None:
    """The note that is there; None if there is none, or something else has its name."""
    try:
        with path.open("rb") as file:
            note = msgspec.json.decode(file.read(MAX_BYTES), type=Note)
        bytes.fromhex(note.salt)
    except (OSError, ValueError, *UNDECODABLE):
        return None
    return note


def _write(path: Path, note: Note) -> None:
    # Renamed, so that it is whole or as it was.
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(note))
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise

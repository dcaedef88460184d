"""Logs: JSON lines on standard output, or text on a terminal.

Every line has an ``action`` and the ids to find it again; the stage's name is bound once at start.
A value that was registered as a secret is masked wherever it turns up.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from loguru import logger as log

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["add_secret", "log", "setup"]

MASK = "***"
# Shorter values are not masked in text: they would blank out ordinary words.
SECRET_MIN_CHARS = 6

_secrets: list[str] = []
_out: TextIO = sys.stdout
_encode = msgspec.json.Encoder(enc_hook=str).encode


def add_secret(value: str | None) -> None:
    """Mask this value in every log line of this process from now on."""
    if value and len(value) >= SECRET_MIN_CHARS and value not in _secrets:
        _secrets.append(value)
        _secrets.sort(key=len, reverse=True)  # a secret within a secret must not unmask its rest


def masked(text: str) -> str:
    """The text with every registered secret replaced."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def setup(level: str, fmt: str, stage: str, *, to_stderr: bool = False) -> None:
    """Send this process's logs to standard output.

    Args:
        level: least level, e.g. ``INFO``.
        fmt: ``json`` or ``text``.
        stage: name of the process, on every line.
        to_stderr: to standard error instead, for commands whose output is something else.
    """
    global _out
    _out = sys.stderr if to_stderr else sys.stdout
    log.remove()
    log.configure(extra={"stage": stage})
    log.add(_write_json if fmt == "json" else _write_text, level=level, format="{message}")


def _exception(record: Record) -> str | None:
    error = record["exception"]
    if error is None or error.value is None:
        return None
    return f"{type(error.value).__name__}: {error.value}"


def _emit(text: str) -> None:
    # One write a line, so that lines of several processes do not run into each other.
    try:
        _out.write(masked(text) + "\n")
        _out.flush()
    except (BrokenPipeError, ValueError):  # whoever read our output is gone
        return


def _write_json(message: Message) -> None:
    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "message": record["message"],
        **record["extra"],
    }
    if (error := _exception(record)) is not None:
        line["error"] = error
    _emit(_encode(line).decode())


def _write_text(message: Message) -> None:
    record = message.record
    extra = dict(record["extra"])
    stage = extra.pop("stage", "")
    extra.pop("action", None)
    ids = " ".join(f"{key}={value}" for key, value in extra.items())
    error = _exception(record)
    text = f"{record['time']:%H:%M:%S} {record['level'].name:<7} {stage:<11} {record['message']}"
    _emit("  ".join(part for part in (text, ids, error) if part))

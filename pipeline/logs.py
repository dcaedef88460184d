"""Logs: JSON lines on standard output, or text on a terminal.

Every line has an ``action`` and the ids to find it again; the stage's name is bound once at start.
A value that was registered as a secret is masked wherever it turns up.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from loguru import logger as log

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["add_secret", "log", "setup"]

MASK = "***"
# Shorter values are not masked in text: they would blank out ordinary words.
SECRET_MIN_CHARS = 6

# Secrets that are replaced every hour or so are masked until so many newer ones have come.
MAX_PASSING_SECRETS = 32
# Frames of an error's traceback that are logged, the innermost ones.
TRACEBACK_FRAMES = 8
# Levels that loguru knows too.
LIBRARY_LEVELS = (logging.WARNING, logging.ERROR, logging.CRITICAL)

_lasting: set[str] = set()
_passing: OrderedDict[str, None] = OrderedDict()
# Both, and how they look in JSON and line by line; the longest first.
_secrets: list[str] = []
_out: TextIO = sys.stdout
_encode = msgspec.json.Encoder(enc_hook=str).encode


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


def _shapes(secret: str) -> set[str]:
    """A secret as it may stand in text: as it is, in JSON, in a repr, a line of it alone."""
    whole = {secret, _encode(secret).decode()[1:-1], repr(secret)[1:-1]}
    lines = {line for line in secret.splitlines() if not line.startswith("-----")}
    return {shape for shape in whole | lines if len(shape) >= SECRET_MIN_CHARS}


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
    # Not loguru's own tracebacks: with `diagnose` they hold the values of variables.
    log.add(
        _write_json if fmt == "json" else _write_text,
        level=level, format="{message}", backtrace=False, diagnose=False,
    )  # fmt: skip
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _FromLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_FromLibraries(logging.WARNING))


class _FromLibraries(logging.Handler):
    """What libraries have to say, masked and in our format; else Python prints it as it is."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        known = logging.getLevelNamesMapping().get(record.levelname) in LIBRARY_LEVELS
        log.bind(action="library", logger=record.name).opt(exception=error).log(
            record.levelname if known else record.levelno, "{}", record.getMessage()
        )


def _exception(record: Record) -> str | None:
    error = record["exception"]
    if error is None or error.value is None:
        return None
    frames = traceback.extract_tb(error.traceback)[-TRACEBACK_FRAMES:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error.value).__name__}: {error.value}" + (f" [{where}]" if where else "")


def _emit(text: str) -> None:
    # One write a line, so that lines of several processes do not run into each other.
    line = masked(text) + "\n"
    try:
        _out.write(line)
        _out.flush()
    except UnicodeEncodeError:
        _out.write(line.encode("ascii", "backslashreplace").decode("ascii"))
        _out.flush()
    except (OSError, ValueError):  # whoever read our output is gone, or its disk is full
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
    try:
        text = _encode(line).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, out of JSON
        text = json.dumps(line, default=str)
    _emit(text)


def _write_text(message: Message) -> None:
    record = message.record
    extra = dict(record["extra"])
    stage = extra.pop("stage", "")
    extra.pop("action", None)
    ids = " ".join(f"{key}={value}" for key, value in extra.items())
    error = _exception(record)
    text = f"{record['time']:%H:%M:%S} {record['level'].name:<7} {stage:<11} {record['message']}"
    _emit("  ".join(part for part in (text, ids, error) if part))

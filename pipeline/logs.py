"""Logs: JSON lines on standard output, or text on a terminal.

Every line has an ``action`` and the ids to find it again; the stage's name is bound once at start.
A value that was registered as a secret is masked wherever it turns up. What is said again and again
is counted instead (:mod:`pipeline.log_sampling`). What each action means: ``docs/logs.md``.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
from loguru import logger as log

from pipeline.log_sampling import Sampler, Suppressed
from pipeline.masking import add_secret, masked

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["add_secret", "counts", "encoded", "log", "masked", "setup", "tell_suppressed"]

# Frames of an error's traceback that are logged, the innermost ones.
TRACEBACK_FRAMES = 8
# Levels that loguru knows too.
LIBRARY_LEVELS = (logging.WARNING, logging.ERROR, logging.CRITICAL)
# Lines from this level on are counted when they repeat.
SAMPLED_FROM = logging.WARNING
# Lines of this stream are all written, and those that name what is nowhere else: a row that was
# left out while REJECTED_ROWS cannot be written.
AUDIT_STREAM = "audit"
EACH_WRITTEN = frozenset({"row_set_aside"})
# Of a value that a line in text has, more would not be read.
TEXT_VALUE_CHARS = 200

_out: TextIO = sys.stdout
_as_json = True
_stage = ""
_sampler = Sampler()
_counts: Counter[str] = Counter()
# Lines come from every thread; those of the heartbeat do not pass loguru's lock.
_lock = threading.RLock()
_encode = msgspec.json.Encoder(enc_hook=str).encode


def setup(level: str, fmt: str, stage: str, *, to_stderr: bool = False) -> None:
    """Send this process's logs to standard output.

    Args:
        level: least level, e.g. ``INFO``.
        fmt: ``json`` or ``text``.
        stage: name of the process, on every line.
        to_stderr: to standard error instead, for commands whose output is something else.
    """
    global _out, _as_json, _stage, _sampler, _lock
    _out = sys.stderr if to_stderr else sys.stdout
    _as_json, _stage = fmt == "json", stage
    # A forked process goes on with nothing of its parent's.
    _sampler, _lock = Sampler(), threading.RLock()
    _counts.clear()
    log.remove()
    log.configure(extra={"stage": stage})
    # Not loguru's own tracebacks: with `diagnose` they hold the values of variables.
    log.add(_write, level=level, format="{message}", backtrace=False, diagnose=False)
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


def tell_suppressed(*, at_end: bool = False) -> None:
    """Write how many lines were not written, for each event whose minute is over.

    Whoever beats calls this; with nothing to tell it costs a tenth of a microsecond.

    Args:
        at_end: tell all of it, because the process ends.
    """
    if not len(_sampler):
        return
    now_s = time.monotonic()
    with _lock:
        for one in _sampler.end(now_s) if at_end else _sampler.due(now_s):
            _put_suppressed(one)


# A stage ends without this, and calls it itself.
atexit.register(tell_suppressed, at_end=True)


def counts() -> dict[str, int]:
    """Lines since :func:`setup` by the name of their level, those not written included."""
    return dict(_counts)


def encoded(line: Mapping[str, Any]) -> str:
    """A line as JSON text, masked, without its end."""
    try:
        text = _encode(line).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, out of JSON
        text = json.dumps(line, default=str)
    return masked(text)


def _write(message: Message) -> None:
    record = message.record
    extra, level = record["extra"], record["level"]
    with _lock:
        _counts[level.name] += 1
        if level.no >= SAMPLED_FROM and _may_be_counted(extra):
            written, told = _sampler.admit(
                time.monotonic(),
                (record["name"], record["line"]),
                str(extra.get("action", "")),
                level.name,
                str(extra.get("process") or extra.get("logger") or ""),
                # It may be kept in part, and half a secret would not be known for one.
                masked(record["message"]),
            )
            if told is not None:
                _put_suppressed(told)
            if not written:
                return
        _put(record["time"], level.name, record["message"], extra, _exception(record))


def _may_be_counted(extra: Mapping[str, Any]) -> bool:
    return extra.get("stream") != AUDIT_STREAM and extra.get("action") not in EACH_WRITTEN


def _put_suppressed(one: Suppressed) -> None:
    extra: dict[str, Any] = {"stage": _stage, "action": "suppressed", "of": one.action}
    if one.process:
        extra["process"] = one.process
    extra |= {"suppressed": one.count, "seconds": round(one.seconds, 1)}
    now = datetime.now().astimezone()
    _put(now, one.level, f"{one.count} more, the last of them: {one.last}", extra, None)


def _put(
    when: datetime, level: str, text: str, extra: Mapping[str, Any], error: str | None
) -> None:
    if _as_json:
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": level,
            "message": text,
            **extra,
        }
        if error is not None:
            line["error"] = error
        _emit(encoded(line))
        return
    ids = " ".join(
        f"{key}={_shortened(value)}"
        for key, value in extra.items()
        if key not in ("stage", "action")
    )
    said = f"{when:%H:%M:%S} {level:<7} {extra.get('stage', ''):<11} {text}"
    _emit(masked("  ".join(part for part in (said, ids, error) if part)))


def _shortened(value: object) -> str:
    # Masked before it is cut, for the same reason.
    text = masked(str(value))
    return text if len(text) <= TEXT_VALUE_CHARS else text[:TEXT_VALUE_CHARS] + "…"


def _emit(text: str) -> None:
    # One write a line, so that lines of several processes do not run into each other.
    line = text + "\n"
    try:
        _out.write(line)
        _out.flush()
    except UnicodeEncodeError:
        _out.write(line.encode("ascii", "backslashreplace").decode("ascii"))
        _out.flush()
    except (OSError, ValueError):  # whoever read our output is gone, or its disk is full
        return

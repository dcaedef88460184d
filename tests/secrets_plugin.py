"""Collects what collectors say in the whole suite, and fails the session if a secret is in it.

Each process of the suite looks through what it has seen itself; with xdist the workers tell the one
that reports. Collected are outputs of child processes, what pytest has captured of the tests, and
the text of each error that the collector's code has raised in a test.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import CollectorError
from tests import secrets_seen

KEY = "secrets_seen"
# A sandbox prints how to reach it, its parts know its secrets, and a session in a session looks
# itself.
OWN_BUSINESS = frozenset({"sandbox", "node", "pytest"})
SANDBOX_MODULES = "pipeline.sandbox"

_told: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Begin to collect."""
    # Not replaced: each does what it did, and what it said is kept beside.
    _after(subprocess.Popen, "__init__", _child_started)
    _after(subprocess.Popen, "communicate", _child_ended)
    _after(pytest.CaptureFixture, "readouterr", _captured)
    _after(CollectorError, "__init__", _raised)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what the test has printed and logged, which a passed test shows nobody."""
    if report.when == "teardown":
        for name, content in report.sections:
            secrets_seen.said(content, name)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look through all of it."""
    _told.extend(secrets_seen.leaks())
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[KEY] = _told
    elif _told:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of xdist has ended, and tells."""
    _told.extend(getattr(node, "workeroutput", {}).get(KEY, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was found."""
    if _told:
        terminalreporter.section("secrets in what was said", red=True, bold=True)
        for leak in _told:
            terminalreporter.line(leak, red=True)


# ── what is collected ────────────────────────────────────────────────────────────────────────────


def _after(kind: type, name: str, then: Any) -> None:
    original = getattr(kind, name)
    if hasattr(original, "__wrapped__") and getattr(original, KEY, False):
        return

    @functools.wraps(original)
    def tapped(self: Any, *args: Any, **words: Any) -> Any:
        result = original(self, *args, **words)
        then(self, result, args, words)
        return result

    setattr(tapped, KEY, True)
    setattr(kind, name, tapped)


def _child_started(
    child: subprocess.Popen[Any], _result: None, _args: Sequence[Any], words: dict[str, Any]
) -> None:
    settings = words.get("env") or {}
    secrets_seen.secrets_of(settings)
    if not _is_collector(child):
        return
    for stream in (words.get("stdout"), words.get("stderr")):
        if isinstance(name := getattr(stream, "name", None), str):
            secrets_seen.file(Path(name), secrets_seen.where())
    if "AUDIT_LOG" in settings:
        secrets_seen.file(Path(settings["AUDIT_LOG"]), secrets_seen.where())


def _child_ended(
    child: subprocess.Popen[Any], result: Any, _args: Sequence[Any], _words: dict[str, Any]
) -> None:
    if _is_collector(child):
        for text in result:
            secrets_seen.said(text, "output of a command")


def _is_collector(child: subprocess.Popen[Any]) -> bool:
    words = child.args if isinstance(child.args, list | tuple) else [child.args]
    return not any(
        word.startswith(SANDBOX_MODULES) or Path(word).name in OWN_BUSINESS
        for word in map(str, words)
    )


def _captured(_fixture: object, result: Any, _args: Sequence[Any], _words: dict[str, Any]) -> None:
    for text in result:
        secrets_seen.said(text, "captured output")


def _raised(
    error: CollectorError, _result: None, _args: Sequence[Any], _words: dict[str, Any]
) -> None:
    secrets_seen.said(str(error.args), f"text of a {type(error).__name__}")

"""Lines that repeat, as they are printed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline import logs
from pipeline.log_sampling import FIRST_LINES
from pipeline.logs import counts, log, setup, tell_suppressed


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No handler is left behind."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    tell_suppressed(at_end=True)
    root.handlers[:] = before
    log.remove()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refuse(times: int) -> None:
    for _ in range(times):
        log.bind(action="receive_failed", queue="q").warning("cannot receive: {}", "refused")


def test_the_rest_of_a_storm_is_one_line_with_its_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "json", "fetch")
    refuse(FIRST_LINES + 5)
    tell_suppressed()
    assert len(lines(capsys)) == FIRST_LINES
    tell_suppressed(at_end=True)
    [line] = lines(capsys)
    assert line.pop("time")
    assert line.pop("seconds") < 60
    assert line == {
        "level": "WARNING",
        "message": "5 more, the last of them: cannot receive: refused",
        "stage": "fetch",
        "action": "suppressed",
        "of": "receive_failed",
        "suppressed": 5,
    }
    tell_suppressed(at_end=True)
    assert lines(capsys) == []


def test_what_is_not_written_is_counted_as_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "json", "fetch")
    refuse(50)
    log.bind(action="loaded").info("loaded")
    assert counts() == {"WARNING": 50, "INFO": 1}
    assert len(lines(capsys)) == FIRST_LINES + 1


def test_what_is_no_error_is_never_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    setup("DEBUG", "json", "fetch")
    for level in ("DEBUG", "INFO"):
        for _ in range(50):
            log.bind(action="redo").log(level, "again")
    assert len(lines(capsys)) == 100


def test_audit_lines_and_rows_left_out_are_all_written(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "json", "load")
    for number in range(50):
        log.bind(stream="audit", action="messages_sent").error("sending stopped")
        log.bind(action="row_set_aside", row_key=number).error("A row cannot be loaded")
    assert len(lines(capsys)) == 100


def test_a_librarys_storm_does_not_hide_another_librarys_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "json", "load")
    for _ in range(50):
        logging.getLogger("urllib3").warning("retrying")
    logging.getLogger("snowflake").warning("retrying")
    assert [line["logger"] for line in lines(capsys)] == ["urllib3"] * FIRST_LINES + ["snowflake"]


def test_no_secret_is_in_what_is_kept_of_the_last_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.masking._secrets", ["key-that-nobody-sees"])
    setup("INFO", "json", "fetch")
    # The end of what is kept would cut the secret in two.
    for _ in range(FIRST_LINES + 1):
        log.bind(action="x").error("{}key-that-nobody-sees", "n " * 145)
    tell_suppressed(at_end=True)
    out = capsys.readouterr().out
    assert '"suppressed":1' in out
    assert "key-that" not in out


def test_threads_may_log_at_once_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "json", "fetch")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(refuse, 25)
    tell_suppressed(at_end=True)
    *written, told = lines(capsys)
    assert len(written) == FIRST_LINES
    assert told["suppressed"] == 200 - FIRST_LINES


def test_a_line_for_people_is_no_longer_than_they_read(capsys: pytest.CaptureFixture[str]) -> None:
    setup("INFO", "text", "fetch")
    log.bind(action="settings_in_force", settings={"A": "b" * 5000}).info("hello")
    assert len(capsys.readouterr().out) < logs.TEXT_VALUE_CHARS + 100


def test_a_process_that_ends_tells_what_it_left_out() -> None:
    code = """
from pipeline.logs import log, setup
setup("INFO", "json", "send")
for _ in range(30):
    log.bind(action="x").error("no")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["action"], last["of"], last["suppressed"]) == ("suppressed", "x", 20)


def test_a_stage_that_ends_tells_what_it_left_out() -> None:
    code = """
import socket
from multiprocessing.connection import Connection
from pipeline.config import load
from pipeline.logs import log
from pipeline.stage import Stage, run_stage

class Noisy(Stage):
    async def start(self):
        for _ in range(30):
            log.bind(action="x").error("no")

supervisor, stage = socket.socketpair()
supervisor.close()
config = load(environ={"LOG_FORMAT": "json"}, needs=())
run_stage(Noisy, "noisy", config, Connection(stage.detach()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["suppressed"] for line in told if line["action"] == "suppressed"] == [20], done
    assert told[0]["stage"] == "noisy"

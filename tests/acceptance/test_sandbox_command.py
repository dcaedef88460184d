"""``azure-collector sandbox``: what it prints, how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.stores import queue
from tests.processes import children, is_gone, title_of, until

COMMAND = [sys.executable, "-m", "pipeline", "sandbox"]
# Small: these tests ask the simulator nothing.
SMALL = ["--subscriptions", "1", "--vms", "1"]
VARIABLES = {
    "AZURE_QUEUE_CONNECTION_STRING",
    "AZURE_QUEUE_NAME",
    "AZURE_ARM_ENDPOINT",
    "AZURE_GRAPH_ENDPOINT",
    "AZURE_CREDENTIAL",
    "AZURE_ACCESS_TOKEN",
    "AZURE_GRAPH_ACCESS_TOKEN",
    "SNOWFLAKE_ACCOUNT",
    "SNOWFLAKE_USER",
    "SNOWFLAKE_PASSWORD",
    "SNOWFLAKE_ROLE",
    "SNOWFLAKE_WAREHOUSE",
    "SNOWFLAKE_HOST",
    "SNOWFLAKE_PORT",
    "SNOWFLAKE_PROTOCOL",
    "SNOWFLAKE_DATABASE",
    "SNOWFLAKE_SCHEMA",
    "SPOOL_DIR",
}
END_LIMIT_S = 20


class Command:
    """The running command, what it printed up to ``ready``, and its children."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.settings: dict[str, str] = {}

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "ready\n":
                return
            name, equals, value = line.rstrip("\n").partition("=")
            assert equals, line
            self.settings[name] = value
        raise AssertionError(self.errors())

    def children(self) -> list[int]:
        return children(self.process.pid)

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def command(*arguments: str, **variables: str) -> Iterator[Command]:
    with subprocess.Popen(
        [*COMMAND, *SMALL, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        try:
            yield Command(process)
        finally:
            process.terminate()
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def assert_gone(pids: list[int]) -> None:
    until(lambda: all(map(is_gone, pids)), END_LIMIT_S, f"not all of {pids} ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_where_everything_is_and_ends_at_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with command("--data", str(tmp_path)) as sandbox:
        sandbox.await_ready()
        assert sandbox.settings.keys() >= VARIABLES
        assert sandbox.settings["AZURE_CREDENTIAL"] == "token"
        parts = sandbox.children()
        assert len(parts) == 3
        sandbox.process.send_signal(number)
        rest, errors = sandbox.process.communicate(timeout=END_LIMIT_S)
        assert (sandbox.process.returncode, rest, errors) == (0, "", "")
    assert_gone(parts)
    assert list(tmp_path.glob("snowflake/*.db"))


def test_its_queue_takes_messages_and_keeps_them_between_runs(tmp_path: Path) -> None:
    for expected in ([], ["kept"]):
        with command("--data", str(tmp_path)) as sandbox:
            sandbox.await_ready()
            with queue(sandbox.settings) as client:
                assert [message.content for message in client.receive_messages()] == expected
                client.send_message("kept")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with command("--data", str(tmp_path)) as first:
        first.await_ready()
        with command("--data", str(tmp_path)) as second:
            assert second.process.wait(END_LIMIT_S) == 3
            assert f"{tmp_path} is in use by another sandbox" in second.errors()
        assert first.process.poll() is None


def test_a_part_that_dies_ends_it_and_is_named() -> None:
    with command() as sandbox:
        sandbox.await_ready()
        parts = sandbox.children()
        azurite = next(pid for pid in parts if "azurite-queue" in title_of(pid))
        os.kill(azurite, signal.SIGKILL)
        assert sandbox.process.wait(END_LIMIT_S) == 3
        assert "Azurite was ended by SIGKILL" in sandbox.errors()
    assert_gone(parts)


def test_killed_it_leaves_no_process(tmp_path: Path) -> None:
    with command("--data", str(tmp_path)) as sandbox:
        sandbox.await_ready()
        parts = sandbox.children()
        sandbox.process.kill()
        sandbox.process.wait(END_LIMIT_S)
    assert_gone(parts)


def test_a_signal_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    with command("--data", str(tmp_path)) as sandbox:
        parts = until(sandbox.children, END_LIMIT_S)
        sandbox.process.terminate()
        assert sandbox.process.wait(END_LIMIT_S) == 0
    assert_gone(parts)


def test_without_azurite_it_says_what_to_check(tmp_path: Path) -> None:
    began = time.monotonic()
    with command(
        AZURE_COLLECTOR_CACHE=str(tmp_path / "cache"),
        npm_config_cache=str(tmp_path / "npm"),
        npm_config_registry="http://127.0.0.1:1/",
        npm_config_fetch_retries="0",
    ) as sandbox:
        assert sandbox.process.wait(30) == 3
        assert "check that the npm registry can be reached" in sandbox.errors()
    assert time.monotonic() - began < 30

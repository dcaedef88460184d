"""Opening and losing sessions with Snowflake."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.spool import SealedBatch
from stages.load import session as session_module
from stages.load.loader import Loader
from stages.load.session import connect
from tests.integration.snowflake_fixture import (
    SnowflakeServer,
    batch,
    request,
    resource,
    running,
    server,
)

__all__ = ["server"]


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"SNOWFLAKE_ACCOUNT": "OTHER"}, NotThere, "SNOWFLAKE_ACCOUNT"),
        (
            {"SNOWFLAKE_HOST": "nowhere.invalid", "SNOWFLAKE_PROTOCOL": "https"},
            DependencyError,
            "nowhere.invalid",
        ),
        ({"SNOWFLAKE_PORT": "1"}, Unreachable, "refused"),
        ({"SNOWFLAKE_PASSWORD": "wrong-password"}, Unauthorised, "SNOWFLAKE_USER"),
        ({"SNOWFLAKE_USER": "OTHER"}, Unauthorised, "SNOWFLAKE_USER"),
        ({"SNOWFLAKE_ROLE": "OTHER"}, Unauthorised, "GRANT ROLE"),
    ],
)
def test_a_failed_login_says_what_to_check(
    server: SnowflakeServer, changes: dict[str, str], kind: type[DependencyError], said: str
) -> None:
    start_s = time.monotonic()
    with pytest.raises(kind) as caught:
        connect(server.config(**changes))
    assert said in str(caught.value)
    assert "wrong-password" not in str(caught.value)
    assert time.monotonic() - start_s < 30.0


def test_a_key_pair_logs_in(server: SnowflakeServer, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    file = tmp_path / "key.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a phrase"),
        )
    )
    config = server.config(
        SNOWFLAKE_PRIVATE_KEY_FILE=str(file), SNOWFLAKE_PRIVATE_KEY_PASSPHRASE="a phrase"
    )
    with connect(config) as session:
        assert session.value("SELECT CURRENT_USER()") == "SANDBOX"


def test_a_token_logs_in(server: SnowflakeServer) -> None:
    for authenticator in ("oauth", "programmatic_access_token"):
        config = server.config(SNOWFLAKE_AUTHENTICATOR=authenticator, SNOWFLAKE_TOKEN="a-token")
        with connect(config) as session:
            assert session.value("SELECT CURRENT_USER()") == "SANDBOX"


def test_a_server_that_never_answers_is_given_up(
    server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LOGIN_LIMIT_S", 1)
    monkeypatch.setattr(session_module, "LOGIN_SOCKET_LIMIT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable):
            connect(server.config(SNOWFLAKE_PORT=str(port)))


def test_what_a_session_lacks_shows_at_its_first_statement(server: SnowflakeServer) -> None:
    with (
        connect(server.config(SNOWFLAKE_DATABASE="NOWHERE")) as session,
        pytest.raises(NotThere, match="SNOWFLAKE_DATABASE"),
    ):
        session.run("SELECT * FROM RESOURCES")


def test_a_missing_grant_is_told_apart(server: SnowflakeServer) -> None:
    with (
        connect(server.config(SNOWFLAKE_ROLE="SANDBOX_READER")) as session,
        pytest.raises(Unauthorised, match="lacks a grant"),
    ):
        session.run("CREATE TABLE T (A INTEGER)")


def test_a_lost_session_is_retryable_and_the_next_load_opens_another(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        loader = Loader(first.config())
        loader.load([batch([resource("a")])])
        first.kill()
    with running(tmp_path, first.port) as second:
        one = batch([resource("b")], [request("m-1")])
        with pytest.raises(Unreachable):
            loader.load([one])
        loaded = loader.load([one])
        assert (loaded.resources, loaded.requests) == (1, 1)
        loader.close()
        with connect(second.config()) as session:
            assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 2


def load_and_lose(server: SnowflakeServer, one: SealedBatch, lost: Callable[[str], bool]) -> None:
    """Load a batch over a connection that drops at these statements."""
    with proxy(server.port, drop=lost) as (port, dropped):
        loader = Loader(server.config(SNOWFLAKE_PORT=str(port)))
        with pytest.raises(Unreachable):
            loader.load([one])
        assert dropped
        loader.close()


def test_a_lost_answer_to_commit_leads_to_no_second_row(
    server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 1)
    one = batch([resource("once")], [request("once")])
    load_and_lose(server, one, lambda sql: sql == "COMMIT")
    loader = Loader(server.config())
    assert loader.load([one]).resources == 0  # it was committed
    loader.close()
    with connect(server.config()) as session:
        for table in ("RESOURCES", "REQUESTS"):
            sql = f"SELECT COUNT(*) FROM \"{table}\" WHERE \"MESSAGE_ID\" IN ('once', 'm-1')"
            assert session.value(sql) == 1


def test_a_lost_merge_leaves_nothing_and_the_next_load_has_all(
    server: SnowflakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "NETWORK_LIMIT_S", 1)
    one = batch([resource("merged", MESSAGE_ID="m-2")])
    load_and_lose(server, one, lambda sql: sql.lstrip().startswith("MERGE"))
    loader = Loader(server.config())
    assert loader.load([one]).resources == 1
    loader.close()


@contextmanager
def proxy(port: int, drop: Callable[[str], bool]) -> Iterator[tuple[int, list[str]]]:
    """Hand requests on, but keep back the answers to the statements that ``drop`` names."""
    dropped: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            onward = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if "query-request" in self.path:
                sql = json.loads(gzip.decompress(body))["sqlText"]
                if drop(sql):
                    dropped.append(sql)
                    self.close_connection = True
                    return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET = handle_request

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_port, dropped
        finally:
            listening.shutdown()
            thread.join()

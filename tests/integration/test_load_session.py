"""Opening and losing sessions with Snowflake."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
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


def test_between_loads_it_shows_whether_snowflake_answers(
    tmp_path: Path, server: SnowflakeServer
) -> None:
    loader = Loader(replace(server.config(), spool_dir=tmp_path))
    loader.ask()
    first = loader._session
    assert first is not None
    loader.ask()
    assert loader._session is first, "it is still good"
    # As Snowflake does after hours, or an administrator.
    first.connection.rest.delete_session()
    loader.ask()
    assert loader._session is not first
    assert loader._session is not None
    assert loader._session.value("SELECT 1") == 1
    loader._config = replace(loader._config, snowflake_port=1)
    with pytest.raises(Unreachable):
        loader.ask()
    loader.close()

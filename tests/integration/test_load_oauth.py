"""Logins by OAuth client credentials: the identity provider is a stand-in over TLS."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.logs import masked
from stages.load import oauth
from stages.load.failures import SecretRefused
from stages.load.session import connect
from tests.acceptance.chaos.proxy import HOST
from tests.integration.login_fixture import first_login, proxy, settings, user
from tests.integration.snowflake_fixture import SnowflakeServer, server
from tests.standins.http_server import Answer, Fault
from tests.standins.oauth import CLIENT, PATH, SECRET, TokenEndpoint
from tests.standins.snowflake_proxy import SnowflakeProxy

__all__ = ["first_login", "proxy", "server"]
pytest_plugins = ["tests.standins.plugin"]


@pytest.fixture
def provider(ca: Any, trusted: Path) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(ca) as standing:
        yield standing


def client(
    server: SnowflakeServer, proxy: SnowflakeProxy, provider: TokenEndpoint, **changes: str
) -> Config:
    given = {
        "SNOWFLAKE_USER": "SANDBOX",
        "SNOWFLAKE_ROLE": "SANDBOX",
        "SNOWFLAKE_AUTHENTICATOR": "oauth_client_credentials",
        "SNOWFLAKE_OAUTH_CLIENT_ID": CLIENT,
        "SNOWFLAKE_OAUTH_CLIENT_SECRET": SECRET,
        "SNOWFLAKE_OAUTH_TOKEN_URL": provider.token_url,
    }
    return settings(server, proxy, **given | changes)


@pytest.mark.parametrize("scope", ["", "api://snowflake/.default"])
def test_a_client_gets_a_token_for_each_login(
    scope: str, server: SnowflakeServer, proxy: SnowflakeProxy, provider: TokenEndpoint
) -> None:
    config = client(server, proxy, provider, SNOWFLAKE_OAUTH_SCOPE=scope)
    assert [user(config), user(config)] == ["SANDBOX", "SANDBOX"]
    assert [data["TOKEN"] for data in proxy.logins] == list(provider.issued)
    assert set(provider.issued.values()) == {scope or "session:role:SANDBOX"}
    assert {data["AUTHENTICATOR"] for data in proxy.logins} == {"OAUTH"}
    assert SECRET not in str(proxy.logins)
    assert all(token not in masked(token) for token in provider.issued)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Answer(503, b"busy"), Unreachable, "503"),
        (Answer(429, {}, {"Retry-After": "1000"}), Unreachable, "429"),
        (Answer(200, b"<html>"), NotThere, "SNOWFLAKE_OAUTH_TOKEN_URL"),
        (Answer(200, {"token_type": "Bearer"}), NotThere, "without a token"),
        (Answer(200, b"x" * (oauth.ANSWER_MAX_BYTES + 1)), Unreachable, "time"),
        (Answer(404, {}), NotThere, "404"),
        (Answer(307, {}, {"Location": f"https://127.0.0.1:1{PATH}"}), NotThere, "307"),
        (Answer(400, {"error": "invalid_scope"}), Unauthorised, "SNOWFLAKE_OAUTH_SCOPE"),
        (Answer(401, {"error": "invalid_client"}), SecretRefused, "OAUTH_CLIENT_SECRET"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_what_the_provider_says_is_told_apart(
    fault: Answer,
    kind: type[DependencyError],
    said: str,
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    provider: TokenEndpoint,
) -> None:
    provider.faults.append(Fault(fault))
    with pytest.raises(kind, match=said) as caught:
        connect(client(server, proxy, provider))
    assert type(caught.value) is kind
    assert provider.counts["failed"] == 1
    assert proxy.logins == []


def test_a_wrong_secret_and_a_scope_that_is_not_granted(
    server: SnowflakeServer, proxy: SnowflakeProxy, provider: TokenEndpoint
) -> None:
    wrong = "wrong-secret-of-the-client"
    with pytest.raises(SecretRefused, match="invalid_client") as caught:
        connect(client(server, proxy, provider, SNOWFLAKE_OAUTH_CLIENT_SECRET=wrong))
    assert wrong not in str(caught.value)
    with pytest.raises(Unauthorised, match="invalid_scope: Not allowed"):
        connect(client(server, proxy, provider, SNOWFLAKE_OAUTH_SCOPE="session:role:OTHER"))


def test_a_provider_that_is_silent_is_given_up(
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    provider: TokenEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oauth, "READ_LIMIT_S", 0.3)
    provider.silent = True
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match="did not answer in time"):
        connect(client(server, proxy, provider))
    assert time.monotonic() - began_s < 5
    assert provider.counts["silent"] == 1


def test_a_provider_that_nobody_vouches_for_gets_no_secret(
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    provider: TokenEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Unreachable, match="certificate"):
        connect(client(server, proxy, provider))
    assert provider.counts == {}


def test_a_provider_that_is_not_there(server: SnowflakeServer, proxy: SnowflakeProxy) -> None:
    with socket.create_server((HOST, 0)) as closing:
        port = closing.getsockname()[1]
    with TokenEndpoint() as provider:
        url = f"http://{HOST}:{port}{PATH}"
        with pytest.raises(Unreachable, match="SNOWFLAKE_OAUTH_TOKEN_URL"):
            connect(client(server, proxy, provider, SNOWFLAKE_OAUTH_TOKEN_URL=url))

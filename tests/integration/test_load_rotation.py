"""A secret is rotated while the collector runs: it is read from Key Vault again, without a restart.

Key Vault and Entra ID are stand-ins over TLS; the password is changed in the sandbox's Snowflake,
and keys and tokens in a proxy before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from loguru import logger

from pipeline import config as configuration
from pipeline.config import Config
from pipeline.errors import Unauthorised, Unreachable
from stages.load import rotation
from stages.load import session as session_module
from stages.load.failures import SecretRefused
from stages.load.loader import Loader
from stages.load.rotation import Rotation
from stages.load.session import connect
from tests.acceptance.chaos.proxy import HOST
from tests.integration.snowflake_fixture import (
    PASSWORD,
    SnowflakeServer,
    batch,
    resource,
    running,
    server,
)
from tests.standins import snowflake_answers as answers
from tests.standins.http_server import Answer, Fault
from tests.standins.keyvault import KeyVault
from tests.standins.oauth import CLIENT, SECRET, TokenEndpoint
from tests.standins.snowflake_answers import Refusal
from tests.standins.snowflake_proxy import SnowflakeProxy

__all__ = ["server"]
pytest_plugins = ["tests.standins.plugin"]

NEW = "the-new-one-from-the-vault"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """As in a process that has not logged in yet, with a clock that the test moves."""
    monkeypatch.setattr(session_module, "ROTATION", Rotation())
    made = Clock()
    monkeypatch.setattr(session_module, "time", made)
    return made


class Clock:
    """What the session takes for the time."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Lines of the log."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), format="{extra} {message}")
    yield lines
    logger.remove(handler)


@pytest.fixture
def proxy(server: SnowflakeServer) -> Iterator[SnowflakeProxy]:
    with SnowflakeProxy(HOST, server.port) as standing:
        yield standing


def read(
    server: SnowflakeServer, vault: KeyVault, application: dict[str, str], **changes: str
) -> Config:
    """The settings as a collector has them at its start."""
    environ = server.environ(**application, AZURE_KEYVAULT_URL=vault.url, **changes)
    return configuration.load(environ=environ, needs=("snowflake",))


def test_the_password_is_changed_between_two_loads(
    vault: KeyVault, application: dict[str, str], tmp_path: Path, said: list[str], clock: Clock
) -> None:
    vault.secrets["snowflake"] = PASSWORD
    with running(tmp_path) as first:
        config = read(first, vault, application, SNOWFLAKE_PASSWORD="kv:snowflake")
        loader = Loader(replace(config, spool_dir=tmp_path / "spool"))
        loader.load([batch([resource("before")])])
        first.kill()
    asked = vault.counts["get"]
    with running(tmp_path, first.port, NEW) as second:
        one = batch([resource("after")])
        with pytest.raises(Unreachable):  # the session has gone with the server
            loader.load([one])
        with pytest.raises(Unauthorised):  # the vault has the old one still
            loader.load([one])
        assert vault.counts["get"] == asked + 1
        vault.secrets["snowflake"] = NEW
        with pytest.raises(Unauthorised):  # asked a moment ago
            loader.load([one])
        assert vault.counts["get"] == asked + 1
        clock.pass_s(rotation.READ_AGAIN_EVERY_S + 1)
        assert loader.load([one]).resources == 1
        assert vault.counts["get"] == asked + 2
        # What comes next takes it from the first, with the settings of the start.
        with connect(config) as session:
            assert session.value('SELECT COUNT(*) FROM "RESOURCES"') == 2
        assert vault.counts["get"] == asked + 2
        loader.close()
        assert second.port == first.port
    log = "".join(said)
    assert "no newer secret" in log
    assert "there is a newer secret in the vault" in log
    assert NEW not in log
    assert PASSWORD not in log


@pytest.mark.parametrize("authenticator", ["oauth", "programmatic_access_token"])
def test_a_token_is_replaced(
    authenticator: str,
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    vault: KeyVault,
    application: dict[str, str],
) -> None:
    vault.secrets["token"] = "the-old-token"
    given = {
        "SNOWFLAKE_AUTHENTICATOR": authenticator,
        "SNOWFLAKE_TOKEN": "kv:token",
        "SNOWFLAKE_PORT": str(proxy.port),
    }
    config = read(server, vault, application, **given)

    def check(data: dict[str, Any]) -> Refusal | None:
        return None if data["TOKEN"] == NEW else answers.OAUTH_TOKEN_EXPIRED

    proxy.check_login = check
    vault.secrets["token"] = NEW
    connect(config).close()
    assert [data["TOKEN"] for data in proxy.logins] == ["the-old-token", NEW]
    # With the settings of the start, and without being refused once more.
    connect(config).close()
    assert [data["TOKEN"] for data in proxy.logins][2:] == [NEW]


def test_the_secret_of_an_oauth_client_is_replaced(
    server: SnowflakeServer,
    vault: KeyVault,
    application: dict[str, str],
    ca: Any,
) -> None:
    vault.secrets["client"] = "the-old-secret"
    with TokenEndpoint(ca) as provider:
        given = {
            "SNOWFLAKE_AUTHENTICATOR": "oauth_client_credentials",
            "SNOWFLAKE_ROLE": "SANDBOX",
            "SNOWFLAKE_OAUTH_CLIENT_ID": CLIENT,
            "SNOWFLAKE_OAUTH_CLIENT_SECRET": "kv:client",
            "SNOWFLAKE_OAUTH_TOKEN_URL": provider.token_url,
        }
        config = read(server, vault, application, **given)
        vault.secrets["client"] = SECRET
        connect(config).close()
        assert provider.counts["token"] == 2


def test_a_refused_secret_is_not_shown_twice(
    server: SnowflakeServer, proxy: SnowflakeProxy, vault: KeyVault, application: dict[str, str]
) -> None:
    """Snowflake locks a user after a few wrong passwords."""
    vault.secrets["snowflake"] = "wrong-all-the-time"
    given = {"SNOWFLAKE_PASSWORD": "kv:snowflake", "SNOWFLAKE_PORT": str(proxy.port)}
    config = read(server, vault, application, **given)
    with pytest.raises(SecretRefused):
        connect(config)
    assert len(proxy.logins) == 1


def test_other_refusals_ask_no_vault(
    server: SnowflakeServer, proxy: SnowflakeProxy, vault: KeyVault, application: dict[str, str]
) -> None:
    vault.secrets["snowflake"] = PASSWORD
    given = {"SNOWFLAKE_PASSWORD": "kv:snowflake", "SNOWFLAKE_PORT": str(proxy.port)}
    config = read(server, vault, application, **given)
    asked = vault.counts["get"]
    proxy.check_login = lambda data: answers.NETWORK_POLICY
    with pytest.raises(Unauthorised, match="network policy"):
        connect(config)
    assert vault.counts["get"] == asked


def test_a_secret_that_is_not_in_the_vault_asks_no_vault(server: SnowflakeServer) -> None:
    with pytest.raises(SecretRefused):
        connect(server.config(SNOWFLAKE_PASSWORD="wrong"))


def test_a_vault_that_fails_leaves_the_refusal_as_it_is(
    server: SnowflakeServer,
    vault: KeyVault,
    application: dict[str, str],
    said: list[str],
) -> None:
    vault.secrets["snowflake"] = "the-old-password"
    config = read(server, vault, application, SNOWFLAKE_PASSWORD="kv:snowflake")
    refusal = Answer(403, {"error": {"code": "Forbidden", "message": "The vault is closed."}})
    vault.faults.append(Fault(refusal))
    with pytest.raises(SecretRefused, match="Incorrect username or password"):
        connect(config)
    assert vault.counts["failed"] == 1
    assert "its secrets cannot be read again" in "".join(said)


def test_a_key_in_the_vault_that_is_none_waits_for_a_better_one(
    server: SnowflakeServer,
    vault: KeyVault,
    application: dict[str, str],
    clock: Clock,
) -> None:
    """A collector that has loaded does not end for what somebody has put into the vault."""
    vault.secrets["snowflake"] = PASSWORD
    connect(read(server, vault, application, SNOWFLAKE_PASSWORD="kv:snowflake")).close()
    vault.secrets["key"] = "-----BEGIN NONSENSE-----"
    config = read(server, vault, application, SNOWFLAKE_PRIVATE_KEY="kv:key", SNOWFLAKE_PASSWORD="")
    with pytest.raises(SecretRefused, match="is not a private key"):
        connect(config)
    vault.secrets["key"] = _pem()
    clock.pass_s(rotation.READ_AGAIN_EVERY_S + 1)
    connect(config).close()


def _pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

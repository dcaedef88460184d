"""What goes to Snowflake at a login, for each SNOWFLAKE_AUTHENTICATOR, and what a refusal says.

The sandbox looks at passwords only. A proxy before it looks at the rest as Snowflake does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline.errors import Unauthorised, Unreachable
from stages.load import workload
from stages.load.failures import SecretRefused
from stages.load.session import connect
from tests.integration.login_fixture import first_login, proxy, settings, user
from tests.integration.snowflake_fixture import PASSWORD, SnowflakeServer, server
from tests.standins import snowflake_answers as answers
from tests.standins.entra import CLIENT as ENTRA_CLIENT
from tests.standins.entra import TENANT, Entra
from tests.standins.http_server import Answer, Request, StandIn
from tests.standins.snowflake_answers import Refusal
from tests.standins.snowflake_proxy import SnowflakeProxy

__all__ = ["first_login", "proxy", "server"]
pytest_plugins = ["tests.standins.plugin"]

KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def pem(key: rsa.RSAPrivateKey, phrase: str | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(phrase.encode())
        if phrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def known(key: rsa.RSAPrivateKey) -> Any:
    """What Snowflake does with a user's RSA_PUBLIC_KEY."""

    def check(data: dict[str, Any]) -> Refusal | None:
        assert data["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
        try:
            claims = jwt.decode(data["TOKEN"], key.public_key(), algorithms=["RS256"])
        except jwt.InvalidTokenError:
            return answers.JWT_INVALID
        assert claims["sub"] == f"{data['ACCOUNT_NAME']}.{data['LOGIN_NAME']}"
        assert claims["iss"].startswith(f"{claims['sub']}.SHA256:")
        return None

    return check


# ── password, key pair, tokens ───────────────────────────────────────────────────────────────────


def test_a_password_is_sent_as_such(server: SnowflakeServer, proxy: SnowflakeProxy) -> None:
    assert user(settings(server, proxy, SNOWFLAKE_PASSWORD=PASSWORD)) == "SANDBOX"
    (data,) = proxy.logins
    assert (data["LOGIN_NAME"], data["PASSWORD"]) == ("SANDBOX", PASSWORD)
    assert "TOKEN" not in data


@pytest.mark.parametrize("phrase", [None, "a phrase"])
@pytest.mark.parametrize("by_file", [True, False])
def test_a_key_signs_the_login(
    phrase: str | None,
    by_file: bool,
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    tmp_path: Path,
) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(KEYS[0], phrase))
    given = {"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": phrase or ""}
    if by_file:
        given["SNOWFLAKE_PRIVATE_KEY_FILE"] = str(file)
    else:
        given["SNOWFLAKE_PRIVATE_KEY"] = file.read_text()
    proxy.check_login = known(KEYS[0])
    assert user(settings(server, proxy, **given)) == "SANDBOX"
    (data,) = proxy.logins
    assert "PASSWORD" not in data
    assert "PRIVATE" not in str(data)
    assert phrase is None or phrase not in str(data)


def test_a_key_that_is_not_the_users_is_refused_and_a_replaced_file_is_read(
    server: SnowflakeServer, proxy: SnowflakeProxy, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(KEYS[0]))
    config = settings(server, proxy, SNOWFLAKE_PRIVATE_KEY_FILE=str(file))
    proxy.check_login = known(KEYS[0])
    user(config)
    proxy.check_login = known(KEYS[1])  # ALTER USER … SET RSA_PUBLIC_KEY
    with pytest.raises(SecretRefused, match="RSA_PUBLIC_KEY"):
        connect(config)
    file.write_text(pem(KEYS[1])[:100])  # somebody is copying it
    with pytest.raises(SecretRefused, match="is not a private key") as caught:
        connect(config)
    assert pem(KEYS[1])[60:100] not in str(caught.value)
    file.write_text(pem(KEYS[1]))
    assert user(config) == "SANDBOX"


@pytest.mark.parametrize(
    ("authenticator", "expected", "refusal"),
    [
        ("oauth", {"AUTHENTICATOR": "OAUTH"}, answers.OAUTH_TOKEN_EXPIRED),
        ("oauth", {"AUTHENTICATOR": "OAUTH"}, answers.OAUTH_TOKEN_INVALID),
        (
            "programmatic_access_token",
            {"AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN"},
            answers.PAT_INVALID,
        ),
    ],
)
def test_a_token_is_sent_with_its_kind(
    authenticator: str,
    expected: dict[str, str],
    refusal: Refusal,
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
) -> None:
    config = settings(
        server, proxy, SNOWFLAKE_AUTHENTICATOR=authenticator, SNOWFLAKE_TOKEN="the-token"
    )
    assert user(config) == "SANDBOX"
    (data,) = proxy.logins
    assert data.items() >= (expected | {"TOKEN": "the-token"}).items()
    assert "PASSWORD" not in data
    proxy.check_login = lambda data: refusal
    with pytest.raises(SecretRefused, match="SNOWFLAKE_TOKEN"):
        connect(config)
    assert proxy.answered == {refusal.code: 1}


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (answers.NETWORK_POLICY, "network policy"),
        (Refusal("390999", "A reason of tomorrow."), "A reason of tomorrow"),
    ],
    ids=["network policy", "unknown"],
)
def test_what_no_other_secret_mends(
    refusal: Refusal, said: str, server: SnowflakeServer, proxy: SnowflakeProxy
) -> None:
    proxy.check_login = lambda data: refusal
    with pytest.raises(Unauthorised, match=said) as caught:
        connect(settings(server, proxy, SNOWFLAKE_PASSWORD=PASSWORD))
    assert not isinstance(caught.value, SecretRefused)


# ── workload identity ────────────────────────────────────────────────────────────────────────────


class AzureFunctions(StandIn):
    """The token service of an Azure function; plain HTTP, as the real one."""

    header = "shown-by-the-platform"

    def respond(self, request: Request) -> Answer:
        if request.headers.get("x-identity-header") != self.header:
            return Answer(401, {"error": "unauthorized"})
        self.counts["token"] += 1
        claims = {"iss": "https://sts.windows.net/tenant/", "sub": "managed-identity"}
        token = jwt.encode(claims, "k" * 32, algorithm="HS256")
        return Answer(200, {"access_token": token, "resource": request.query["resource"]})


@pytest.fixture
def to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    # The connector gives a workload's token to Snowflake's own hosts only.
    monkeypatch.setenv("SNOWFLAKE_WIF_ALLOWED_HOST_SUFFIXES", "localhost")


@pytest.mark.usefixtures("to_this_machine")
def test_a_workload_shows_the_token_of_its_provider(
    server: SnowflakeServer, proxy: SnowflakeProxy
) -> None:
    claims = {"iss": "https://kubernetes", "sub": "system:serviceaccount:a:b"}
    token = jwt.encode(claims, "k" * 32, algorithm="HS256")
    config = settings(
        server,
        proxy,
        SNOWFLAKE_HOST="localhost",
        SNOWFLAKE_AUTHENTICATOR="workload_identity",
        SNOWFLAKE_TOKEN=token,
    )
    assert user(config) == "SANDBOX"
    (data,) = proxy.logins
    assert (data["AUTHENTICATOR"], data["PROVIDER"]) == ("WORKLOAD_IDENTITY", "OIDC")
    assert data["TOKEN"] == token


@pytest.mark.usefixtures("to_this_machine")
def test_a_workload_on_azure_shows_its_managed_identity(
    server: SnowflakeServer, proxy: SnowflakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(
        server, proxy, SNOWFLAKE_HOST="localhost", SNOWFLAKE_AUTHENTICATOR="workload_identity"
    )
    with AzureFunctions() as platform:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{platform.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", platform.header)
        assert user(config) == "SANDBOX"
        assert platform.counts["token"] == 1
        monkeypatch.setenv("IDENTITY_HEADER", "another")
        with pytest.raises(Unauthorised, match="401"):
            connect(config)
    (data,) = proxy.logins
    assert (data["AUTHENTICATOR"], data["PROVIDER"]) == ("WORKLOAD_IDENTITY", "AZURE")
    assert jwt.decode(data["TOKEN"], options={"verify_signature": False})["sub"] == (
        "managed-identity"
    )


@pytest.fixture
def pod(entra: Entra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entra:
    """A pod on AKS: what its webhook sets, and an Entra ID that gives JSON Web Tokens."""
    file = tmp_path / "service-account-token"
    file.write_text("of-the-pod")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    monkeypatch.setenv("AZURE_CLIENT_ID", ENTRA_CLIENT)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.url)
    claims = {"iss": f"https://sts.windows.net/{TENANT}/", "sub": "the-pod"}
    token = jwt.encode(claims, "k" * 32, algorithm="HS256")
    monkeypatch.setattr(entra, "issue", lambda audience: token)
    return entra


@pytest.mark.usefixtures("to_this_machine")
def test_a_workload_in_a_pod_shows_the_token_that_entra_gives_for_its_own(
    server: SnowflakeServer, proxy: SnowflakeProxy, pod: Entra
) -> None:
    config = settings(
        server, proxy, SNOWFLAKE_HOST="localhost", SNOWFLAKE_AUTHENTICATOR="workload_identity"
    )
    assert user(config) == "SANDBOX"
    (data,) = proxy.logins
    assert (data["PROVIDER"], data["TOKEN"]) == ("AZURE", pod.issue(""))
    pod.accept_assertions = False
    with pytest.raises(Unauthorised, match="AADSTS7000215"):
        connect(config)


@pytest.mark.usefixtures("to_this_machine")
def test_a_pod_whose_entra_is_silent_is_given_up(
    server: SnowflakeServer,
    proxy: SnowflakeProxy,
    pod: Entra,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workload, "READ_LIMIT_S", 0.3)
    pod.silent = True
    config = settings(
        server, proxy, SNOWFLAKE_HOST="localhost", SNOWFLAKE_AUTHENTICATOR="workload_identity"
    )
    began_s = time.monotonic()
    with pytest.raises(Unreachable):
        connect(config)
    assert time.monotonic() - began_s < 10
    assert pod.counts["silent"] >= 1

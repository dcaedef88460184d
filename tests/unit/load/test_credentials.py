"""SNOWFLAKE_AUTHENTICATOR as the connector's arguments; keys and secrets in no error."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline import config
from pipeline.errors import ConfigError
from stages.load.credentials import login_arguments

BASE = {
    "SNOWFLAKE_ACCOUNT": "A",
    "SNOWFLAKE_USER": "U",
    "SNOWFLAKE_DATABASE": "D",
    "SNOWFLAKE_SCHEMA": "S",
}
KEY = rsa.generate_private_key(65537, 2048)
DER = KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


def pem(passphrase: str | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    text = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return text.decode()


def arguments(**settings: str) -> dict[str, object]:
    return login_arguments(config.load(environ=BASE | settings, needs=("snowflake",)))


def test_a_password() -> None:
    given = arguments(SNOWFLAKE_PASSWORD="open-sesame")
    assert given == {"authenticator": "SNOWFLAKE", "password": "open-sesame"}


@pytest.mark.parametrize("passphrase", [None, "a phrase"])
def test_a_key_is_the_default_when_one_is_given(tmp_path: Path, passphrase: str | None) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(passphrase))
    phrase = {"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": passphrase} if passphrase else {}
    expected = {"authenticator": "SNOWFLAKE_JWT", "private_key": DER}
    assert arguments(SNOWFLAKE_PRIVATE_KEY_FILE=str(file), **phrase) == expected
    assert arguments(SNOWFLAKE_PRIVATE_KEY=pem(passphrase), **phrase) == expected


def test_a_key_on_one_line_with_written_newlines_is_read() -> None:
    assert arguments(SNOWFLAKE_PRIVATE_KEY=pem().replace("\n", "\\n"))["private_key"] == DER


@pytest.mark.parametrize(
    ("authenticator", "expected"),
    [
        ("oauth", {"authenticator": "OAUTH"}),
        ("programmatic_access_token", {"authenticator": "PROGRAMMATIC_ACCESS_TOKEN"}),
        (
            "workload_identity",
            {"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "OIDC"},
        ),
    ],
)
def test_a_token(authenticator: str, expected: dict[str, str]) -> None:
    given = arguments(SNOWFLAKE_AUTHENTICATOR=authenticator, SNOWFLAKE_TOKEN="the-token")
    assert given == expected | {"token": "the-token"}


def test_a_workload_identity_is_azures_unless_a_token_is_given() -> None:
    given = arguments(SNOWFLAKE_AUTHENTICATOR="workload_identity")
    assert given == {
        "authenticator": "WORKLOAD_IDENTITY",
        "workload_identity_provider": "AZURE",
    }


@pytest.mark.parametrize(
    ("key", "phrase", "said"),
    [
        ("-----BEGIN RSA NONSENSE-----", None, "is not a private key"),
        (pem("a phrase"), None, "set SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"),
        (pem("a phrase"), "another", "does not open it"),
        (pem(), "a phrase", "unset SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"),
    ],
    ids=["no key", "no phrase", "wrong phrase", "phrase too many"],
)
def test_a_key_that_cannot_be_read(key: str, phrase: str | None, said: str) -> None:
    extra = {"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": phrase} if phrase else {}
    with pytest.raises(ConfigError) as caught:
        arguments(SNOWFLAKE_PRIVATE_KEY=key, **extra)
    (problem,) = caught.value.problems
    assert problem.startswith("SNOWFLAKE_PRIVATE_KEY: ")
    assert said in problem
    assert key[40:80] not in problem or "NONSENSE" in key
    assert phrase is None or phrase not in problem
    assert caught.value.__cause__ is None


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SNOWFLAKE_PRIVATE_KEY_FILE"):
        arguments(SNOWFLAKE_PRIVATE_KEY_FILE=str(tmp_path / "none.pem"))

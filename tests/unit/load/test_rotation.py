"""When the vault is asked for newer secrets, and which settings that changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline import config as configuration
from pipeline.config import Config
from pipeline.errors import Unreachable
from stages.load import rotation
from stages.load.rotation import READ_AGAIN_EVERY_S, Rotation

ENVIRON = {
    "SNOWFLAKE_ACCOUNT": "A",
    "SNOWFLAKE_USER": "U",
    "SNOWFLAKE_DATABASE": "D",
    "SNOWFLAKE_SCHEMA": "S",
    "SNOWFLAKE_PASSWORD": "first-password",
    "AZURE_KEYVAULT_URL": "https://v.vault.azure.net",
    "AZURE_CLIENT_SECRET": "of-azure",
}


class Vault:
    """What ``pipeline.config.read_again`` does, with a count."""

    def __init__(self) -> None:
        self.asked = 0
        self.password: str | None = "first-password"

    def read_again(self, config: Config, prefix: str) -> Config:
        assert prefix == "SNOWFLAKE_"
        self.asked += 1
        if self.password is None:
            raise Unreachable("Key Vault", "no answer")
        return replace(config, snowflake_password=self.password)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Vault:
    made = Vault()
    monkeypatch.setattr(rotation.settings, "read_again", made.read_again)
    return made


@pytest.fixture
def config() -> Config:
    plain = configuration.load(environ=ENVIRON, needs=())
    sources = {
        **plain.sources,
        "SNOWFLAKE_PASSWORD": "Key Vault secret snow",
        "AZURE_QUEUE_CONNECTION_STRING": "Key Vault secret queue",
    }
    return replace(plain, sources=sources)


def test_where_a_secret_came_from_is_kept(config: Config) -> None:
    assert config.came_from_vault("SNOWFLAKE_") == {"SNOWFLAKE_PASSWORD": "snow"}


def test_a_newer_secret_is_found_and_stays_known(config: Config, vault: Vault) -> None:
    known = Rotation()
    vault.password = "second-password"
    newer = known.read_again(config, 0.0)
    assert newer is not None
    assert newer.snowflake_password == "second-password"
    assert known.newest(config) == newer
    assert vault.asked == 1


def test_another_login_of_the_same_process_takes_what_was_read(
    config: Config, vault: Vault
) -> None:
    known = Rotation()
    vault.password = "second-password"
    newer = known.read_again(config, 0.0)
    assert known.read_again(config, 1.0) == newer
    assert vault.asked == 1


def test_the_vault_is_asked_once_in_a_while(config: Config, vault: Vault) -> None:
    known = Rotation()
    for now_s in (0.0, 1.0, READ_AGAIN_EVERY_S - 0.1):
        assert known.read_again(config, now_s) is None
    assert vault.asked == 1
    vault.password = "second-password"
    assert known.read_again(config, READ_AGAIN_EVERY_S) is not None
    assert vault.asked == 2


def test_a_vault_that_does_not_answer_is_asked_again_later(config: Config, vault: Vault) -> None:
    known = Rotation()
    vault.password = None
    assert known.read_again(config, 0.0) is None
    vault.password = "second-password"
    assert known.read_again(config, 1.0) is None
    assert known.read_again(config, READ_AGAIN_EVERY_S) is not None


def test_settings_that_never_saw_the_vault_are_left_alone(vault: Vault) -> None:
    plain = configuration.load(environ=ENVIRON, needs=())
    known = Rotation()
    assert known.read_again(plain, 0.0) is None
    assert known.newest(plain) is plain
    assert vault.asked == 0

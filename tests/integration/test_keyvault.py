"""``kv:`` secrets through the real SecretClient and azure-identity, against TLS stand-ins."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping

import pytest

from pipeline.commands.config_commands import show_config, validate_config
from pipeline.config import Config, load
from pipeline.errors import (
    EXIT_CONFIG,
    EXIT_DEPENDENCY,
    EXIT_DONE,
    ConfigError,
    DependencyError,
    NotThere,
    Unauthorised,
    Unreachable,
)
from pipeline.logs import masked
from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Fault
from tests.standins.keyvault import KeyVault

pytest_plugins = ["tests.standins.plugin"]

PASSWORD = "s3cret-from-the-vault"


@pytest.fixture
def settings(vault: KeyVault, application: dict[str, str]) -> dict[str, str]:
    vault.secrets["snowflake-password"] = PASSWORD
    return {
        **application,
        "AZURE_KEYVAULT_URL": vault.url,
        "SNOWFLAKE_PASSWORD": "kv:snowflake-password",
    }


def read(settings: Mapping[str, str], **more: str) -> Config:
    return load(overrides={**settings, **more}, environ={}, needs=())


def test_a_secret_is_read_and_its_origin_is_kept(
    settings: dict[str, str], vault: KeyVault, entra: Entra
) -> None:
    config = read(settings)
    assert config.snowflake_password == PASSWORD
    assert config.sources["SNOWFLAKE_PASSWORD"] == "Key Vault secret snowflake-password"
    assert (vault.counts["challenge"], vault.counts["get"]) == (1, 1)
    assert {issued.audience for issued in entra.issued.values()} == {vault.resource}


def test_one_secret_for_two_settings_is_read_once(
    settings: dict[str, str], vault: KeyVault
) -> None:
    config = read(settings, SNOWFLAKE_TOKEN="kv:snowflake-password")
    assert config.snowflake_token == config.snowflake_password == PASSWORD
    assert vault.counts["get"] == 1


def test_a_secret_that_was_read_is_shown_nowhere(settings: dict[str, str]) -> None:
    config = read(settings)
    out = io.StringIO()
    show_config(config, out=out)
    show_config(config, as_json=True, out=out)
    shown = out.getvalue() + repr(config) + str(config) + masked(f"a log line with {PASSWORD}")
    assert PASSWORD not in shown
    assert "Key Vault secret snowflake-password" in out.getvalue()


def test_the_configuration_crosses_to_another_process_with_its_secrets(
    settings: dict[str, str],
) -> None:
    config = read(settings)
    assert pickle.loads(pickle.dumps(config)) == config


def test_validating_connects_to_nothing(settings: dict[str, str], vault: KeyVault) -> None:
    out = io.StringIO()
    assert validate_config(overrides=settings, environ={}, needs=(), out=out) == EXIT_DONE
    assert "kv:snowflake-password" in out.getvalue()
    assert not vault.counts


def test_a_secret_that_is_not_what_its_setting_takes_is_a_problem_with_its_origin(
    settings: dict[str, str], vault: KeyVault
) -> None:
    vault.secrets["queue"] = "nonsense-that-is-secret"
    with pytest.raises(ConfigError) as caught:
        read(settings, AZURE_QUEUE_CONNECTION_STRING="kv:queue")
    assert "AZURE_QUEUE_CONNECTION_STRING" in str(caught.value)
    assert "Key Vault secret queue" in str(caught.value)
    assert "nonsense" not in str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG


def test_an_account_key_from_the_vault_is_masked_in_logs(
    settings: dict[str, str], vault: KeyVault
) -> None:
    vault.secrets["queue"] = "AccountName=a;AccountKey=c2VjcmV0LWtleQ==;EndpointSuffix=x.test"
    config = read(settings, AZURE_QUEUE_CONNECTION_STRING="kv:queue")
    assert config.azure_queue_connection_string == vault.secrets["queue"]
    assert "c2VjcmV0LWtleQ==" not in masked("key c2VjcmV0LWtleQ== in a line")


# ── failures told apart ──────────────────────────────────────────────────────────────────────────


def failure(settings: Mapping[str, str], **more: str) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        read(settings, **more)
    assert caught.value.exit_code == EXIT_DEPENDENCY
    assert caught.value.hint
    assert PASSWORD not in str(caught.value)
    return caught.value


def test_a_vault_whose_name_is_unknown(settings: dict[str, str]) -> None:
    error = failure(settings, AZURE_KEYVAULT_URL="https://nobody.vault.invalid")
    assert isinstance(error, Unreachable)
    assert "no host is called nobody.vault.invalid" in str(error)


def test_a_vault_that_refuses_the_connection(settings: dict[str, str], vault: KeyVault) -> None:
    vault.close()
    error = failure(settings)
    assert isinstance(error, Unreachable)
    assert "refused the connection" in str(error)


def test_a_vault_whose_certificate_is_not_trusted(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    error = failure(settings)
    assert isinstance(error, Unreachable)
    assert "not trusted" in str(error)


def test_an_identity_without_the_role_is_told_which(
    settings: dict[str, str], vault: KeyVault
) -> None:
    vault.role = False
    error = failure(settings)
    assert isinstance(error, Unauthorised)
    assert "Key Vault Secrets User" in str(error)


def test_an_application_whose_secret_is_wrong(settings: dict[str, str]) -> None:
    error = failure(settings, AZURE_CLIENT_SECRET="wrong~secret")
    assert isinstance(error, Unauthorised)
    assert "AADSTS7000215" in str(error)
    assert "wrong~secret" not in str(error)


def test_a_token_that_the_vault_refuses(settings: dict[str, str], entra: Entra) -> None:
    entra.issue = lambda _audience: "a-token-of-another-tenant"  # type: ignore[method-assign]
    error = failure(settings)
    assert isinstance(error, Unauthorised)
    assert "tenant" in error.hint


def test_secrets_that_do_not_exist_are_all_named(settings: dict[str, str]) -> None:
    error = failure(settings, SNOWFLAKE_PASSWORD="kv:absent-one", SNOWFLAKE_TOKEN="kv:absent-two")
    assert isinstance(error, NotThere)
    assert "absent-one" in str(error)
    assert "absent-two" in str(error)


def test_a_disabled_secret(settings: dict[str, str], vault: KeyVault) -> None:
    vault.disabled.add("snowflake-password")
    error = failure(settings)
    assert isinstance(error, Unauthorised)
    assert "disabled" in str(error)


def test_an_empty_secret(settings: dict[str, str], vault: KeyVault) -> None:
    vault.secrets["snowflake-password"] = ""
    assert isinstance(failure(settings), NotThere)


def test_a_host_that_is_no_vault(settings: dict[str, str], entra: Entra) -> None:
    error = failure(settings, AZURE_KEYVAULT_URL=entra.url)
    assert isinstance(error, NotThere)
    assert "AZURE_KEYVAULT_URL" in error.hint


def test_a_challenge_for_another_domain_gets_no_token(
    settings: dict[str, str], vault: KeyVault, entra: Entra
) -> None:
    vault.resource = "https://vault.attacker.example"
    error = failure(settings)
    assert isinstance(error, NotThere)
    assert entra.counts["token"] == 0


# ── busy vaults ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [429, 503])
def test_a_vault_that_is_busy_for_a_moment_is_asked_again(
    settings: dict[str, str], vault: KeyVault, status: int
) -> None:
    busy = Answer(status, {"error": {"code": "Throttled", "message": ""}}, {"Retry-After": "0"})
    vault.faults += [Fault(busy), Fault(busy)]
    assert read(settings).snowflake_password == PASSWORD


def test_a_vault_that_stays_busy_is_unreachable(settings: dict[str, str], vault: KeyVault) -> None:
    busy = Answer(503, {"error": {"code": "Busy", "message": ""}}, {"Retry-After": "0"})
    vault.faults += [Fault(busy)] * 20
    assert isinstance(failure(settings), Unreachable)
    assert vault.counts["failed"] <= 4


def test_a_long_retry_after_is_not_waited_for(settings: dict[str, str], vault: KeyVault) -> None:
    busy = Answer(429, {"error": {"code": "Throttled", "message": ""}}, {"Retry-After": "3600"})
    vault.faults.append(Fault(busy))
    began_s = time.monotonic()
    assert isinstance(failure(settings), Unreachable)
    assert time.monotonic() - began_s < 3


def test_a_silent_vault_is_given_up_in_time(
    settings: dict[str, str], vault: KeyVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.identity.vault.READ_TIMEOUT_S", 0.3)
    vault.silent = True
    began_s = time.monotonic()
    error = failure(settings)
    assert isinstance(error, Unreachable)
    assert "did not answer in time" in str(error)
    assert time.monotonic() - began_s < 8

"""Settings are read in order of precedence, typed, and keep their secrets."""

from __future__ import annotations

import pickle
import typing
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from pipeline.config import Config, load
from pipeline.config.settings import BY_NAME, SETTINGS
from pipeline.config.sources import profile_names
from pipeline.errors import ConfigError

COMPLETE = {
    "AZURE_QUEUE_NAME": "requests",
    "AZURE_QUEUE_CONNECTION_STRING": "AccountName=a;AccountKey=c2VjcmV0LWtleQ==",
    "SNOWFLAKE_ACCOUNT": "ORG-ACCOUNT",
    "SNOWFLAKE_USER": "COLLECTOR",
    "SNOWFLAKE_DATABASE": "DB",
    "SNOWFLAKE_SCHEMA": "PUBLIC",
    "SNOWFLAKE_PASSWORD": "hunter2-hunter2",
}
SECRET_NAMES = [setting.name for setting in SETTINGS if setting.secret]
TYPES = {
    "text": str,
    "choice": str,
    "url": str,
    "https": str,
    "authority": str,
    "host": str,
    "whole": int,
    "number": float,
    "flag": bool,
    "path": Path,
    "queues": tuple[str, ...],
}


def test_every_setting_has_a_field_of_its_type() -> None:
    hints = typing.get_type_hints(Config)
    for setting in SETTINGS:
        assert hints[setting.attribute] in (TYPES[setting.kind], TYPES[setting.kind] | None)
    beside = {"profile", "sources", "warnings"}
    assert {field.name for field in fields(Config)} - beside == {s.attribute for s in SETTINGS}


def test_every_setting_says_what_it_means_and_takes() -> None:
    assert len(BY_NAME) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.name == setting.name.upper()
        assert setting.meaning
        assert setting.takes()


def test_every_default_is_a_value_that_its_setting_takes() -> None:
    for setting in SETTINGS:
        text = setting.default_text()
        assert text is None or setting.parse(text) is not None


def test_the_defaults_of_the_contract() -> None:
    config = load(environ={}, needs=())
    assert (config.batch_size, config.batch_bytes, config.batch_timeout) == (1000, 67108864, 10)
    assert (config.num_threads, config.max_retries, config.initial_retry_delay) == (25, 3, 1)
    assert (config.visibility_timeout, config.max_dequeue_count) == (300, 5)
    assert (config.max_in_flight, config.dedupe_window) == (2000, 604800)
    assert config.spool_bytes == 1073741824
    assert (config.ops_host, config.ops_port, config.log_level) == ("127.0.0.1", 8080, "INFO")
    assert (config.azure_cloud, config.azure_credential) == ("public", "default")
    assert config.num_processes >= 1
    assert config.allow_writes is False
    assert config.azure_queue_name == ()
    assert config.azure_arm_endpoint is None


def test_a_complete_configuration_is_typed() -> None:
    config = load(environ={**COMPLETE, "AZURE_QUEUE_NAME": "urgent, requests"})
    assert config.azure_queue_name == ("urgent", "requests")
    assert config.snowflake_account == "ORG-ACCOUNT"
    assert config.snowflake_authenticator == "password"
    assert isinstance(config.spool_dir, Path)
    assert isinstance(config.batch_timeout, float)


# ── precedence ───────────────────────────────────────────────────────────────────────────────────


def test_each_layer_wins_over_the_one_below(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("BATCH_TIMEOUT=4\nNUM_PROCESSES=4\nNUM_THREADS=4\n")
    config = load(
        "local",
        overrides={"NUM_THREADS": "6"},
        environ={"NUM_PROCESSES": "5", "NUM_THREADS": "5"},
        env_file=env_file,
        needs=(),
    )
    got = {
        name: (getattr(config, name.lower()), config.sources[name])
        for name in ("BATCH_SIZE", "OPS_PORT", "BATCH_TIMEOUT")
    }
    assert got == {
        "BATCH_SIZE": (1000, "default"),
        "OPS_PORT": (0, "profile local"),
        "BATCH_TIMEOUT": (4, ".env"),
    }
    assert (config.num_processes, config.sources["NUM_PROCESSES"]) == (5, "environment")
    assert (config.num_threads, config.sources["NUM_THREADS"]) == (6, "command line")


def test_a_sandbox_leaves_none_of_ones_own_accounts_in_force(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("SNOWFLAKE_AUTHENTICATOR=oauth\nAZURE_CLOUD=china\nBATCH_SIZE=7\n")
    config = load(
        "local",
        overrides={"SNOWFLAKE_ROLE": "ADMIN"},
        environ={"SNOWFLAKE_TOKEN": "kv:prod", "AZURE_QUEUE_ACCOUNT_URL": "https://prod.example"},
        env_file=env_file,
        sandbox={
            **COMPLETE,
            "AZURE_CREDENTIAL": "token",
            "AZURE_ACCESS_TOKEN": "sandbox-token",
        },
    )
    assert config.azure_queue_account_url is None
    assert (config.snowflake_token, config.snowflake_role) == (None, None)
    assert (config.snowflake_authenticator, config.azure_cloud) == ("password", "public")
    assert config.sources["AZURE_ACCESS_TOKEN"] == "sandbox"
    assert (config.batch_size, config.sources["BATCH_SIZE"]) == (7, ".env")


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_an_empty_value_is_unset(empty: str) -> None:
    config = load("local", environ={"OPS_PORT": empty, "SNOWFLAKE_ROLE": empty}, needs=())
    assert config.ops_port == 0
    assert config.sources["OPS_PORT"] == "profile local"
    assert config.snowflake_role is None


def test_spaces_around_a_value_are_not_part_of_it_but_may_be_of_a_secret() -> None:
    config = load(environ={"BATCH_SIZE": " 7 ", "SNOWFLAKE_PASSWORD": " spaced \n"}, needs=())
    assert config.batch_size == 7
    assert config.snowflake_password == " spaced "


# ── profiles ─────────────────────────────────────────────────────────────────────────────────────


def test_the_profiles_there_are() -> None:
    assert profile_names() == ["high-throughput", "local", "low-memory", "standard"]


@pytest.mark.parametrize("profile", profile_names())
def test_a_profile_holds_only_good_values(profile: str) -> None:
    config = load(profile, environ={}, needs=())
    assert config.profile == profile
    assert f"profile {profile}" in config.sources.values()
    assert not config.warnings


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load("locl", environ={}, needs=())
    (problem,) = caught.value.problems
    assert "'locl'" in problem
    assert all(name in problem for name in profile_names())


def test_a_profile_is_not_a_path() -> None:
    with pytest.raises(ConfigError, match="takes one of"):
        load("../profiles/local", environ={}, needs=())


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_is_in_no_repr(name: str) -> None:
    value = "AccountName=a;AccountKey=c2VjcmV0LWtleQ==" if "STRING" in name else "top-secret-text-1"
    config = load(environ={name: value}, needs=())
    assert value in config.secrets()
    assert name.lower() in repr(config)
    for text in (repr(config), str(config), f"{config}", config.shown(name)):
        assert value not in text
        assert "c2VjcmV0LWtleQ==" not in text


def test_the_key_within_a_connection_string_is_a_secret_too() -> None:
    assert "c2VjcmV0LWtleQ==" in load(environ=COMPLETE).secrets()


def test_a_reference_to_the_vault_is_no_secret() -> None:
    environ = {"AZURE_KEYVAULT_URL": "https://v.vault.azure.net", "SNOWFLAKE_PASSWORD": "kv:name"}
    config = load(environ=environ, needs=(), resolve_secrets=False)
    assert config.shown("SNOWFLAKE_PASSWORD") == "kv:name"
    assert config.vault_references() == {"SNOWFLAKE_PASSWORD": "name"}
    assert not config.secrets()


# ── the object ───────────────────────────────────────────────────────────────────────────────────


def test_it_survives_pickling_whole() -> None:
    config = load("local", environ=COMPLETE)
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.sources == config.sources
    assert again.snowflake_password == COMPLETE["SNOWFLAKE_PASSWORD"]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        load(environ=COMPLETE).batch_size = 1  # type: ignore[misc]


def test_a_part_asks_for_what_it_cannot_do_without() -> None:
    config = load(environ={}, needs=())
    with pytest.raises(ConfigError, match="SNOWFLAKE_ACCOUNT: not set"):
        config.required("snowflake_account")
    assert load(environ=COMPLETE).required("snowflake_account") == "ORG-ACCOUNT"

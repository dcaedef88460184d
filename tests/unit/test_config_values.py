"""A bad value of one setting gives a problem that names it, and shows no secret."""

from __future__ import annotations

import pytest

from pipeline.config.rules import PARTS
from pipeline.config.settings import SETTINGS
from tests.unit.config_read import CONNECTION, KEY, problem, problems, read

BAD_VALUES = [
    ("BATCH_SIZE", "0"),
    ("BATCH_SIZE", "1000001"),
    ("BATCH_SIZE", "-5"),
    ("BATCH_SIZE", "ten"),
    ("BATCH_SIZE", "1_000"),
    ("BATCH_SIZE", "1e3"),
    ("BATCH_SIZE", "10.0"),
    ("BATCH_SIZE", "٣"),
    ("BATCH_BYTES", "64MiB"),
    ("BATCH_BYTES", "10"),
    ("BATCH_TIMEOUT", "0"),
    ("BATCH_TIMEOUT", "nan"),
    ("BATCH_TIMEOUT", "inf"),
    ("BATCH_TIMEOUT", "10s"),
    ("LOADS_PER_MINUTE", "-1"),
    ("LOADS_PER_MINUTE", "0.5"),
    ("NUM_PROCESSES", "0"),
    ("NUM_PROCESSES", "auto"),
    ("NUM_THREADS", "1001"),
    ("MAX_RETRIES", "-1"),
    ("INITIAL_RETRY_DELAY", "-0.5"),
    ("MAX_BACKOFF", "0"),
    ("MAX_WAIT", "0"),
    ("MAX_IN_FLIGHT", "0"),
    ("REQUEST_TIMEOUT", "0"),
    ("ARM_CONNECT_TIMEOUT", "0"),
    ("ARM_READ_TIMEOUT", "-1"),
    ("MAX_RESPONSE_BYTES", "1"),
    ("CACHE_TTL", "-1"),
    ("CACHE_TTL", "86401"),
    ("ALLOW_WRITES", "maybe"),
    ("VISIBILITY_TIMEOUT", "1"),
    ("VISIBILITY_TIMEOUT", "604801"),
    ("MAX_DEQUEUE_COUNT", "0"),
    ("DEDUPE_WINDOW", "-1"),
    ("WRITE_MODE", "insert"),
    ("RETENTION_DAYS", "-1"),
    ("RETENTION_DAYS", "1.5"),
    ("SPOOL_BYTES", "0"),
    ("SPOOL_DIR", "a\x00b"),
    ("DRAIN_TIMEOUT", "0"),
    ("HEARTBEAT_LIMIT", "2"),
    ("LOAD_STANDBY", "sometimes"),
    ("OPS_PORT", "65536"),
    ("OPS_HOST", "http://localhost"),
    ("LOG_LEVEL", "LOUD"),
    ("LOG_FORMAT", "xml"),
    ("AUDIT_LOG", "a\x00b"),
    ("AZURE_CLOUD", "germany"),
    ("AZURE_CREDENTIAL", "password"),
    ("AZURE_KEYVAULT_URL", "http://localhost"),
    ("AZURE_KEYVAULT_URL", "myvault"),
    ("AZURE_AUTHORITY_HOST", "http://login.microsoftonline.com"),
    ("AZURE_TENANT_ID", "a/b"),
    ("AZURE_CLIENT_ID", "a b"),
    ("SNOWFLAKE_ACCOUNT", "two\nlines"),
    ("SNOWFLAKE_AUTHENTICATOR", "magic"),
    ("SNOWFLAKE_HOST", "https://host"),
    ("SNOWFLAKE_OAUTH_TOKEN_URL", "http://idp.example/token"),
    ("SNOWFLAKE_OAUTH_TOKEN_URL", "https://idp.example/token?tenant=1"),
    ("SNOWFLAKE_PORT", "0"),
    ("SNOWFLAKE_PROTOCOL", "ftp"),
]


@pytest.mark.parametrize(("name", "text"), BAD_VALUES)
def test_a_bad_value_names_itself_what_it_got_what_it_takes_and_where_it_is(
    name: str, text: str
) -> None:
    said = problem({name: text})
    assert said.startswith(f"{name}: got {text!r} (environment); takes ")


def test_every_setting_with_rules_has_a_bad_value_above() -> None:
    free = {"text", "queues", "url"}
    tried = {name for name, _ in BAD_VALUES}
    files = {name for name in tried | FILES}
    for setting in SETTINGS:
        assert setting.kind in free or setting.name in files, setting.name


FILES = {
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "SNOWFLAKE_PRIVATE_KEY_FILE",
}


def test_limits_are_said_with_their_unit() -> None:
    assert "a whole number of rows from 1 to 1000000" in problem({"BATCH_SIZE": "0"})
    assert "a number of seconds from 0.05 to 3600" in problem({"BATCH_TIMEOUT": "0"})
    assert "one of public, usgov, china" in problem({"AZURE_CLOUD": "x"})


def test_choices_and_flags_are_taken_in_any_case() -> None:
    config = read({"LOG_LEVEL": "debug", "AZURE_CLOUD": "USGov", "ALLOW_WRITES": "TRUE"})
    assert (config.log_level, config.azure_cloud, config.allow_writes) == ("DEBUG", "usgov", True)


def test_snowflakes_own_words_for_authenticators_are_taken() -> None:
    for word, meant in (("SNOWFLAKE_JWT", "key_pair"), ("snowflake", "password")):
        assert read({"SNOWFLAKE_AUTHENTICATOR": word}).snowflake_authenticator == meant


# ── secrets in problems ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [s.name for s in SETTINGS if s.secret])
def test_no_problem_shows_a_secret(name: str) -> None:
    environ = {name: "kv:not_a_name!", "BATCH_SIZE": "x"}
    assert all("not_a_name" not in said for said in problems(environ, PARTS))


@pytest.mark.parametrize(
    "text",
    [
        CONNECTION,
        "https://acc.queue.core.windows.net?sv=2024&sig=c2lnbmF0dXJl",
        "https://user:c2lnbmF0dXJl@acc.example",
        "eyJhbGciOiJub25lIn0.c2lnbmF0dXJl",
        "-----BEGIN PRIVATE KEY-----c2lnbmF0dXJl",
    ],
)
@pytest.mark.parametrize(
    "name", ["AZURE_QUEUE_NAME", "AZURE_QUEUE_ACCOUNT_URL", "BATCH_SIZE", "AZURE_CLOUD"]
)
def test_a_secret_in_the_wrong_variable_is_not_shown(name: str, text: str) -> None:
    said = problem({name: text})
    assert said.startswith(name)
    assert KEY not in said
    assert "c2lnbmF0dXJl" not in said


def test_a_long_value_is_shortened() -> None:
    assert len(problem({"BATCH_SIZE": "no " * 1000})) < 300

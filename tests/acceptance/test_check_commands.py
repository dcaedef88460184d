"""The commands one runs before the first run: what each tells, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.settings import SETTINGS
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from stages.load import schema
from stages.load.migrations import migrations
from tests.acceptance.command import (
    CLOSED_PORT,
    OTHER_KEY,
    START_LIMIT_S,
    Ended,
    command,
    with_endpoint,
    with_key,
)
from tests.acceptance.stores import queue, request, tables
from tests.contract import SNOWFLAKE_CHECKS
from tests.standins.entra import Entra
from tests.standins.keyvault import KeyVault

pytest_plugins = ["tests.standins.plugin"]

QUEUE = "AZURE_QUEUE_CONNECTION_STRING"
QUEUES = ["queue collector", "queue collector-poison"]
ARM = "Azure Resource Manager"
CLOSED = f"http://127.0.0.1:{CLOSED_PORT}"
CHECK = re.compile(r"^(ok|FAILED) +(\S.*?)  +(\d+\.\d\d) s  (\S.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One of its own: its tables are made here, and who may call its ARM is changed."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sandbox(folder, arm_options=["--subscriptions", "2", "--vms", "3"]) as up:
        yield up


@pytest.fixture
def own(sandbox: Sandbox) -> dict[str, str]:
    return dict(sandbox.settings)


def checks(ended: Ended) -> dict[str, bool]:
    """Each check that was printed, and whether it passed."""
    return {name: mark == "ok" for mark, name, _, _ in CHECK.findall(ended.out)}


def failed(ended: Ended) -> list[str]:
    return [name for name, ok in checks(ended).items() if not ok]


# ── test-snowflake and init-snowflake ────────────────────────────────────────────────────────────


@pytest.mark.soak
def test_before_and_after_init_every_snowflake_check_passes(tmp_path: Path) -> None:
    with Sandbox(tmp_path, parts=("snowflake",)) as fresh:
        for state, tables_said in [("created", "not there yet"), ("was there", "all there")]:
            checked = command(["test-snowflake"], fresh.settings)
            assert (checked.code, checked.err) == (0, "")
            assert checks(checked) == dict.fromkeys(SNOWFLAKE_CHECKS, True)
            assert tables_said in checked.out
            made = command(["init-snowflake"], fresh.settings)
            assert (made.code, made.err) == (0, "")
            said = dict(re.split(r"  +", line) for line in made.out.splitlines())
            assert {said[name] for name in schema.OBJECTS} == {state}
            applied = "applied" if state == "created" else state
            for one in migrations():
                assert said[f"migration {one.version}"] == f"{applied} ({one.name})"
            assert len(said) == len(schema.OBJECTS) + len(migrations())
        with tables(fresh.settings) as session:
            assert session.run("SELECT COUNT(*) FROM RESOURCES_LATEST") == [(0,)]


def test_init_prints_sql_that_runs_and_connects_to_nothing(own: dict[str, str]) -> None:
    nowhere = {"SNOWFLAKE_DATABASE": "AZURE", "SNOWFLAKE_SCHEMA": "PRINTED"}
    ended = command(["init-snowflake", "--print"], nowhere)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("USE SCHEMA AZURE.PRINTED;\n")
    code = re.sub(r"^--.*$", "", ended.out, flags=re.MULTILINE)
    statements = [part.strip() for part in code.split(";\n") if part.strip()]
    assert len(statements) > len(schema.OBJECTS) + len(migrations())
    with tables(own) as session:
        session.run("CREATE SCHEMA PRINTED")
        for statement in statements:
            session.run(statement)
    checked = command(["test-snowflake"], {**own, "SNOWFLAKE_SCHEMA": "PRINTED"})
    assert checked.code == 0
    assert "all there" in checked.out


@pytest.mark.parametrize(
    ("changes", "names", "said"),
    [
        (
            {"SNOWFLAKE_HOST": "nowhere.invalid", "SNOWFLAKE_PROTOCOL": "https"},
            ["network"],
            "no such host name",
        ),
        ({"SNOWFLAKE_PORT": str(CLOSED_PORT)}, ["network"], "refused"),
        ({"SNOWFLAKE_PASSWORD": "wr0ng-password"}, ["login"], "Incorrect username or password"),
        ({"SNOWFLAKE_ACCOUNT": "ORG-NONE"}, ["login"], "there is no such account"),
        ({"SNOWFLAKE_ROLE": "NONE"}, ["login"], "GRANT ROLE"),
        (
            {"SNOWFLAKE_WAREHOUSE": "NONE", "SNOWFLAKE_DATABASE": "NOWHERE"},
            ["warehouse", "database"],
            "GRANT USAGE ON WAREHOUSE NONE TO ROLE SANDBOX;",
        ),
        ({"SNOWFLAKE_DATABASE": "NONE"}, ["database"], "no database NONE"),
        (
            {"SNOWFLAKE_SCHEMA": "NONE"},
            ["schema"],
            "CREATE SCHEMA AZURE.NONE;",
        ),
    ],
)
def test_each_failure_of_snowflake_is_told_apart(
    changes: dict[str, str], names: list[str], said: str, own: dict[str, str]
) -> None:
    ended = command(["test-snowflake"], {**own, **changes})
    assert (ended.code, ended.err) == (3, "")
    assert failed(ended) == names
    assert said in ended.out
    assert ended.out.count("\n       -> ") == len(names)


def test_a_grant_that_is_missing_is_told_as_the_statement_that_mends_it(
    own: dict[str, str],
) -> None:
    reader = {**own, "SNOWFLAKE_ROLE": "SANDBOX_READER"}
    assert command(["init-snowflake"], own).code == 0
    ended = command(["test-snowflake"], reader)
    assert ended.code == 3
    assert failed(ended) == ["grants RESOURCES", "grants REQUESTS", "grants REJECTED_ROWS"]
    grant = "GRANT INSERT, UPDATE ON TABLE AZURE.COLLECTOR.REQUESTS TO ROLE SANDBOX_READER;"
    assert grant in ended.out


def test_init_says_what_its_session_lacks(own: dict[str, str]) -> None:
    ended = command(["init-snowflake"], {**own, "SNOWFLAKE_SCHEMA": "NONE"})
    ended.assert_ended(3, "no schema AZURE.NONE", "CREATE SCHEMA AZURE.NONE")


# ── test-connection ──────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_is_fine_is_said_with_times(own: dict[str, str]) -> None:
    ended = command(["test-connection"], own)
    assert (ended.code, ended.err) == (0, "")
    assert checks(ended) == dict.fromkeys(["token", *QUEUES, ARM], True)
    assert "2 subscriptions" in ended.out
    assert all(float(elapsed) < 10 for _, _, elapsed, _ in CHECK.findall(ended.out))


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        ("wrong name", [*QUEUES, ARM], ("no host is called queue.", "no host is called arm.")),
        ("refused", [*QUEUES, ARM], ("127.0.0.1:1 refused the connection",)),
        ("unauthorised", [*QUEUES, ARM], ("403 AuthenticationFailed", "401 InvalidAuthenticat")),
        ("no such queue", ["queue absent"], ("there is no queue absent",)),
    ],
)
def test_each_failure_of_the_connection_is_told_apart(
    change: str, names: list[str], said: tuple[str, ...], own: dict[str, str]
) -> None:
    changes = {
        "wrong name": {
            QUEUE: with_endpoint(own[QUEUE], "http://queue.invalid:10001"),
            "AZURE_ARM_ENDPOINT": "https://arm.invalid",
        },
        "refused": {QUEUE: with_endpoint(own[QUEUE], CLOSED), "AZURE_ARM_ENDPOINT": CLOSED},
        "unauthorised": {
            QUEUE: with_key(own[QUEUE], OTHER_KEY),
            "AZURE_ACCESS_TOKEN": "of-another-tenant",
        },
        "no such queue": {"AZURE_QUEUE_NAME": "absent"},
    }
    ended = command(["test-connection"], {**own, **changes[change]})
    assert (ended.code, ended.err) == (3, "")
    assert failed(ended) == names
    assert [words for words in said if words not in ended.out] == []
    assert ended.out.count("\n       -> ") == len(names)
    assert ended.seconds < START_LIMIT_S


# ── validate-config and show-config ──────────────────────────────────────────────────────────────


def test_validate_config_says_where_settings_came_from_and_connects_to_nothing(
    own: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MAX_RETRIES=5\n")
    away = {**own, "SNOWFLAKE_PORT": "1", "AZURE_ARM_ENDPOINT": CLOSED}
    ended = command(
        ["validate-config", "--profile", "standard", "--set", "BATCH_SIZE=7"], away, cwd=tmp_path
    )
    assert (ended.code, ended.err) == (0, "")
    for source in ("1 from command line", "1 from .env", "from environment", "profile standard"):
        assert source in ended.out


def test_validate_config_says_every_problem_and_how_many(own: dict[str, str]) -> None:
    wrong = {**own, "BATCH_SIZE": "0", "LOG_LEVEL": "LOUD", "SNOWFLAKE_PROTOCOL": "ftp"}
    ended = command(["validate-config"], wrong)
    assert (ended.code, ended.err) == (2, "")
    lines = ended.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "SNOWFLAKE_PROTOCOL",
        "BATCH_SIZE",
        "LOG_LEVEL",
    ]
    assert lines[-1] == "3 problems"


def test_show_config_shows_every_setting_where_from_and_no_secret(
    own: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("MAX_RETRIES=5\n")
    vault = {
        "AZURE_CREDENTIAL": "managed-identity",
        "AZURE_KEYVAULT_URL": "https://v.vault.azure.net",
        "SNOWFLAKE_PASSWORD": "kv:pass",
    }
    arguments = ["show-config", "--profile", "low-memory", "--set", "BATCH_SIZE=7"]
    for form in ([], ["--json"]):
        ended = command([*arguments, *form], {**own, **vault}, cwd=tmp_path)
        assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    assert list(shown) == [setting.name for setting in SETTINGS]
    assert shown["BATCH_SIZE"] == {"value": "7", "source": "command line"}
    assert shown["MAX_RETRIES"] == {"value": "5", "source": ".env"}
    assert shown["NUM_THREADS"] == {"value": "16", "source": "profile low-memory"}
    assert shown["DEDUPE_WINDOW"] == {"value": "604800", "source": "default"}
    assert shown["AZURE_ACCESS_TOKEN"] == {"value": "***", "source": "environment"}
    assert shown["SNOWFLAKE_PASSWORD"] == {"value": "kv:pass", "source": "environment"}


# ── secrets of Key Vault, an identity of Entra ID ────────────────────────────────────────────────


@pytest.fixture
def through_the_vault(
    sandbox: Sandbox, vault: KeyVault, application: dict[str, str], trusted: Path
) -> Iterator[dict[str, str]]:
    """The sandbox's settings with an application's identity, and its secrets in a vault."""
    settings = dict(sandbox.settings)
    del settings["AZURE_ACCESS_TOKEN"]
    vault.secrets |= {"queue": settings[QUEUE], "password": settings["SNOWFLAKE_PASSWORD"]}
    arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
    arm.settings(tokens=None)
    yield {
        **settings,
        **application,
        QUEUE: "kv:queue",
        "SNOWFLAKE_PASSWORD": "kv:password",
        "AZURE_KEYVAULT_URL": vault.url,
        "REQUESTS_CA_BUNDLE": str(trusted),
    }
    arm.settings(tokens=[sandbox.settings["AZURE_ACCESS_TOKEN"]])


def test_a_whole_run_with_an_application_and_secrets_of_the_vault(
    through_the_vault: dict[str, str],
    sandbox: Sandbox,
    vault: KeyVault,
    entra: Entra,
) -> None:
    secrets = [sandbox.settings["SNOWFLAKE_PASSWORD"], sandbox.settings[QUEUE], entra.secret]
    with queue(sandbox.settings) as client:
        text = {"message_id": "vault-1", "api_requests": [request("/subscriptions")]}
        client.send_message(json.dumps(text))

    checked = command(["test-connection"], through_the_vault, secrets=secrets)
    assert checked.code == 0, checked.said
    assert "2 secrets read" in checked.out
    collected = command(
        ["--until-empty"],
        {**through_the_vault, "LOG_LEVEL": "DEBUG"},
        secrets=[*secrets, *entra.issued],
    )

    assert collected.code == 0, collected.said
    assert not [token for token in entra.issued if token in collected.said]
    audiences = {issued.audience for issued in entra.issued.values()}
    assert audiences == {"https://management.azure.com", vault.resource}
    with tables(sandbox.settings) as session:
        ledger = session.run("SELECT OUTCOME, \"ROWS\" FROM REQUESTS WHERE MESSAGE_ID = 'vault-1'")
    assert ledger == [("complete", 2)]


def test_secrets_that_the_vault_does_not_have_are_all_named(
    through_the_vault: dict[str, str], vault: KeyVault, entra: Entra
) -> None:
    vault.secrets.clear()
    ended = command(["--until-empty"], through_the_vault, secrets=[entra.secret])
    ended.assert_ended(3, "Key Vault", "queue", "password")


def test_a_vault_that_refuses_is_told_with_the_role_that_is_missing(
    through_the_vault: dict[str, str], vault: KeyVault
) -> None:
    vault.role = False
    for arguments in (["--until-empty"], ["test-connection"], ["send", "-"]):
        ended = command(arguments, through_the_vault, stdin="{}")
        assert ended.code == 3, ended.said
        assert "Key Vault Secrets User" in ended.said


def test_a_wrong_secret_of_the_application_is_told(
    through_the_vault: dict[str, str],
) -> None:
    wrong = {**through_the_vault, "AZURE_CLIENT_SECRET": "wr0ng~secret"}
    ended = command(["--until-empty"], wrong)
    ended.assert_ended(3, "AADSTS7000215")

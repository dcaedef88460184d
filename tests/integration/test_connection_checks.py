"""``test-connection`` against real Azurite and TLS stand-ins: each failure is told apart."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import pytest
from azure.storage.queue import QueueServiceClient

from pipeline.checks import Check
from pipeline.config import Config, load
from pipeline.errors import EXIT_DEPENDENCY, EXIT_DONE
from pipeline.sandbox.azurite import Azurite
from stages.fetch import connection_checks
from stages.fetch.connection_checks import run_checks
from tests.integration.azurite_server import running_azurite
from tests.standins.arm import Arm
from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Fault
from tests.standins.keyvault import KeyVault

pytest_plugins = ["tests.standins.plugin"]

QUEUE = "requests"
POISON = "requests-poison"
ARM = "Azure Resource Manager"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with running_azurite(tmp_path_factory.mktemp("queue")) as server:
        with QueueServiceClient.from_connection_string(server.connection_string) as service:
            service.create_queue(QUEUE)
        yield server


@pytest.fixture
def settings(
    azurite: Azurite, arm: Arm, vault: KeyVault, application: dict[str, str]
) -> dict[str, str]:
    vault.secrets["queue"] = azurite.connection_string
    return {
        **application,
        "AZURE_QUEUE_NAME": QUEUE,
        "AZURE_QUEUE_CONNECTION_STRING": "kv:queue",
        "AZURE_KEYVAULT_URL": vault.url,
        "AZURE_ARM_ENDPOINT": arm.url,
    }


def configured(settings: dict[str, str]) -> Config:
    return load(overrides=settings, environ={}, resolve_secrets=False, needs=("queue", "arm"))


def checks(settings: dict[str, str], **more: str) -> dict[str, Check]:
    return {check.name: check for check in run_checks(configured({**settings, **more}))}


def failed(settings: dict[str, str], **more: str) -> list[str]:
    return [name for name, check in checks(settings, **more).items() if not check.ok]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_everything_passes_with_its_time(
    settings: dict[str, str], arm: Arm, azurite: Azurite, entra: Entra
) -> None:
    lines: list[str] = []
    assert connection_checks.test_connection(configured(settings), lines.append) == EXIT_DONE
    names = ["Key Vault", "token", f"queue {QUEUE}", f"queue {POISON}", ARM]
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        assert line.startswith("ok")
        assert name in line
        assert " s " in line
    assert "2 subscriptions" in lines[-1]
    shown = "\n".join(lines)
    secrets = [azurite.account_key, entra.secret, *entra.issued]
    assert not [secret for secret in secrets if secret in shown]


def test_one_failure_is_enough_for_its_exit_code(settings: dict[str, str], arm: Arm) -> None:
    arm.close()
    code = connection_checks.test_connection(configured(settings), lambda _line: None)
    assert code == EXIT_DEPENDENCY


def test_secrets_that_were_read_already_are_checked_again(settings: dict[str, str]) -> None:
    config = load(overrides=settings, environ={}, needs=("queue", "arm"))
    assert all(check.ok for check in run_checks(config))


def test_a_vault_that_nothing_is_read_from_is_tried_too(
    settings: dict[str, str], azurite: Azurite, vault: KeyVault
) -> None:
    own = {"AZURE_QUEUE_CONNECTION_STRING": azurite.connection_string}
    assert checks(settings, **own)["Key Vault"].ok
    vault.role = False
    check = checks(settings, **own)["Key Vault"]
    assert not check.ok
    assert "Key Vault Secrets User" in check.hint


# ── queue ────────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_that_does_not_exist(settings: dict[str, str]) -> None:
    found = checks(settings, AZURE_QUEUE_NAME=f"{QUEUE},absent")
    assert found[f"queue {QUEUE}"].ok
    assert not found["queue absent"].ok
    assert "no queue absent" in found["queue absent"].detail


def test_a_poison_queue_that_is_not_there_yet_is_fine(settings: dict[str, str]) -> None:
    check = checks(settings)[f"queue {POISON}"]
    assert check.ok
    assert "not there yet" in check.detail


def test_a_wrong_account_key_is_unauthorised(settings: dict[str, str], azurite: Azurite) -> None:
    wrong = base64.b64encode(b"wrong" * 10).decode()
    text = azurite.connection_string.replace(azurite.account_key, wrong)
    check = checks(settings, AZURE_QUEUE_CONNECTION_STRING=text)[f"queue {QUEUE}"]
    assert not check.ok
    assert "403" in check.detail
    assert wrong not in check.line()


def test_an_account_that_does_not_exist_has_an_unknown_host(settings: dict[str, str]) -> None:
    text = "AccountName=nobody;AccountKey=a2V5;EndpointSuffix=core.invalid"
    check = checks(settings, AZURE_QUEUE_CONNECTION_STRING=text)[f"queue {QUEUE}"]
    assert not check.ok
    assert "no host is called nobody.queue.core.invalid" in check.detail


def test_a_queue_whose_port_is_closed(settings: dict[str, str], azurite: Azurite) -> None:
    endpoint = f"QueueEndpoint=http://127.0.0.1:{unused_port()}/sandbox;"
    text = azurite.connection_string.partition("QueueEndpoint=")[0] + endpoint
    check = checks(settings, AZURE_QUEUE_CONNECTION_STRING=text)[f"queue {QUEUE}"]
    assert not check.ok
    assert "refused" in check.detail


# ── Key Vault, token, ARM ────────────────────────────────────────────────────────────────────────


def test_what_needs_the_vault_is_not_tried_without_it(
    settings: dict[str, str], vault: KeyVault
) -> None:
    vault.secrets.clear()
    found = checks(settings)
    assert "no secret queue" in found["Key Vault"].detail
    assert "not tried" in found[f"queue {QUEUE}"].detail
    assert found["token"].ok
    assert found[ARM].ok


def test_a_wrong_application_secret_fails_the_token_and_what_needs_it(
    settings: dict[str, str], azurite: Azurite
) -> None:
    del settings["AZURE_KEYVAULT_URL"]
    own = {"AZURE_QUEUE_CONNECTION_STRING": azurite.connection_string}
    found = checks(settings, AZURE_CLIENT_SECRET="wrong~secret", **own)
    assert [name for name, check in found.items() if not check.ok] == ["token", ARM]
    assert "AADSTS7000215" in found["token"].detail
    assert "not tried" in found[ARM].detail


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (401, "InvalidAuthenticationToken", "tenant"),
        (403, "AuthorizationFailed", "role Reader"),
        (404, "NotFound", "AZURE_ARM_ENDPOINT"),
        (429, "SubscriptionRequestsThrottled", "later"),
        (503, "ServerBusy", "later"),
    ],
)
def test_what_arm_answers_is_told_apart(
    settings: dict[str, str], arm: Arm, status: int, code: str, hint: str
) -> None:
    arm.faults.append(Fault(Answer(status, {"error": {"code": code, "message": ""}})))
    found = checks(settings)
    assert [name for name, check in found.items() if not check.ok] == [ARM]
    assert f"{status} {code}" in found[ARM].detail
    assert hint in found[ARM].hint


def test_a_redirect_takes_the_token_nowhere(
    settings: dict[str, str], arm: Arm, entra: Entra
) -> None:
    with Arm(None, entra) as elsewhere:
        arm.faults.append(Fault(Answer(307, {}, {"Location": f"{elsewhere.url}/subscriptions"})))
        assert failed(settings) == [ARM]
        assert not elsewhere.seen_tokens


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b'{"value":' + b"[" * 9_000])
def test_an_endpoint_that_is_not_arm(settings: dict[str, str], arm: Arm, body: bytes) -> None:
    arm.faults.append(Fault(Answer(200, body, {"Content-Type": "text/html"})))
    assert "AZURE_ARM_ENDPOINT" in checks(settings)[ARM].hint


def test_an_error_that_is_no_utf_8_is_told_by_its_status(
    settings: dict[str, str], arm: Arm
) -> None:
    arm.faults.append(Fault(Answer(500, b'{"error":{"code":"\xff\xe0"}}')))
    check = checks(settings)[ARM]
    assert check.detail.endswith("answered 500")
    assert check.hint == "try again later"


@pytest.mark.parametrize(
    ("endpoint", "detail"),
    [
        ("https://management.invalid", "no host is called management.invalid"),
        (f"https://127.0.0.1:{unused_port()}", "refused the connection"),
    ],
    ids=["no such host", "closed port"],
)
def test_an_arm_that_is_not_reached(settings: dict[str, str], endpoint: str, detail: str) -> None:
    assert detail in checks(settings, AZURE_ARM_ENDPOINT=endpoint)[ARM].detail


def test_what_does_not_answer_fails_in_time_and_holds_up_nothing_else(
    settings: dict[str, str], arm: Arm, azurite: Azurite
) -> None:
    arm.silent = True
    began_s = time.monotonic()
    found = run_checks(configured(settings), total_s=2.0)
    assert time.monotonic() - began_s < 4
    assert [check.name for check in found if not check.ok] == [ARM]
    assert "no result in" in found[-1].detail


def test_an_arm_that_is_silent_is_given_up_within_its_own_limit(
    settings: dict[str, str], arm: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_checks, "ARM_READ_TIMEOUT_S", 0.3)
    arm.silent = True
    assert "did not answer in time" in checks(settings)[ARM].detail

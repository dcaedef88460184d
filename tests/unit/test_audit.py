"""The audit log: a file that may be renamed at any time, or lines among the ordinary ones."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.audit import AuditLog, identities, queue_identity
from pipeline.audit_run import audited
from pipeline.commands.message_commands import send
from pipeline.errors import ConfigError, StageFailed
from pipeline.logs import log, setup
from tests.unit.config_read import CONNECTION, KEY, read


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No handler is left behind."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before
    log.remove()


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_who_where_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.log"
    audit = AuditLog(file, "send")
    audit.tell("messages_sent", "messages sent", queue="q", messages=3, files=["-"])
    audit.close()
    [line] = lines(file)
    assert line.pop("time")
    assert line.pop("host")
    assert line.pop("user")
    assert line == {
        "level": "INFO",
        "message": "messages sent",
        "stage": "send",
        "stream": "audit",
        "action": "messages_sent",
        "uid": os.getuid(),
        "pid": os.getpid(),
        "queue": "q",
        "messages": 3,
        "files": ["-"],
    }
    assert capsys.readouterr().out == ""


def test_without_a_file_it_is_a_line_of_the_ordinary_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    setup("INFO", "json", "send")
    AuditLog(None, "send").tell("messages_sent", "with {braces}", level="ERROR", messages=3)
    line = json.loads(capsys.readouterr().out)
    assert (line["stream"], line["action"], line["level"]) == ("audit", "messages_sent", "ERROR")
    assert (line["message"], line["messages"]) == ("with {braces}", 3)


def test_the_file_is_its_owners_and_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    for _ in range(2):
        audit = AuditLog(file, "send")
        audit.tell("messages_sent", "")
        audit.close()
    assert len(lines(file)) == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.touch(0o640)
    AuditLog(file, "send").close()
    assert file.stat().st_mode & 0o777 == 0o640


def test_after_it_was_renamed_or_removed_lines_go_to_a_new_one(tmp_path: Path) -> None:
    file, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    audit = AuditLog(file, "supervisor")
    audit.tell("one", "")
    file.rename(old)
    audit.tell("two", "")
    audit.tell("three", "")
    assert [line["action"] for line in lines(old)] == ["one"]
    assert [line["action"] for line in lines(file)] == ["two", "three"]
    file.unlink()
    audit.tell("four", "")
    file.rename(old)
    file.touch()
    audit.tell("five", "")
    audit.close()
    assert [line["action"] for line in lines(old)] == ["four"]
    assert [line["action"] for line in lines(file)] == ["five"]


def test_two_who_share_it_do_not_write_over_each_other(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    both = [AuditLog(file, "send"), AuditLog(file, "prune")]
    for number in range(10):
        both[number % 2].tell("x", "", number=number)
    assert [line["number"] for line in lines(file)] == list(range(10))
    for audit in both:
        audit.close()


def test_a_secret_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.masking._secrets", ["key-that-nobody-sees"])
    file = tmp_path / "audit.log"
    audit = AuditLog(file, "send")
    audit.tell("x", "key-that-nobody-sees", files=["key-that-nobody-sees"])
    audit.close()
    assert "nobody" not in file.read_text()
    assert lines(file)[0]["files"] == ["***"]


@pytest.mark.parametrize("place", ["absent/audit.log", ".", "pipe"])
def test_a_file_that_cannot_be_opened_is_a_wrong_setting(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"AUDIT_LOG: .* cannot be written: .*; takes a file"):
        AuditLog(tmp_path / place, "send")


def test_what_the_file_does_not_take_is_in_the_ordinary_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("INFO", "json", "send")
    audit = AuditLog(Path("/dev/full"), "send")
    audit.tell("messages_sent", "messages sent", messages=3)
    error, line = (json.loads(one) for one in capsys.readouterr().out.splitlines())
    assert (error["level"], error["action"]) == ("ERROR", "audit_failed")
    assert "No space left" in error["message"]
    assert (line["stream"], line["messages"]) == ("audit", 3)
    with pytest.raises(ConfigError, match="No space left"):
        audit.tell_first("collector_started", "")
    audit.close()


# ── identities ───────────────────────────────────────────────────────────────────────────────────


def test_who_the_collector_is_has_kinds_and_ids_and_no_secret() -> None:
    config = read(
        {
            "AZURE_QUEUE_CONNECTION_STRING": CONNECTION,
            "AZURE_CREDENTIAL": "client-secret",
            "AZURE_TENANT_ID": "tenant-1",
            "AZURE_CLIENT_ID": "client-1",
            "AZURE_CLIENT_SECRET": "not-to-be-seen",
            "SNOWFLAKE_USER": "COLLECTOR",
            "SNOWFLAKE_PASSWORD": "nor-this",
        }
    )
    assert identities(config) == {
        "queue": {"credential": "account-key", "account": "acc"},
        "azure": {
            "credential": "client-secret",
            "tenant_id": "tenant-1",
            "client_id": "client-1",
        },
        "snowflake": {"authenticator": "password", "user": "COLLECTOR"},
    }


def test_a_queue_is_opened_with_a_key_a_signature_or_an_identity() -> None:
    signed = "QueueEndpoint=https://acc.queue.core.windows.net;SharedAccessSignature=sv=1&sig=abc"
    assert queue_identity(read({"AZURE_QUEUE_CONNECTION_STRING": signed})) == {
        "credential": "shared-access-signature"
    }
    url = {"AZURE_QUEUE_ACCOUNT_URL": "https://acc.queue.core.windows.net"}
    assert queue_identity(read(url)) == {"credential": "default"}


# ── a run ────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_tells_its_start_its_settings_and_its_end(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    config = read(
        {
            "AZURE_QUEUE_NAME": "high,low",
            "AZURE_QUEUE_CONNECTION_STRING": CONNECTION,
            "BATCH_SIZE": "7",
            "AUDIT_LOG": str(file),
        }
    )
    with audited(config, tmp_path) as run:
        run.exit_code = 0
    with pytest.raises(StageFailed), audited(replace(config, batch_size=8), tmp_path):
        raise StageFailed("no")
    told = lines(file)
    assert [line["action"] for line in told] == [
        "collector_started",
        "settings_in_force",
        "collector_stopped",
        "collector_started",
        "settings_in_force",
        "settings_changed",
        "collector_stopped",
    ]
    started, settings, stopped = told[:3]
    assert started["queues"] == ["high", "low"]
    assert started["identities"]["queue"] == {"credential": "account-key", "account": "acc"}
    assert settings["settings"]["BATCH_SIZE"] == "7"
    assert settings["settings"]["AZURE_QUEUE_CONNECTION_STRING"] == "***"
    assert settings["sources"]["BATCH_SIZE"] == "environment"
    assert "MAX_RETRIES" not in settings["sources"]
    assert stopped["exit_code"] == 0
    assert told[5]["settings"] == {"BATCH_SIZE": {"from": "7", "to": "8"}}
    assert told[6]["exit_code"] == 1
    assert KEY not in file.read_text()


def test_settings_that_cannot_be_noted_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("INFO", "json", "send")
    with audited(read({}), tmp_path / "absent") as run:
        run.exit_code = 0
    said = capsys.readouterr().out
    assert '"action":"settings_not_noted"' in said
    assert '"action":"collector_stopped"' in said


# ── a send that is interrupted ───────────────────────────────────────────────────────────────────


class Interrupted:
    """A queue that takes one message; the second is never heard of."""

    name = "q-one"

    def __init__(self) -> None:
        self.taken = 0

    def send(self, text: str) -> None:
        if self.taken:
            raise KeyboardInterrupt
        self.taken += 1

    def close(self) -> None:
        pass


def test_a_send_that_is_interrupted_leaves_its_line(tmp_path: Path) -> None:
    request = {
        "service": "compute",
        "api_version": "2024-07-01",
        "method": "GET",
        "resource_path": "/subscriptions",
    }
    messages = tmp_path / "messages.jsonl"
    messages.write_text(2 * (json.dumps({"api_requests": [request]}) + "\n"))
    file = tmp_path / "audit.log"
    config = read(
        {
            "AZURE_QUEUE_NAME": "q-one",
            "AZURE_QUEUE_CONNECTION_STRING": CONNECTION,
            "AUDIT_LOG": str(file),
        }
    )
    with pytest.raises(KeyboardInterrupt):
        send(config, [str(messages)], open_sender=lambda _config, _queue: Interrupted())
    [line] = lines(file)
    assert (line["action"], line["level"]) == ("messages_sent", "ERROR")
    assert (line["queue"], line["files"], line["up_to"]) == ("q-one", [str(messages)], 2)

"""The audit log of the real command: who sent, as whom it ran, with what, and what was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.command import collect, command
from tests.acceptance.stores import queue, request

OTHER_PASSWORD = "of-another-day-7"


def test_it_tells_of_a_send_of_runs_and_of_changes_and_holds_no_secret(
    settings: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "audit.log"
    given = {**settings, "AUDIT_LOG": str(file), "NUM_PROCESSES": "1"}
    message = json.dumps({"message_id": "not-told", "api_requests": [request("/subscriptions")]})
    sent = command(["send", "-"], given, stdin=message)
    assert sent.code == 0, sent.said
    collect(given)
    # An hour later, with the file moved away, somebody has changed two settings.
    file.rename(tmp_path / "audit.log.1")
    changed = {**given, "BATCH_SIZE": "7", "SNOWFLAKE_PASSWORD": OTHER_PASSWORD}
    refused = command(["--until-empty"], changed)
    assert refused.code == 3

    first, second = lines(tmp_path / "audit.log.1"), lines(file)
    assert [line["action"] for line in first] == [
        "messages_sent",
        "collector_started",
        "settings_in_force",
        "collector_stopped",
    ]
    send, started, in_force, stopped = first
    assert send["queue"] == settings["AZURE_QUEUE_NAME"]
    assert (send["messages"], send["files"]) == (1, ["-"])
    assert send["identity"]["credential"] == "account-key"
    assert started["identities"]["azure"]["credential"] == "token"
    assert in_force["settings"]["SNOWFLAKE_PASSWORD"] == "***"
    assert stopped["exit_code"] == 0
    assert "not-told" not in json.dumps(first)

    assert [line["action"] for line in second] == [
        "collector_started",
        "settings_in_force",
        "settings_changed",
        "collector_stopped",
    ]
    assert second[2]["settings"] == {
        "BATCH_SIZE": {"from": "100", "to": "7"},
        "SNOWFLAKE_PASSWORD": "changed",
    }
    assert second[3]["exit_code"] == 3
    for line in (*first, *second):
        assert (line["stream"], line["level"]) == ("audit", "INFO")
        assert {"time", "user", "uid", "host", "pid", "stage"} <= set(line)
    # And nothing of it stands among the ordinary lines.
    assert '"stream"' not in sent.said + refused.said


def test_a_file_that_cannot_be_written_stops_before_anything_is_done(
    settings: dict[str, str],
) -> None:
    given = {**settings, "AUDIT_LOG": "/proc/audit.log"}
    message = json.dumps({"api_requests": [request("/subscriptions")]})
    for arguments in (["send", "-"], ["--until-empty"]):
        ended = command(arguments, given, stdin=message)
        ended.assert_ended(2, "AUDIT_LOG: /proc/audit.log cannot be written", "takes a file")
        assert ended.out == ""
    with queue(settings) as client:
        assert client.get_queue_properties().approximate_message_count == 0


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]

"""``examples``, ``validate-message`` and ``send``: from a template to rows in the table."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.message_format.services import SERVICES
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.runner import Sandbox
from tests.acceptance.command import CLOSED_PORT, Ended, collect, command, with_endpoint
from tests.acceptance.stores import all_messages, queue, request, tables


def message(name: str, **fields: Any) -> dict[str, Any]:
    return {"message_id": name, "api_requests": [request("/subscriptions", **fields)]}


def stored(settings: Mapping[str, str]) -> list[str]:
    """What is in the queue, taken out."""
    with queue(settings) as client:
        return all_messages(client)


def ids(texts: list[str]) -> list[str]:
    return sorted(json.loads(text)["message_id"] for text in texts)


def send(settings: Mapping[str, str], *arguments: str, text: str = "") -> Ended:
    return command(["send", *arguments], settings, stdin=text)


# ── examples ─────────────────────────────────────────────────────────────────────────────────────


def test_examples_lists_every_service_with_its_namespace_and_version(tmp_path: Path) -> None:
    ended = command(["examples"], {}, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    rows = {line.split()[0]: line for line in ended.out.split("\n\n")[0].splitlines()}
    assert rows.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        assert service.provider in rows[name]
        assert service.versions[0] in rows[name]


def test_one_example_is_a_message_for_ones_own_subscription(tmp_path: Path) -> None:
    wanted = "6f0e8f4e-0f5e-4a5e-9e57-3d4b7f8b9c01"
    ended = command(["examples", "compute", "--subscription", wanted], {}, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    (asked,) = json.loads(ended.out)["api_requests"]
    assert asked["service"] == "compute"
    assert asked["parameters"] == {"subscriptionId": wanted}
    checked = command(["validate-message", "-"], {}, stdin=ended.out, cwd=tmp_path)
    assert (checked.code, checked.out) == (0, "1 good message (1 request), 0 bad\n")


@pytest.mark.soak
def test_every_example_is_good_can_be_sent_and_is_collected_completely(
    shared_sandbox: Sandbox, settings: dict[str, str], tmp_path: Path
) -> None:
    arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
    subscription = arm.catalogue()["subscriptions"][0]
    printed = command(["examples", "all", "--subscription", subscription], {}, cwd=tmp_path)
    assert (printed.code, printed.err) == (0, "")
    lines = printed.out.splitlines()
    assert [json.loads(line)["api_requests"][0]["service"] for line in lines] == list(SERVICES)
    checked = command(["validate-message", "-"], {}, stdin=printed.out, cwd=tmp_path)
    count = len(SERVICES)
    assert checked.out == f"{count} good messages ({count} requests), 0 bad\n"
    assert (checked.code, checked.err) == (0, "")

    run_id = settings["AZURE_QUEUE_NAME"]
    named = [{**json.loads(line), "message_id": f"{run_id}-{n}"} for n, line in enumerate(lines)]
    sent = send(settings, "-", text="\n".join(map(json.dumps, named)))
    assert sent.code == 0
    assert sent.out == f"sent {count} messages ({count} requests) to {run_id}\n"

    collect(settings)
    with tables(settings) as session:
        ledger = session.run(
            'SELECT SERVICE, OUTCOME, "ROWS" FROM REQUESTS WHERE MESSAGE_ID LIKE '
            f"'{run_id}-%' ORDER BY SERVICE"
        )
    assert {service: outcome for service, outcome, _ in ledger} == dict.fromkeys(
        SERVICES, "complete"
    )
    assert [service for service, _, rows in ledger if rows == 0] == []


# ── the forms that are taken ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("one.json", json.dumps(message("a"), indent=2), ["a"]),
        ("array.json", json.dumps([message("a"), message("b")]), ["a", "b"]),
        ("lines.jsonl", f"{json.dumps(message('a'))}\n\n{json.dumps(message('b'))}\n", ["a", "b"]),
        ("windows.json", "\ufeff" + json.dumps(message("a")).replace("}", "}\r\n"), ["a"]),
    ],
)
def test_each_form_of_a_file_is_sent(
    name: str, text: str, expected: list[str], settings: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode())
    ended = send(settings, str(file))
    assert ended.code == 0, ended.said
    assert ids(stored(settings)) == expected


def test_several_files_and_stdin_are_sent_together(
    settings: dict[str, str], tmp_path: Path
) -> None:
    files = [tmp_path / "1.json", tmp_path / "2.json"]
    for number, file in enumerate(files):
        file.write_text(json.dumps(message(f"file-{number}")))
    ended = send(settings, *map(str, files), "-", text=json.dumps(message("stdin")))
    assert ended.code == 0, ended.said
    assert ids(stored(settings)) == ["file-0", "file-1", "stdin"]


def test_as_base64_it_is_stored_and_collected_the_same(
    shared_sandbox: Sandbox, settings: dict[str, str]
) -> None:
    name = f"base64-{settings['AZURE_QUEUE_NAME']}"
    text = json.dumps(message(name, headers={"x-note": "größer"}))
    assert send(settings, "--base64", "-", text=text).code == 2  # a header is ASCII
    text = json.dumps(message(name, query_params={"x-note": "größer"}))
    assert send(settings, "--base64", "-", text=text).code == 0
    with queue(settings) as client:
        (peeked,) = client.peek_messages(5)
    assert json.loads(base64.b64decode(peeked.content))["message_id"] == name
    collect(settings)
    with tables(settings) as session:
        assert session.run(f"SELECT OUTCOME FROM REQUESTS WHERE MESSAGE_ID = '{name}'") == [
            ("complete",)
        ]


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


def test_one_bad_message_among_good_ones_and_nothing_is_sent(
    settings: dict[str, str], tmp_path: Path
) -> None:
    lines = tmp_path / "lines.jsonl"
    bad = message("bad", method="DELETE")
    lines.write_text("\n".join(json.dumps(one) for one in [message("a"), bad, message("b")]))
    array = tmp_path / "array.json"
    array.write_text(json.dumps([message("c"), {"api_requests": []}]))
    broken = tmp_path / "broken.json"
    broken.write_text('{\n "api_requests": [\n}')
    arguments = [str(lines), str(array), str(broken), str(tmp_path / "absent.json")]

    ended = send(settings, *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert f"{lines}:2: method not allowed" in ended.err
    assert f"{array}: element 2: no requests" in ended.err
    assert f"{broken}:3: not JSON" in ended.err
    assert f"{tmp_path / 'absent.json'}: cannot be read" in ended.err
    assert "nothing was sent: 4 of 7 cannot be" in ended.err
    assert stored(settings) == []

    checked = command(["validate-message", *arguments], {}, cwd=tmp_path)
    assert (checked.code, checked.out) == (2, "3 good messages (3 requests), 4 bad\n")
    assert [line for line in ended.err.splitlines()[:4] if line not in checked.err] == []


def test_a_secret_in_a_refused_header_is_not_said(settings: dict[str, str], tmp_path: Path) -> None:
    bad = message("bad", headers={"Authorization": "Bearer sesame-sesame"})
    for ended in (
        send(settings, "-", text=json.dumps(bad)),
        command(["validate-message", "-"], {}, stdin=json.dumps(bad), cwd=tmp_path),
    ):
        ended.assert_ended(2, "header not allowed")
        assert "sesame" not in ended.said


def test_what_writes_is_sent_only_where_the_operator_allows_it(settings: dict[str, str]) -> None:
    path = "/subscriptions/s/providers/Microsoft.Compute/disks/d/beginGetAccess"
    text = json.dumps({"api_requests": [request(path, method="POST")]})
    assert "write refused" in send(settings, "-", text=text).err
    assert send({**settings, "ALLOW_WRITES": "true"}, "-", text=text).code == 0
    assert len(stored(settings)) == 1


def test_what_is_probably_a_slip_is_noted_and_sent(settings: dict[str, str]) -> None:
    ended = send(settings, "-", text=json.dumps({**message("a", service="compte"), "prio": 1}))
    ended.assert_ended(0, "note: stdin: prio is ignored", "did you mean compute?")
    assert len(stored(settings)) == 1


def test_a_queue_that_is_not_there_is_told(settings: dict[str, str]) -> None:
    text = "\n".join(json.dumps(message(str(n))) for n in range(5))
    ended = send({**settings, "AZURE_QUEUE_NAME": "absent"}, "-", text=text)
    ended.assert_ended(3, "there is no queue absent", "0 of 5 messages sent", "stdin:1: not sent")


def test_a_queue_that_is_not_reached_is_told(settings: dict[str, str]) -> None:
    name = "AZURE_QUEUE_CONNECTION_STRING"
    closed = with_endpoint(settings[name], f"http://127.0.0.1:{CLOSED_PORT}")
    ended = send({**settings, name: closed}, "-", text=json.dumps(message("a")))
    ended.assert_ended(3, "refused the connection", "0 of 1 message sent")

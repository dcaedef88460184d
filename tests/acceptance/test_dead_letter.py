"""``dead-letter list``, ``show``, ``replay`` and ``purge`` on a real queue."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.command import CLOSED_PORT, collect, with_endpoint
from tests.acceptance.dead_letters import (
    NOBODY,
    ORIGINAL,
    POISON,
    audit,
    dead_letter,
    held,
    put,
    sealed,
    taken,
    visible,
)
from tests.acceptance.stores import queue, request, tables

# ── list and show ────────────────────────────────────────────────────────────────────────────────


def test_an_empty_poison_queue_is_listed(settings: dict[str, str]) -> None:
    ended = dead_letter(settings, "list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{settings['AZURE_QUEUE_NAME']}-poison: looked through 0 messages\n"


def test_a_queue_without_a_poison_queue_yet_is_an_empty_one(settings: dict[str, str]) -> None:
    with queue(settings, POISON) as client:
        client.delete_queue()
    assert dead_letter(settings, "list").code == 0
    dead_letter(settings, "replay", NOBODY).assert_ended(2, NOBODY, "looked through 0 messages")


def test_list_tells_what_the_collector_gave_up_and_leaves_it_there(
    settings: dict[str, str],
) -> None:
    with queue(settings) as client:
        for number in range(40):
            client.send_message(json.dumps({"message_id": f"m-{number}", "api_requests": []}))
    collect(settings)
    put(settings, "somebody else's")
    for _ in range(2):
        listed = dead_letter(settings, "list", "--json")
        assert (listed.code, listed.err) == (0, "")
        rows = json.loads(listed.out)["messages"]
        assert len(rows) == 41
        assert {row.get("message_id") for row in rows} == {f"m-{n}" for n in range(40)} | {None}
        (foreign,) = [row for row in rows if "text" in row]
        assert foreign["text"] == "somebody else's"
    lines = dead_letter(settings, "list").out.splitlines()
    assert len(lines) == 42
    own = next(line for line in lines if "message_id m-7 " in line)
    assert "1 delivery" in own
    assert "api_requests" in own
    assert len(taken(settings, POISON)) == 41


def test_list_tells_of_what_others_hold(settings: dict[str, str]) -> None:
    put(settings, sealed(settings), sealed(settings))
    with queue(settings, POISON) as client:
        next(client.receive_messages(visibility_timeout=60))
    assert "looked through 1 message; about 1 more" in dead_letter(settings, "list").out


def test_show_gives_the_envelope_and_the_original_exactly(settings: dict[str, str]) -> None:
    text = "x" * 65_000 + " é <&>"
    _, wanted = put(settings, sealed(settings), sealed(settings, text, message_id="m-1"))
    shown = dead_letter(settings, "show", wanted)
    assert (shown.code, shown.err) == (0, "")
    head, _, below = shown.out.partition("\n\n")
    assert json.loads(head)["message_id"] == "m-1"
    assert below == text + "\n"
    only = dead_letter(settings, "show", wanted, "--original")
    assert (only.code, only.out) == (0, text + "\n")
    assert len(visible(settings, POISON)) == 2


def test_show_tells_where_it_looked(settings: dict[str, str]) -> None:
    put(settings, sealed(settings))
    name = settings["AZURE_QUEUE_NAME"]
    ended = dead_letter(settings, "show", NOBODY)
    ended.assert_ended(2, f"{NOBODY}: not found", f"{name}-poison: looked through 1 message")


# ── replay ───────────────────────────────────────────────────────────────────────────────────────


def test_replay_puts_back_the_original_unchanged(settings: dict[str, str]) -> None:
    first, second, _ = put(settings, *(sealed(settings, f"{ORIGINAL}{n}") for n in range(3)))
    ended = dead_letter(settings, "replay", first, second)
    assert (ended.code, ended.out) == (0, "replayed 2 messages\n")
    line = audit(ended, "dead_letters_replayed")
    assert sorted(line["message_ids"]) == sorted([first, second])
    assert line["user"]
    assert sorted(taken(settings)) == [f"{ORIGINAL}0", f"{ORIGINAL}1"]
    assert (held(settings), held(settings, POISON)) == (0, 1)
    assert len(visible(settings, POISON)) == 1


def test_a_replayed_message_is_collected(settings: dict[str, str]) -> None:
    name = settings["AZURE_QUEUE_NAME"]
    text = json.dumps({"message_id": name, "api_requests": [request("/subscriptions")]})
    put(settings, sealed(settings, text, reason="delivered too often", message_id=name))
    assert dead_letter(settings, "replay", "--all").code == 0
    collect(settings)
    with tables(settings) as session:
        found = session.run(f"SELECT OUTCOME FROM REQUESTS WHERE MESSAGE_ID = '{name}'")
    assert found == [("complete",)]
    assert (held(settings), held(settings, POISON)) == (0, 0)


def test_replay_all_takes_more_than_a_page_and_keeps_to_the_reason(
    settings: dict[str, str],
) -> None:
    put(settings, *(sealed(settings, str(n), reason="delivered too often") for n in range(70)))
    put(settings, sealed(settings), "somebody else's")
    ended = dead_letter(settings, "replay", "--all", "--reason", "too OFTEN")
    assert (ended.code, ended.out) == (0, "replayed 70 messages\n")
    assert sorted(taken(settings), key=int) == [str(n) for n in range(70)]
    assert len(visible(settings, POISON)) == 2


def test_what_cannot_be_replayed_is_told_and_kept(settings: dict[str, str]) -> None:
    cut = json.dumps({**json.loads(sealed(settings)), "text_sha256": "0" * 64})
    stored = [cut, "somebody else's", sealed(settings, queue="another"), sealed(settings, "good")]
    put(settings, *stored)
    ended = dead_letter(settings, "replay", "--all")
    ended.assert_ended(2, "too large to be kept whole", "no envelope", "it came from 'another'")
    assert ended.out == "replayed 1 message, 3 kept\n"
    assert taken(settings) == ["good"]
    assert sorted(taken(settings, POISON)) == sorted(stored[:3])


def test_an_unknown_id_is_told_and_the_others_are_replayed(settings: dict[str, str]) -> None:
    (known,) = put(settings, sealed(settings))
    ended = dead_letter(settings, "replay", NOBODY, known)
    ended.assert_ended(2, f"{NOBODY}: not found", "looked through 1 message")
    assert taken(settings) == [ORIGINAL]


# ── purge ────────────────────────────────────────────────────────────────────────────────────────


def test_purge_without_yes_only_counts(settings: dict[str, str]) -> None:
    put(settings, sealed(settings), sealed(settings, reason="delivered too often"))
    ended = dead_letter(settings, "purge", "--all", "--reason", "json")
    ended.assert_ended(2, "nothing was deleted", "--yes, 1 message would be")
    assert len(visible(settings, POISON)) == 2


def test_purge_deletes_what_is_named(settings: dict[str, str]) -> None:
    first, second = put(settings, "somebody else's", sealed(settings))
    ended = dead_letter(settings, "purge", first, "--yes")
    assert (ended.code, ended.out) == (0, "purged 1 message\n")
    assert audit(ended, "dead_letters_purged")["message_ids"] == [first]
    dead_letter(settings, "purge", first, "--yes").assert_ended(2, f"{first}: not found")
    assert dead_letter(settings, "purge", "--all", "--yes").out == "purged 1 message\n"
    assert second
    assert (held(settings), held(settings, POISON)) == (0, 0)


# ── usage ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["lst"],
        ["show"],
        ["replay"],
        ["replay", NOBODY, "--all"],
        ["replay", NOBODY, "--reason", "x"],
        ["purge", "--yes"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2(settings: dict[str, str], arguments: list[str]) -> None:
    ended = dead_letter(settings, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


def test_a_queue_that_is_away_ends_with_3(settings: dict[str, str]) -> None:
    away = with_endpoint(
        settings["AZURE_QUEUE_CONNECTION_STRING"], f"http://127.0.0.1:{CLOSED_PORT}"
    )
    ended = dead_letter({**settings, "AZURE_QUEUE_CONNECTION_STRING": away}, "list")
    ended.assert_ended(3, "queue")


def test_one_queue_of_several_may_be_named(settings: dict[str, str]) -> None:
    put(settings, sealed(settings))
    name = settings["AZURE_QUEUE_NAME"]
    several = {**settings, "AZURE_QUEUE_NAME": f"another,{name}"}
    assert len(json.loads(dead_letter(several, "list", "--json").out)["messages"]) == 1
    assert dead_letter(several, "list", "--queue", "another").out.count("\n") == 1
    assert dead_letter(several, "replay", "--all", "--queue", name).out == "replayed 1 message\n"
    assert taken(settings) == [ORIGINAL]

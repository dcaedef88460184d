"""``send`` into a real queue, and what the queue's errors say."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import AzureError
from azure.storage.queue import QueueClient

from pipeline.commands.message_commands import send
from pipeline.config import Config, load
from pipeline.errors import ConfigError, DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.message_format.examples import all_examples
from pipeline.message_format.rules import parse_message
from pipeline.sandbox.azurite import Azurite
from stages.fetch.queue import QueueSender, open_queue, poison_name, queue_error
from tests.integration.azurite_server import running_azurite

QUEUE = "collector"
SUBSCRIPTION = "6f0e8f4e-0f5e-4a5e-9e57-3d4b7f8b9c01"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with running_azurite(tmp_path_factory.mktemp("queue")) as server:
        yield server


def configured(tmp_path: Path, **settings: str) -> Config:
    return load(
        overrides={"AZURE_QUEUE_NAME": QUEUE, **settings},
        environ={},
        env_file=tmp_path / "none.env",
        needs=["queue"],
    )


@pytest.fixture
def config(azurite: Azurite, tmp_path: Path) -> Config:
    return configured(tmp_path, AZURE_QUEUE_CONNECTION_STRING=azurite.connection_string)


@pytest.fixture
def queue(config: Config) -> Iterator[QueueClient]:
    """The queue, empty."""
    with open_queue(config, QUEUE) as client:
        client.create_queue()
        yield client
        client.delete_queue()


def a_message(number: int) -> dict[str, Any]:
    return {
        "message_id": f"m-{number}",
        "api_requests": [
            {
                "service": "compute",
                "api_version": "2024-07-01",
                "method": "GET",
                "resource_path": f"/subscriptions/{SUBSCRIPTION}",
            }
        ],
    }


def written(path: Path, *messages: object) -> str:
    path.write_text("\n".join(json.dumps(message) for message in messages))
    return str(path)


def sent(config: Config, *files: str, as_base64: bool = False) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``send``."""
    out, err = io.StringIO(), io.StringIO()
    code = send(config, files, open_sender=QueueSender, as_base64=as_base64, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def stored(queue: QueueClient) -> list[str]:
    pages = queue.receive_messages(messages_per_page=32, visibility_timeout=60).by_page()
    texts: list[str] = []
    while page := list(next(pages, [])):
        texts += [message.content for message in page]
    return texts


def waiting(queue: QueueClient) -> int:
    return queue.get_queue_properties().approximate_message_count or 0


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def test_the_messages_of_all_files_are_in_the_queue_as_the_collector_reads_them(
    config: Config, queue: QueueClient, tmp_path: Path
) -> None:
    one = written(tmp_path / "one.json", a_message(1))
    many = written(tmp_path / "many.jsonl", a_message(2), a_message(3))
    assert sent(config, one, many) == (0, f"sent 3 messages (3 requests) to {QUEUE}\n", "")
    read = [parse_message(text, allow_writes=False) for text in stored(queue)]
    assert {message.message_id for message in read} == {"m-1", "m-2", "m-3"}


def test_base64_is_stored_as_base64(config: Config, queue: QueueClient, tmp_path: Path) -> None:
    code, _, _ = sent(config, written(tmp_path / "m.json", a_message(1)), as_base64=True)
    assert code == 0
    (text,) = stored(queue)
    assert json.loads(base64.b64decode(text)) == a_message(1)
    assert parse_message(text, allow_writes=False).message_id == "m-1"


def test_text_of_every_kind_survives_the_queues_xml(
    config: Config, queue: QueueClient, tmp_path: Path
) -> None:
    ids = ["<&>\"']]>", "é漢😀", "a  b ", "\ufffe"]
    messages = [{**a_message(0), "correlation_id": text} for text in ids]
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps(m, ensure_ascii=False) for m in messages))
    assert sent(config, str(path))[0] == 0
    read = {parse_message(text, allow_writes=False).correlation_id for text in stored(queue)}
    assert read == set(ids)


def test_one_bad_message_keeps_all_from_being_sent(
    config: Config, queue: QueueClient, tmp_path: Path
) -> None:
    good = written(tmp_path / "good.json", a_message(1))
    bad = written(tmp_path / "bad.jsonl", a_message(2), {"api_requests": []})
    code, out, err = sent(config, good, bad)
    assert (code, out) == (2, "")
    assert f"{bad}:2: no requests" in err
    assert "nothing was sent: 1 of 3 cannot be" in err
    assert waiting(queue) == 0


def test_a_thousand_messages_are_sent_and_every_example_is_one(
    config: Config, queue: QueueClient, tmp_path: Path
) -> None:
    messages = [*all_examples(SUBSCRIPTION), *map(a_message, range(1_000))]
    code, out, _ = sent(config, written(tmp_path / "m.jsonl", *messages))
    assert code == 0
    assert out.startswith(f"sent {len(messages):,} messages")
    assert waiting(queue) == len(messages)
    (message,) = queue.peek_messages()
    assert message.expires_on is not None
    assert message.expires_on.year > 2100, "a message must not be dropped unseen after 7 days"


def test_a_queue_that_is_not_there_is_said_and_counted(config: Config, tmp_path: Path) -> None:
    file = written(tmp_path / "m.jsonl", *map(a_message, range(60)))
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(NotThere, match=f"no queue {QUEUE}.*; 0 of 60 messages sent") as caught:
        send(config, [file], open_sender=QueueSender, out=out, err=err)
    assert "AZURE_QUEUE_NAME" in caught.value.hint
    assert f"{file}:1: not sent" in err.getvalue()
    assert err.getvalue().endswith("… and 10 more messages\n")
    assert out.getvalue() == ""


class FailsAfter:
    """A sender whose queue goes away; what came before is really sent."""

    name = QUEUE

    def __init__(self, inner: QueueSender, number: int) -> None:
        self._inner = inner
        self._left = number

    def send(self, text: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise Unreachable("queue", "gone")
        self._inner.send(text)

    def close(self) -> None:
        self._inner.close()


def test_what_was_sent_before_the_queue_went_away_is_told_from_the_rest(
    config: Config, queue: QueueClient, tmp_path: Path
) -> None:
    file = written(tmp_path / "m.jsonl", *map(a_message, range(40)))
    err = io.StringIO()
    with pytest.raises(Unreachable, match=r"gone; (\d+) of 40 messages sent") as caught:
        send(
            config,
            [file],
            open_sender=lambda config, name: FailsAfter(QueueSender(config, name), 10),
            out=io.StringIO(),
            err=err,
        )
    told = int(re.findall(r"(\d+) of 40", str(caught.value))[0])
    assert told == waiting(queue) == 10
    unsent = {int(line) for line in re.findall(r":(\d+): not sent", err.getvalue())}
    arrived = {int(json.loads(text)["message_id"][2:]) + 1 for text in stored(queue)}
    assert unsent | arrived == set(range(1, 41))
    assert not unsent & arrived


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def failure(config: Config, name: str = QUEUE) -> DependencyError:
    """What peeking at the queue raises, in our own tree."""
    with open_queue(config, name) as client, pytest.raises(AzureError) as caught:
        client.peek_messages()
    return queue_error(caught.value, name)


def with_endpoint(azurite: Azurite, endpoint: str) -> str:
    return re.sub("QueueEndpoint=[^;]+", f"QueueEndpoint={endpoint}", azurite.connection_string)


def test_a_queue_that_is_not_there(config: Config) -> None:
    error = failure(config, "nothing-here")
    assert type(error) is NotThere
    assert "there is no queue nothing-here" in error.problem


def test_a_wrong_key_is_refused_and_not_shown(azurite: Azurite, tmp_path: Path) -> None:
    key = base64.b64encode(b"not-the-key").decode()
    text = re.sub("AccountKey=[^;]+", f"AccountKey={key}", azurite.connection_string)
    error = failure(configured(tmp_path, AZURE_QUEUE_CONNECTION_STRING=text))
    assert type(error) is Unauthorised
    assert "403 AuthenticationFailed" in error.problem
    assert "account key" in error.hint
    assert key not in str(error)


def test_a_port_where_nothing_listens(azurite: Azurite, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    text = with_endpoint(azurite, f"http://127.0.0.1:{port}/sandbox")
    error = failure(configured(tmp_path, AZURE_QUEUE_CONNECTION_STRING=text))
    assert type(error) is Unreachable
    assert f"127.0.0.1:{port} refused the connection" in error.problem


def test_a_host_that_does_not_exist(azurite: Azurite, tmp_path: Path) -> None:
    text = with_endpoint(azurite, "http://no-such-host.invalid/sandbox")
    error = failure(configured(tmp_path, AZURE_QUEUE_CONNECTION_STRING=text))
    assert type(error) is Unreachable
    assert "no host is called no-such-host.invalid" in error.problem


def test_an_endpoint_that_speaks_no_tls(azurite: Azurite, tmp_path: Path) -> None:
    plain = re.findall("QueueEndpoint=http://([^;]+)", azurite.connection_string)[0]
    text = with_endpoint(azurite, f"https://{plain}")
    error = failure(configured(tmp_path, AZURE_QUEUE_CONNECTION_STRING=text))
    assert type(error) is Unreachable
    assert "TLS" in error.problem


def test_neither_connection_string_nor_url(tmp_path: Path) -> None:
    config = load(
        overrides={"AZURE_QUEUE_NAME": QUEUE}, environ={}, env_file=tmp_path / "x", needs=[]
    )
    with pytest.raises(ConfigError, match="AZURE_QUEUE_ACCOUNT_URL: not set"):
        open_queue(config, QUEUE)


def test_the_poison_queue_is_named_after_its_queue() -> None:
    assert poison_name("jobs") == "jobs-poison"

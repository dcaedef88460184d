"""A message is moved to the poison queue once, whatever becomes of the answers on the way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.config import Config, load
from pipeline.errors import BadMessage
from stages.fetch import queue as queue_module
from stages.fetch.counted import POISONED
from stages.fetch.journal import LeaseJournal
from stages.fetch.leases import LeaseBook
from stages.fetch.placeholders import MARGIN
from stages.fetch.poison import Mark, envelope, moving, original
from stages.fetch.queue_io import PLACEHOLDER, QueueIo
from stages.fetch.returns import Returns
from tests.acceptance.chaos.between import proxies_between
from tests.acceptance.chaos.proxy import Kind
from tests.acceptance.stores import all_messages, queue

LEASE_S = 2
LIMIT_S = 60
ERROR = BadMessage("not JSON", "line 1")
# The calls of a move in their order: method, and what stands behind the queue's name.
STEPS = (
    ("POST", "-poison/messages"),
    ("PUT", "/messages/"),
    ("PUT", "-poison/messages/"),
    ("DELETE", "/messages/"),
)

Test = Callable[[QueueIo, Returns, str], Awaitable[None]]
HOUR = timedelta(hours=1)


def run(config: Config, test: Test) -> Counter[str]:
    """Run a test with the operations of the config's queue; what it counted."""
    counters: Counter[str] = Counter()

    async def opened() -> None:
        io = QueueIo(config)
        try:
            # A journal that was not opened writes nothing.
            journal = LeaseJournal(Path(), list)
            returns = Returns(io, LeaseBook(LEASE_S, 1), journal, counters, LEASE_S)
            await test(io, returns, config.azure_queue_name[0])
        finally:
            io.close()

    asyncio.run(asyncio.wait_for(opened(), LIMIT_S))
    return counters


def config_of(settings: dict[str, str]) -> Config:
    return load(environ={**settings, "VISIBILITY_TIMEOUT": str(LEASE_S)}, needs=("queue",))


async def move_all(io: QueueIo, returns: Returns, name: str, messages: int) -> None:
    """Poison what the queue holds, until nothing comes back."""
    while messages:
        for message in (await io.receive(name))[0]:
            await returns.poison(name, message, None, ERROR)
        await asyncio.sleep(0.05)
        properties = await asyncio.to_thread(io._clients[name].get_queue_properties)
        messages = int(properties.approximate_message_count or 0)


def letters(settings: dict[str, str]) -> list[dict[str, str]]:
    with queue(settings) as work, queue(settings, "-poison") as poison:
        assert all_messages(work) == []
        return [json.loads(text) for text in all_messages(poison)]


@pytest.mark.parametrize("retries", [0, 2], ids=["interrupted", "tried again by the SDK"])
@pytest.mark.parametrize("kind", ["answer_lost", "reset", "status_5xx"])
def test_a_fault_at_any_step_neither_doubles_nor_loses_it(
    kind: Kind, retries: int, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "RETRIES", retries)
    monkeypatch.setattr(queue_module, "RETRY_WAIT_S", 0)
    monkeypatch.setattr(queue_module, "RETRY_JITTER_S", 0)
    sent = ["{", '{"a": 1}', "é" * 20_000, "x" * 65_536]
    with queue(settings) as client:
        for text in sent:
            client.send_message(text)
    with proxies_between(settings) as between:
        proxy = between.queue

        async def test(io: QueueIo, returns: Returns, name: str) -> None:
            messages, _ = await io.receive(name)
            for (method, path), message in zip(STEPS, messages, strict=True):
                proxy.fault(kind, first=1, method=method, path=f"/{name}{path}")
                await returns.poison(name, message, None, ERROR)
            assert proxy.counts == {kind: len(STEPS)}
            await move_all(io, returns, name, len(sent))

        counters = run(config_of(between.settings), test)
    found = letters(settings)
    assert sorted(original(json.dumps(letter)) for letter in found) == sorted(sent)
    # One whose delete was done and not answered is not counted: nobody sees it again.
    assert counters[POISONED] >= len(sent) - (not retries)
    assert {(letter["reason"], letter["detail"]) for letter in found} == {("not JSON", "line 1")}


def marked(config: Config, queue_message_id: str, ended: datetime) -> str:
    """A message whose move to the poison queue was begun, and interrupted."""
    stored = envelope(
        reason="not JSON",
        detail="of then",
        queue=config.azure_queue_name[0],
        queue_message_id=queue_message_id,
        message_id="m-1",
        dequeue_count=1,
        inserted_at=None,
        text="{",
    )
    text = moving(stored, Mark("00000000-0000-0000-0000-000000000000", "AAAA", ended))
    assert text is not None
    return text


def test_a_message_that_claims_to_be_moved_and_is_not_its_own_is_poison(
    settings: dict[str, str],
) -> None:
    """Anyone can send such a text, or copy one: it must not lead to a delete without a letter."""
    config = config_of(settings)
    text = marked(config, "00000000-0000-0000-0000-000000000001", datetime.now(UTC) + HOUR)
    with queue(settings) as client:
        client.send_message(text)
    run(config, lambda io, returns, name: move_all(io, returns, name, 1))
    [letter] = letters(settings)
    assert letter["text"] == text


def test_a_move_that_nobody_finished_for_days_is_made_anew(settings: dict[str, str]) -> None:
    """Others may have received the place since, so a refusal no longer tells."""
    config = config_of(settings)
    ended = datetime.now(UTC) + MARGIN - timedelta(seconds=5)
    with queue(settings) as client:
        sent = client.send_message("{")
        client.update_message(sent, content=marked(config, sent.id, ended), visibility_timeout=0)
    counters = run(config, lambda io, returns, name: move_all(io, returns, name, 1))
    [letter] = letters(settings)
    assert (letter["detail"], letter["message_id"], letter["text"]) == ("of then", "m-1", "{")
    assert counters == {POISONED: 1}


def test_a_place_that_nobody_knows_of_says_what_it_is(settings: dict[str, str]) -> None:
    async def test(io: QueueIo, returns: Returns, name: str) -> None:
        place = await io.reserve_poison(name)
        client = io._poison[name]
        await asyncio.to_thread(
            client.update_message, place.placeholder_id, place.pop_receipt, visibility_timeout=0
        )

    run(config_of(settings), test)
    with queue(settings, "-poison") as poison:
        assert all_messages(poison) == [PLACEHOLDER]


@pytest.mark.parametrize("begun", [False, True])
def test_a_poison_queue_that_somebody_has_deleted_is_made_anew(
    settings: dict[str, str], begun: bool
) -> None:
    """It is a way to be rid of what is in it; also of a place that was about to be used."""
    config = config_of(settings)
    with queue(settings) as client, queue(settings, "-poison") as poison:
        sent = client.send_message("{")
        if begun:
            text = marked(config, sent.id, datetime.now(UTC) + HOUR)
            client.update_message(sent, content=text, visibility_timeout=0)
        poison.delete_queue()
    counters = run(config, lambda io, returns, name: move_all(io, returns, name, 1))
    assert counters == {POISONED: 1}
    assert [letter["text"] for letter in letters(settings)] == ["{"]


def test_one_that_cannot_be_moved_now_comes_back_soon_and_later_each_time(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "RETRIES", 0)
    with queue(settings) as client:
        client.send_message("{")
    # Its lease would keep it away for ten minutes.
    settings = {**settings, "VISIBILITY_TIMEOUT": "600"}
    with proxies_between(settings) as between:
        proxy = between.queue

        async def test(io: QueueIo, returns: Returns, name: str) -> None:
            proxy.fault("status_5xx", first=2, method="POST", path=f"/{name}-poison/messages")
            while proxy.counts["status_5xx"] < 2:
                for message in (await io.receive(name))[0]:
                    await returns.poison(name, message, None, ERROR)
                await asyncio.sleep(0.05)
            await move_all(io, returns, name, 1)

        config = load(environ=between.settings, needs=("queue",))
        assert run(config, test) == {POISONED: 1}
    assert len(letters(settings)) == 1

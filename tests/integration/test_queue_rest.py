"""The queue's calls over its REST API: with an identity over TLS, and with a shared signature."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from azure.storage.queue import (
    AccountSasPermissions,
    QueueServiceClient,
    ResourceTypes,
    generate_account_sas,
)

from pipeline.config import Config, load
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from stages.fetch import queue as queue_module
from stages.fetch.queue import LeaseLost
from stages.fetch.queue_io import QueueIo
from stages.fetch.receiver import EMPTY_PAUSE_MIN_S, Receiver
from tests.standins.connect_proxy import ConnectProxy
from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Fault
from tests.standins.queue_storage import QueueStorage, refusal

pytest_plugins = ["tests.standins.plugin"]

QUEUE = "work"
LIMIT_S = 30


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is tried again without a pause."""
    monkeypatch.setattr(queue_module, "RETRY_WAIT_S", 0)
    monkeypatch.setattr(queue_module, "RETRY_JITTER_S", 0)


@pytest.fixture
def storage(ca: trustme.CA, entra: Entra) -> Iterator[QueueStorage]:
    with QueueStorage(ca, entra) as server:
        yield server


@pytest.fixture
def identity(storage: QueueStorage, application: dict[str, str]) -> Config:
    settings = {**application, "AZURE_QUEUE_ACCOUNT_URL": storage.url, "AZURE_QUEUE_NAME": QUEUE}
    return load(environ=settings, needs=("queue",))


def run(test: Callable[[QueueIo], Awaitable[None]], config: Config) -> None:
    async def opened() -> None:
        with closing(QueueIo(config)) as io:
            await test(io)

    asyncio.run(asyncio.wait_for(opened(), LIMIT_S))


def test_one_token_serves_many_calls(identity: Config, storage: QueueStorage, entra: Entra) -> None:
    storage.texts = {"a": "<&> \"quoted\" 'é' 🌍", "b": ""}

    async def test(io: QueueIo) -> None:
        [first, second], _ = await io.receive(QUEUE)
        assert [first.text, second.text] == ["<&> \"quoted\" 'é' 🌍", ""]
        assert first.inserted_at == datetime(2026, 11, 23, 10, 11, 12, tzinfo=UTC)
        receipt, _ = await io.renew(QUEUE, first.id, first.pop_receipt)
        assert receipt == "A/g+1=="
        with pytest.raises(LeaseLost, match="PopReceiptMismatch"):
            await io.delete(QUEUE, first.id, first.pop_receipt)
        await asyncio.gather(
            io.delete(QUEUE, first.id, receipt), io.delete(QUEUE, second.id, second.pop_receipt)
        )
        await io.delete(QUEUE, first.id, receipt)  # as after an answer that was lost

    run(test, identity)
    assert storage.texts == {}
    assert entra.counts["token"] == 1
    ids = [request.headers["x-ms-client-request-id"] for request in storage.asked]
    assert len(set(ids)) == len(ids) == 6
    assert storage.asked[0].headers["x-ms-version"] > "2018-03-28"
    assert storage.asked[1].query == {"popreceipt": "A/g+0==", "visibilitytimeout": "300"}


def test_a_challenge_is_answered_once_with_a_token_for_what_it_names(
    identity: Config, storage: QueueStorage, entra: Entra
) -> None:
    storage.resource = "https://storage.of.another.cloud"

    async def test(io: QueueIo) -> None:
        assert (await io.receive(QUEUE))[0] == []
        assert (await io.receive(QUEUE))[0] == []

    run(test, identity)
    assert storage.counts == {"challenge": 1, "GET": 2}
    assert entra.counts["token"] == 2


def test_an_identity_that_is_refused_is_told_without_its_token(
    identity: Config, storage: QueueStorage, entra: Entra
) -> None:
    storage.faults = [Fault(refusal(403, "AuthorizationPermissionMismatch"))]

    async def test(io: QueueIo) -> None:
        with pytest.raises(Unauthorised, match="Storage Queue Data Contributor") as refused:
            await io.receive(QUEUE)
        assert not any(token in str(refused.value) for token in entra.issued)

    run(test, identity)
    assert storage.counts == {"failed": 1}


def test_a_queue_that_is_not_there_is_told(identity: Config, storage: QueueStorage) -> None:
    storage.faults = [Fault(refusal(404, "QueueNotFound"))]

    async def test(io: QueueIo) -> None:
        with pytest.raises(NotThere, match=QUEUE):
            await io.receive(QUEUE)

    run(test, identity)


def test_trouble_that_passes_is_not_told(identity: Config, storage: QueueStorage) -> None:
    storage.texts = {"a": "x"}
    storage.drops = 1
    storage.faults = [Fault(refusal(503, "ServerBusy"))]

    async def test(io: QueueIo) -> None:
        [message], _ = await io.receive(QUEUE)
        # A kept connection that ends is asked again over a new one.
        storage.drops = 1
        await io.delete(QUEUE, message.id, message.pop_receipt)

    run(test, identity)
    assert storage.counts == {"dropped": 2, "failed": 1, "GET": 1, "DELETE": 1}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("503", "busy or has trouble"), ("drops", "broke"), ("silence", "did not answer in time")],
)
def test_trouble_that_lasts_is_told_after_some_tries(
    trouble: str,
    said: str,
    identity: Config,
    storage: QueueStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_module, "READ_TIMEOUT_S", 0.5)
    storage.faults = [Fault(refusal(503, "ServerBusy"))] * 9 if trouble == "503" else []
    storage.drops = 9 if trouble == "drops" else 0
    storage.silent = trouble == "silence"

    async def test(io: QueueIo) -> None:
        with pytest.raises(Unreachable, match=said):
            await io.delete(QUEUE, "id", "receipt")

    run(test, identity)
    assert len(storage.asked) == 1 + queue_module.RETRIES


def test_an_answer_that_is_no_list_of_messages_is_told(
    identity: Config, storage: QueueStorage
) -> None:
    storage.faults = [Fault(Answer(200, body)) for body in (b"<html>", b"<a/>", b"")]

    async def test(io: QueueIo) -> None:
        for _ in range(3):
            with pytest.raises(DependencyError, match="no list of messages"):
                await io.receive(QUEUE)

    run(test, identity)
    assert storage.counts["failed"] == 3


def test_a_certificate_that_nobody_trusts_is_told(
    identity: Config, storage: QueueStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(io: QueueIo) -> None:
        assert (await io.receive(QUEUE))[0] == []  # with the token, for which Entra is trusted
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(Unreachable, match="is not trusted"):
            await io.renew(QUEUE, "id", "receipt")

    run(test, identity)
    assert storage.counts == {"GET": 1}


def test_a_proxy_carries_the_calls(
    identity: Config, storage: QueueStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.texts = {"a": "x"}

    async def test(io: QueueIo) -> None:
        [message], _ = await io.receive(QUEUE)  # with the token, which the proxy is not for
        with ConnectProxy() as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            await io.renew(QUEUE, message.id, message.pop_receipt)
            io.close()
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{storage.port} ")
        assert "Bearer" not in head

    run(test, identity)
    assert storage.counts == {"GET": 1, "PUT": 1}


def test_an_empty_queue_is_asked_by_one_and_less_and_less_often(
    identity: Config, storage: QueueStorage
) -> None:
    async def test(io: QueueIo) -> None:
        counters: Counter[str] = Counter()
        asked = asyncio.Event()

        def nothing() -> None:
            if storage.counts["GET"] == 4:
                asked.set()

        receiver = Receiver(io, (QUEUE,), lambda: True, lambda *_: None, nothing, counters)
        loop, tasks = asyncio.get_running_loop(), []
        receiver.start(lambda work: tasks.append(loop.create_task(work)), last=False)
        began_s = loop.time()
        await asyncio.wait_for(asked.wait(), LIMIT_S)
        assert loop.time() - began_s >= EMPTY_PAUSE_MIN_S * (1 + 2 + 4)
        assert receiver.emptied
        await receiver.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(test, identity)


def test_a_shared_access_signature_is_enough(settings: dict[str, str]) -> None:
    owner = settings["AZURE_QUEUE_CONNECTION_STRING"]
    parts = dict(part.split("=", 1) for part in owner.split(";") if part)
    signature = generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(
            read=True, write=True, delete=True, list=True, add=True, update=True, process=True
        ),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    signed = f"QueueEndpoint={parts['QueueEndpoint']};SharedAccessSignature={signature}"
    config = load(environ={**settings, "AZURE_QUEUE_CONNECTION_STRING": signed}, needs=("queue",))
    name = config.azure_queue_name[0]
    with (
        QueueServiceClient.from_connection_string(owner) as service,
        service.get_queue_client(name) as client,
    ):
        client.send_message("m")

        async def test(io: QueueIo) -> None:
            [message], _ = await io.receive(name)
            receipt, _ = await io.renew(name, message.id, message.pop_receipt)
            await io.delete(name, message.id, receipt)

        run(test, config)
        assert client.get_queue_properties().approximate_message_count == 0

"""A job whose every row is known beforehand, and the comparison of the tables with it."""

from __future__ import annotations

import json
import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from azure.storage.queue import QueueClient

from pipeline.sandbox.arm.control import SimulatorControl
from tests.acceptance.bad_messages import BAD
from tests.acceptance.stores import all_messages, queue, request, tables
from tests.processes import until

API_VERSION = "2024-07-01"
LISTS = (
    "/subscriptions/{s}/providers/Microsoft.Compute/virtualMachines",
    "/subscriptions/{s}/providers/Microsoft.Compute/disks",
    "/subscriptions/{s}/providers/Microsoft.Network/virtualNetworks",
    "/subscriptions/{s}/providers/Microsoft.KeyVault/vaults",
    "/subscriptions/{s}/resourceGroups",
)
# Of the requests: lists, single resources, and resources that are not there.
LIST_SHARE, GET_SHARE = 0.4, 0.95
MOST_REQUESTS = 4
SENDERS = 8
CLIENT_ID = "x-ms-client-request-id"
# Every so-many-th message may share its answers with others that ask the same.
SHARED_EACH = 4
# Messages that a feeder keeps in the queue: Azurite slows down with thousands of them.
DEPTH = 400
FEED = 40
# How many missing or doubled rows a failed comparison shows.
SHOWN = 5

Key = tuple[str, int]


class Job:
    """Messages sent to a queue, and what has to be in the tables and the poison queue for them.

    Args:
        settings: how to reach queue, simulator and Snowflake without any fault in between.
        seed: the same seed asks for the same resources.

    Attributes:
        run: begins the id of each message.
        sent: messages sent so far, bad ones included.
    """

    def __init__(self, settings: Mapping[str, str], seed: int = 1) -> None:
        self.settings = dict(settings)
        self.arm = SimulatorControl(settings["AZURE_ARM_ENDPOINT"])
        self.run = secrets.token_hex(4)
        self.sent = 0
        self._chance = random.Random(seed)
        self._subscriptions = self.arm.catalogue()["subscriptions"]
        self._answers: dict[str, dict[str, Any]] = {}
        self._machines = {s: self._answer(LISTS[0].format(s=s))["ids"] for s in self._subscriptions}
        self._rows: Counter[tuple[str, int, str]] = Counter()
        self._ledger: dict[Key, tuple[str, int, int]] = {}
        # What Azure says of each resource, by a digest of its text.
        self._bodies: dict[str, str] = {}
        self._poison: Counter[tuple[str, str]] = Counter()
        self._numbered = 0

    @property
    def requests(self) -> int:
        """Requests of all good messages sent."""
        return len(self._ledger)

    @property
    def rows(self) -> int:
        """Rows of RESOURCES that they have to become."""
        return self._rows.total()

    @property
    def poison(self) -> int:
        """Messages that have to be in the poison queue."""
        return self._poison.total()

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    def send(self, count: int, *, requests: int | None = None) -> None:
        """Send good messages.

        Args:
            count: how many.
            requests: of each; 1 to :data:`MOST_REQUESTS` at random if not given.
        """
        self.put([self._message(requests) for _ in range(count)])

    def send_bad(self, count: int) -> None:
        """Send messages that break a rule, each of another one."""
        kinds = list(BAD.values())
        self.put([self.expect_poison(*kinds[n % len(kinds)]) for n in range(count)])

    def send_paths(self, paths: list[str]) -> str:
        """Send one good message with these GETs; its id."""
        message_id = f"{self.run}-{self._numbered}"
        self.put([self._message_of(paths)])
        return message_id

    def expect_poison(self, text: str, reason: str) -> str:
        """Expect this text in the poison queue with this reason; the text."""
        self._poison[(text, reason)] += 1
        return text

    def expect_row_aside(self, message_id: str) -> str:
        """Expect the first row of a message's only list to be set aside; its resource id."""
        resource_id = min(r for m, _, r in self._rows if m == message_id)
        del self._rows[message_id, 0, resource_id]
        _, status, rows = self._ledger[message_id, 0]
        self._ledger[message_id, 0] = ("failed", status, rows - 1)
        return resource_id

    @contextmanager
    def feeding(
        self,
        count: int,
        bad_each: int = 0,
        allowed: Callable[[], int] | None = None,
        requests: int | None = None,
    ) -> Iterator[threading.Thread]:
        """Send so many messages beside the test's own work, a few hundred waiting at most.

        Args:
            count: good and bad ones together.
            bad_each: every so-many-th is a bad one; 0 for none.
            allowed: how many of them may be sent by now; all if not given.
            requests: of each, as for :meth:`send`.
        """
        stop = threading.Event()
        problem: list[BaseException] = []

        def feed() -> None:
            try:
                with queue(self.settings) as client:
                    before = self.sent
                    while (sent := self.sent - before) < count and not stop.is_set():
                        room = min(count, allowed() if allowed is not None else count) - sent
                        if room <= 0 or _depth(client) > DEPTH:
                            stop.wait(0.1)
                            continue
                        some = min(FEED, room)
                        bad = some // bad_each if bad_each else 0
                        self.send(some - bad, requests=requests)
                        self.send_bad(bad)
            except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                problem.append(error)

        thread = threading.Thread(target=feed, name="feeder")
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join()
            if problem:
                raise problem[0]

    def put(self, texts: list[str]) -> None:
        """Send these texts as they are."""
        with queue(self.settings) as client, ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(client.send_message, texts))
        self.sent += len(texts)

    def _message(self, requests: int | None) -> str:
        count = requests or self._chance.randint(1, MOST_REQUESTS)
        return self._message_of([self._path() for _ in range(count)])

    def _message_of(self, paths: list[str]) -> str:
        message_id = f"{self.run}-{self._numbered}"
        self._numbered += 1
        for index, path in enumerate(paths):
            answer = self._answer(path)
            outcome = "complete" if answer["status"] == 200 else "not_found"
            self._ledger[message_id, index] = (outcome, answer["status"], answer["count"])
            for resource_id in answer["ids"]:
                self._rows[message_id, index, resource_id.lower()] += 1
            if answer["ids"]:
                named = zip(answer["ids"], answer["digests"], strict=True)
                self._bodies.update((name.lower(), digest) for name, digest in named)
        # As many clients do, a request has an id of its own, so that its answer is nobody else's.
        own = [
            {CLIENT_ID: f"{message_id}-{n}"} if self._numbered % SHARED_EACH else {}
            for n in range(len(paths))
        ]
        requests = [request(path, headers=one) for path, one in zip(paths, own, strict=True)]
        return json.dumps({"message_id": message_id, "api_requests": requests})

    def _path(self) -> str:
        subscription = self._chance.choice(self._subscriptions)
        kind = self._chance.random()
        if kind < LIST_SHARE:
            return self._chance.choice(LISTS).format(s=subscription)
        machine = str(self._chance.choice(self._machines[subscription]))
        return machine if kind < GET_SHARE else f"{machine}-gone"

    def _answer(self, path: str) -> dict[str, Any]:
        if path not in self._answers:
            self._answers[path] = self.arm.expected(f"{path}?api-version={API_VERSION}")
        return self._answers[path]

    # ── waiting ──────────────────────────────────────────────────────────────────────────────

    def left(self) -> int:
        """Messages in the queue, leased ones included."""
        with queue(self.settings) as client:
            return _depth(client)

    def await_empty(self, limit_s: float = 180.0) -> None:
        """Wait until every message has left the queue."""
        until(lambda: self.left() == 0, limit_s, "messages stay in the queue")

    def await_calls(self, more: int, limit_s: float = 60.0) -> None:
        """Wait until the simulator has answered so many calls more than now."""
        wanted = self.calls() + more
        until(lambda: self.calls() >= wanted, limit_s, "no calls are made")

    def calls(self) -> int:
        """Calls that the simulator has answered since its last reset."""
        return int(self.arm.stats()["answers"])

    def loaded(self) -> int:
        """Requests of this job in the ledger."""
        with tables(self.settings) as session:
            return int(
                session.value(f"SELECT COUNT(*) FROM REQUESTS WHERE MESSAGE_ID LIKE '{self.run}-%'")
            )

    def deliveries(self) -> dict[int, int]:
        """Messages by the delivery that finished their last request; poison is not among them."""
        with tables(self.settings) as session:
            found = session.run(
                "SELECT DELIVERIES, COUNT(*) FROM (SELECT MESSAGE_ID, MAX(DEQUEUE_COUNT) AS"
                f" DELIVERIES FROM REQUESTS WHERE MESSAGE_ID LIKE '{self.run}-%' GROUP BY 1)"
                " GROUP BY 1 ORDER BY 1"
            )
        return {int(delivery): int(count) for delivery, count in found}

    def outcomes(self) -> dict[str, int]:
        """Requests of this job in the ledger, by outcome."""
        with tables(self.settings) as session:
            found = session.run(
                f"SELECT OUTCOME, COUNT(*) FROM REQUESTS WHERE MESSAGE_ID LIKE '{self.run}-%'"
                " GROUP BY 1"
            )
        return {str(outcome): int(count) for outcome, count in found}

    def problems(self) -> dict[str, str]:
        """Error codes of this job in the ledger, each with one of its messages."""
        with tables(self.settings) as session:
            found = session.run(
                "SELECT ERROR_CODE, MAX(ERROR_MESSAGE) FROM REQUESTS WHERE ERROR_CODE IS NOT NULL"
                f" AND OUTCOME <> 'not_found' AND MESSAGE_ID LIKE '{self.run}-%' GROUP BY 1"
            )
        return {str(code): str(message) for code, message in found}

    # ── comparing ────────────────────────────────────────────────────────────────────────────

    def assert_whole(self) -> None:
        """Every row once and none besides, every outcome, the poison exact, the queue empty."""
        like = f"MESSAGE_ID LIKE '{self.run}-%'"
        with tables(self.settings) as session:
            rows = Counter(
                session.run(
                    "SELECT MESSAGE_ID, REQUEST_INDEX, LOWER(RESOURCE_ID) FROM RESOURCES"
                    f" WHERE {like}"
                )
            )
            keys = session.run(
                f"SELECT COUNT(*), COUNT(DISTINCT ROW_KEY) FROM RESOURCES WHERE {like}"
            )[0]
            ledger = session.run(
                'SELECT MESSAGE_ID, REQUEST_INDEX, OUTCOME, STATUS_CODE, "ROWS" FROM REQUESTS'
                f" WHERE {like}"
            )
            bodies = session.run(
                f"SELECT DISTINCT LOWER(RESOURCE_ID), BODY_HASH FROM RESOURCES WHERE {like}"
            )
            strangers = session.value(
                f"SELECT COUNT(*) FROM RESOURCES WHERE {like} AND LOWER(RESOURCE_ID) <>"
                " COALESCE(LOWER(CAST(BODY:id AS VARCHAR)), '')"
            )
        _none(self._rows - rows, "rows are missing")
        _none(rows - self._rows, "rows are doubled, or nobody asked for them")
        assert keys[0] == keys[1] == self.rows > 0
        found = {(m, i): tuple(rest) for m, i, *rest in ledger}
        wrong = {k: (v, found.get(k)) for k, v in self._ledger.items() if found.get(k) != v}
        _none(wrong.items(), "outcomes differ")
        assert len(ledger) == len(self._ledger), "outcomes are doubled, or nobody asked for them"
        _none(set(bodies) - self._bodies.items(), "texts are not what Azure sent")
        assert strangers == 0, "rows with the body of another"
        assert self.left() == 0
        self.assert_poison()

    def assert_poison(self) -> None:
        """Exactly what is expected there is in the poison queue, each with its reason."""
        with queue(self.settings, "-poison") as client:
            letters = [json.loads(text) for text in all_messages(client)]
        found = Counter((letter["text"], letter["reason"]) for letter in letters)
        _none(self._poison - found, "poison is missing")
        _none(found - self._poison, "poison that should not be there")


def _depth(client: QueueClient) -> int:
    return int(client.get_queue_properties().approximate_message_count or 0)


def _none(found: Any, what: str) -> None:
    assert not found, f"{len(found)}: {what}, e.g. {sorted(found)[:SHOWN]}"

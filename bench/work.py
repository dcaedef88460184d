"""What a scenario asks for: messages, the URLs behind them, and what must be in the table after."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import msgspec

from bench.queue_messages import API_VERSION, message
from bench.scenarios import PAGES_PER_LIST, ROWS_PER_LIST, Scenario
from bench.stand import Arm, BenchError

DISKS = "/subscriptions/{}/providers/Microsoft.Compute/disks"
QUERY = f"?api-version={API_VERSION}"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        paths: of resources or lists, in the order in which they are asked for.
        per_message: so many of them in a message.
        pages: calls that each makes.
        rows_each: rows that each gives.
        urls: the address of every page, once they are known.
    """

    paths: Sequence[str]
    per_message: int
    pages: int = 1
    rows_each: int = 1
    urls: Sequence[str] = ()

    @property
    def requests(self) -> int:
        """Requests in all messages together."""
        return len(self.paths)

    @property
    def calls(self) -> int:
        """Calls that they make."""
        return len(self.paths) * self.pages

    @property
    def rows(self) -> int:
        """Rows that there must be, each with another resource."""
        return len(self.paths) * self.rows_each

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return -(-len(self.paths) // self.per_message)

    def texts(self) -> Iterator[str]:
        """The messages, with ids that no other run's have."""
        for first in range(0, len(self.paths), self.per_message):
            yield message(self.paths[first : first + self.per_message])

    def first(self, calls: int) -> Work:
        """The beginning of it, of about so many calls."""
        requests = max(1, calls // self.pages)
        return replace(self, paths=self.paths[:requests], urls=self.urls[: requests * self.pages])


def work_of(scenario: Scenario, arm: Arm) -> Work:
    """Everything that a scenario asks of this simulator, addresses included.

    Raises:
        BenchError: an answer is not what was asked for.
    """
    work = _work(scenario, arm)
    return replace(work, urls=_urls(work, arm))


def _work(scenario: Scenario, arm: Arm) -> Work:
    """Single resources are in messages of one subscription each, the subscriptions in turn."""
    subscriptions: list[str] = arm.control.catalogue()["subscriptions"]
    lists = [DISKS.format(subscription) for subscription in subscriptions]
    if scenario.lists:
        return Work(lists, scenario.per_message, PAGES_PER_LIST, ROWS_PER_LIST).first(
            scenario.requests
        )
    of_each = [arm.control.expected(one + QUERY)["ids"] for one in lists]
    paths = [
        path
        for first in range(0, len(of_each[0]), scenario.per_message)
        for ids in of_each
        for path in ids[first : first + scenario.per_message]
    ]
    return Work(paths, scenario.per_message).first(scenario.requests)


def _urls(work: Work, arm: Arm) -> list[str]:
    """The address of every page, links followed."""
    firsts = [arm.endpoint + path + QUERY for path in work.paths]
    if work.pages == 1:
        return firsts
    token = arm.settings["AZURE_ACCESS_TOKEN"]
    return [url for first in firsts for url in _pages(first, token, arm.trusted)]


def _pages(url: str, token: str, trusted: ssl.SSLContext | None) -> Iterator[str]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        if parts.scheme == "http"
        else http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=trusted)
    )
    try:
        while url:
            yield url
            parts = urlsplit(url)
            connection.request(
                "GET", f"{parts.path}?{parts.query}", headers={"Authorization": f"Bearer {token}"}
            )
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise BenchError(f"the simulator answered {response.status} to {url}")
            url = msgspec.json.decode(answer).get("nextLink", "")
    finally:
        connection.close()

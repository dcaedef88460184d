"""Calls with libcurl in the event loop: bounded, kept apart, and cut off when they have to be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing

import pytest

from pipeline.https import USER_AGENT
from stages.fetch.curl_calls import Answer, CurlCalls, Limits
from tests.standins import http_server
from tests.standins.http_server import HOST, Request, StandIn

CONNECTIONS = 3
LIMIT_S = 30
PATIENT = Limits(5, 5, 20)


class Echo(StandIn):
    """Says what it was asked; on ``/wait`` only when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.waiting = 0
        self.most_waiting = 0
        super().__init__()

    def close(self) -> None:
        self.let_go.set()
        super().close()

    def respond(self, request: Request) -> http_server.Answer:
        self.counts[request.path] += 1
        if request.path == "/wait":
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            self.let_go.wait(LIMIT_S)
            self.waiting -= 1
        body = [request.method, request.path, request.headers.get("user-agent")]
        return http_server.Answer(200, body)


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


def run(test: Callable[[CurlCalls], Awaitable[None]], server: StandIn) -> None:
    async def opened() -> None:
        with closing(CurlCalls("http", HOST, server.port, CONNECTIONS)) as calls:
            await test(calls)

    asyncio.run(asyncio.wait_for(opened(), LIMIT_S))


def test_more_calls_than_connections_take_turns(server: Echo) -> None:
    async def test(calls: CurlCalls) -> None:
        url = f"{server.url}/wait"
        asked = [asyncio.create_task(calls.call("GET", url, [], PATIENT)) for _ in range(9)]
        while server.waiting < CONNECTIONS:
            await asyncio.sleep(0.01)
        server.let_go.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}

    run(test, server)
    assert server.most_waiting == CONNECTIONS
    assert server.counts == {"/wait": 9}


def test_an_answer_is_of_its_own_call(server: Echo) -> None:
    async def test(calls: CurlCalls) -> None:
        async def ask(number: int) -> Answer:
            method = ("GET", "PUT", "DELETE")[number % 3]
            headers = ["Content-Length: 0"] if method == "PUT" else []
            return await calls.call(method, f"{server.url}/{number}", headers, PATIENT)

        for number, answer in enumerate(await asyncio.gather(*map(ask, range(20)))):
            method = ("GET", "PUT", "DELETE")[number % 3]
            said = f'["{method}", "/{number}", "{USER_AGENT}"]'
            assert answer.body.decode() == said
            assert answer.header("content-length") == str(len(said))

    run(test, server)


def test_a_call_that_is_cancelled_makes_room(server: Echo) -> None:
    async def test(calls: CurlCalls) -> None:
        url = f"{server.url}/wait"
        stuck = [asyncio.create_task(calls.call("GET", url, [], PATIENT)) for _ in range(6)]
        while server.waiting < CONNECTIONS:
            await asyncio.sleep(0.01)
        for task in stuck:
            task.cancel()
        assert (await calls.call("GET", f"{server.url}/x", [], PATIENT)).status == 200
        assert all(task.cancelled() for task in stuck)

    run(test, server)
    assert server.counts == {"/wait": CONNECTIONS, "/x": 1}


def test_what_is_under_way_is_cut_off_at_the_end(server: Echo) -> None:
    async def test(calls: CurlCalls) -> None:
        url = f"{server.url}/wait"
        stuck = [asyncio.create_task(calls.call("GET", url, [], PATIENT)) for _ in range(6)]
        while server.waiting < CONNECTIONS:
            await asyncio.sleep(0.01)
        calls.close()
        calls.close()
        await asyncio.wait(stuck[:CONNECTIONS])
        assert all(task.cancelled() for task in stuck[:CONNECTIONS])
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    run(test, server)


@pytest.mark.parametrize(
    "limits", [Limits(5, 20, 0.2), Limits(5, 1, 20)], ids=["too long", "silence"]
)
def test_a_call_ends_by_its_limits(limits: Limits, server: Echo) -> None:
    async def test(calls: CurlCalls) -> None:
        with pytest.raises(TimeoutError):
            await calls.call("GET", f"{server.url}/wait", [], limits)
        server.let_go.set()
        assert (await calls.call("GET", f"{server.url}/x", [], PATIENT, fresh=True)).status == 200

    run(test, server)

"""Many transfers in one loop: side by side, each with its own answer and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from pipeline.transfers import PACED_FROM, Transfers
from stages.execute.client import Answer, ArmClient, ExchangeFailed
from stages.execute.origin import Origin
from tests.integration.arm_calls import TOKEN, Arm, Canned, arm, simulator
from tests.standins import http_server
from tests.standins.http_server import Request, StandIn

__all__ = ["arm", "simulator"]

# For all calls of a test; one that hangs ends it.
LIMIT_S = 60.0
SIDE_BY_SIDE = 100

Came = Answer | ExchangeFailed


class Calls:
    """Calls of one client, all in one loop."""

    def __init__(
        self,
        endpoint: str,
        read_timeout_s: float = 20.0,
        connect_timeout_s: float = 5.0,
        pause_s: float = 0.0,
    ) -> None:
        self.transfers = Transfers(SIDE_BY_SIDE, pause_s)
        self.client = ArmClient(
            Origin.parse(endpoint),
            self.transfers,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            answer_timeout_s=30.0,
            max_body_bytes=1 << 20,
        )

    def begin(
        self, target: str, method: str = "GET", body: bytes | None = None
    ) -> asyncio.Future[Came]:
        came: asyncio.Future[Came] = asyncio.get_running_loop().create_future()
        self.client.exchange(method, target, {}, body, TOKEN, came.set_result)
        return came


class Gate(StandIn):
    """Answers at once, but for ``/wait``, which it answers when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        super().__init__()

    def close(self) -> None:
        self.let_go.set()
        super().close()

    def respond(self, request: Request) -> http_server.Answer:
        if request.path == "/wait":
            self.let_go.wait(LIMIT_S)
        return http_server.Answer(200, {})


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await test()

    asyncio.run(limited())


@pytest.fixture
def slow(arm: Arm) -> Iterator[Arm]:
    arm.control.settings(latency_ms=500)
    yield arm
    arm.control.settings(latency_ms=0)


def test_calls_wait_side_by_side_and_get_their_own_answers(slow: Arm) -> None:
    ids = slow.control.expected(slow.list)["ids"]
    targets = [f"{ids[n % len(ids)]}?api-version=2024-07-01&n={n}" for n in range(SIDE_BY_SIDE)]

    async def test() -> None:
        calls = Calls(slow.endpoint)
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began_s = loop.time()
            waiting = [calls.begin(target) for target in targets]
            assert len(calls.transfers) == SIDE_BY_SIDE
            answers = await asyncio.gather(*waiting)
            # One after the other they would take a hundred times half a second.
            assert loop.time() - began_s < SIDE_BY_SIDE * 0.5 / 4
            for target, came in zip(targets, answers, strict=True):
                assert isinstance(came, Answer)
                assert (came.status, came.sends) == (200, 1)
                assert target.partition("?")[0].encode() in came.body
        assert len(calls.transfers) == 0
        calls.transfers.close()

    in_a_loop(test)


def test_a_silent_one_ends_alone(arm: Arm) -> None:
    arm.fault("stall", stall_s=20, target=arm.list)
    (machine, *_) = arm.control.expected(arm.list)["ids"]

    async def test() -> None:
        calls = Calls(arm.endpoint, read_timeout_s=0.5)
        silent = calls.begin(arm.list)
        others = [calls.begin(f"{machine}?api-version=2024-07-01") for _ in range(10)]
        assert all(isinstance(came, Answer) for came in await asyncio.gather(*others))
        came = await silent
        assert isinstance(came, ExchangeFailed)
        assert (came.code, came.sent) == ("ReadTimeoutError", True)
        calls.transfers.close()

    in_a_loop(test)


def test_answers_that_are_not_urgent_are_looked_for_together() -> None:
    pause_s = 0.5

    async def test(gate: Gate) -> None:
        loop = asyncio.get_running_loop()
        came_s: list[float] = []
        calls = Calls(gate.url, pause_s=pause_s)
        first = calls.begin("/first")
        others = [calls.begin("/wait") for _ in range(PACED_FROM)]
        for other in others:
            other.add_done_callback(lambda _: came_s.append(loop.time()))
        assert isinstance(await first, Answer)
        first_s = loop.time()
        gate.let_go.set()
        answers = await asyncio.gather(*others)
        assert [one.status for one in answers if isinstance(one, Answer)] == [200] * PACED_FROM
        # They were there within milliseconds of each other, and of the first.
        assert min(came_s) - first_s > pause_s * 0.9
        calls.transfers.close()

    with Gate() as gate:
        in_a_loop(lambda: test(gate))


def test_who_cannot_connect_in_time_has_not_asked() -> None:
    async def test(port: int) -> None:
        calls = Calls(f"http://127.0.0.1:{port}", connect_timeout_s=0.3)
        came = await asyncio.gather(*(calls.begin("/a") for _ in range(20)))
        found = {(one.code, one.sent) for one in came if isinstance(one, ExchangeFailed)}
        # The kernel itself still takes one or two, whom nobody answers.
        assert ("ConnectTimeoutError", False) in found
        assert found <= {("ConnectTimeoutError", False), ("AnswerTimeout", True)}
        calls.transfers.close()

    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waits = stack.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(full.getsockname())
        in_a_loop(lambda: test(full.getsockname()[1]))


def test_a_handle_is_used_for_any_method_after_any_other() -> None:
    async def test(server: Canned) -> None:
        calls = Calls(server.url)
        asked: list[tuple[str, bytes | None]] = [
            ("GET", None), ("POST", b'{"a":1}'), ("GET", None), ("HEAD", None), ("GET", None),
            ("POST", None), ("HEAD", None), ("POST", b"{}"), ("GET", None),
        ]  # fmt: skip
        for method, body in asked:
            came = await calls.begin("/a", method, body)
            assert isinstance(came, Answer)
            assert came.body == (b"" if method == "HEAD" else b"{}")
        assert [seen.method for seen in server.seen] == [method for method, _ in asked]
        for seen, (_, body) in zip(server.seen, asked, strict=True):
            assert int(seen.headers.get("content-length", 0)) == len(body or b"")
            assert ("content-type" in seen.headers) == (body is not None)
            assert "expect" not in seen.headers
        calls.transfers.close()

    with Canned(b"{}", {}) as server:
        in_a_loop(lambda: test(server))


def test_what_is_broken_off_at_the_end_is_told_to_nobody(slow: Arm) -> None:
    async def test() -> None:
        calls = Calls(slow.endpoint)
        waiting = calls.begin(slow.list)
        await asyncio.sleep(0)
        calls.transfers.close()
        calls.transfers.close()
        assert isinstance(waiting, asyncio.Future)
        assert not waiting.done()

    in_a_loop(test)


def test_a_link_with_what_no_request_line_takes_is_encoded() -> None:
    async def test(server: Canned) -> None:
        calls = Calls(server.url)
        assert isinstance(await calls.begin("/a b/ü/../c?$filter=x%20eq 'y'"), Answer)
        (seen,) = server.seen
        assert (seen.path, seen.query) == ("/a%20b/%C3%BC/../c", {"$filter": "x eq 'y'"})
        calls.transfers.close()

    with Canned(b"{}", {}) as server:
        in_a_loop(lambda: test(server))

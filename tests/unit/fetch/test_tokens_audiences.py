"""Tokens of two audiences: ARM's from the start, Microsoft Graph's when a worker wants one."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.errors import Unauthorised, Unreachable
from pipeline.messages import ARM, MICROSOFT_GRAPH, NoToken, Token, TokenWanted
from stages.fetch import tokens
from tests.unit.fetch.token_desk import WORKERS, Issuer, desk, run

FIRST_GRAPH = TokenWanted(0, MICROSOFT_GRAPH)
REFUSED = Unauthorised("Azure identity", "AADSTS7000215: no", "check it")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.05)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    issuer = Issuer()
    monkeypatch.setattr(tokens, "credential", lambda _: issuer)
    return issuer


def test_nothing_is_asked_for_microsoft_graph_until_a_worker_wants_it(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            assert await at_work.quiet()
            assert (issuer.for_arm, issuer.for_graph) == (1, 0)
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            token = await at_work.token()
            assert token.audience == MICROSOFT_GRAPH
            assert "graph.microsoft.com" in token.value
            assert (issuer.for_arm, issuer.for_graph) == (1, 1)

    run(test)


def test_however_many_workers_want_one_it_is_asked_for_once(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            issuer.open.clear()
            for _ in range(16):
                for worker in WORKERS:
                    await at_work.tokens.wanted(worker, FIRST_GRAPH)
                await asyncio.sleep(0)
            issuer.open.set()
            await at_work.token()
            assert await at_work.quiet()
            assert issuer.for_graph == 1

    run(test)


def test_a_newer_token_that_is_there_goes_to_who_asks_and_to_nobody_else(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            token = await at_work.token()
            await at_work.tokens.wanted("execute-1", FIRST_GRAPH)
            assert await at_work.next("execute-1") == token
            assert await at_work.quiet()
            assert issuer.for_graph == 1

    run(test)


def test_a_token_of_no_use_is_replaced_and_the_other_audiences_is_not(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            first = await at_work.token()
            for worker in WORKERS:
                await at_work.tokens.wanted(worker, TokenWanted(first.serial, MICROSOFT_GRAPH))
            second = await at_work.token()
            assert second.serial > first.serial
            assert second.audience == MICROSOFT_GRAPH
            assert await at_work.quiet()
            assert (issuer.for_arm, issuer.for_graph) == (1, 2)

    run(test)


def test_a_worker_that_comes_later_is_given_every_token_there_is(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            await at_work.token()
            await at_work.tokens.welcome("execute-1")
            given = [await at_work.next("execute-1") for _ in range(2)]
            assert [token.audience for token in given] == [ARM, MICROSOFT_GRAPH]
            assert await at_work.quiet()

    run(test)


def test_once_wanted_it_is_kept_fresh(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            issuer.life_s = 3
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            first = await at_work.token()
            second = await at_work.token()
            assert second.serial > first.serial

    run(test)


def test_no_token_for_microsoft_graph_is_told_once_and_not_tried_for_until_it_is_wanted_again(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.3)

    async def test() -> None:
        async with desk() as at_work:
            issuer.failure = Unreachable("token", "the endpoint is away")
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            first, other = await at_work.news()
            assert first == other == NoToken(str(issuer.failure), False, MICROSOFT_GRAPH)
            # Fresh as it is, it is the answer, and to who asks only.
            await at_work.tokens.wanted("execute-1", FIRST_GRAPH)
            assert await at_work.next("execute-1") == first
            assert issuer.for_graph == 1
            await asyncio.sleep(2 * tokens.RETRY_S)
            assert await at_work.quiet()
            assert issuer.for_graph == 1
            issuer.failure = None
            await at_work.tokens.wanted("execute-1", FIRST_GRAPH)
            await at_work.token()
            assert issuer.for_graph == 2

    run(test)


def test_however_often_it_is_wanted_failures_are_paced(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.2)

    async def test() -> None:
        async with desk() as at_work:
            issuer.failure = REFUSED
            began_s = time.monotonic()
            while issuer.for_graph < 3:
                await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
                assert isinstance(await at_work.next("execute-0"), NoToken)
            assert time.monotonic() - began_s >= 2 * tokens.RETRY_S

    run(test)


def test_however_often_a_token_is_refused_new_ones_are_paced(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.2)

    async def test() -> None:
        async with desk() as at_work:
            began_s = time.monotonic()
            serial = 0
            for _ in range(3):
                await at_work.tokens.wanted("execute-0", TokenWanted(serial, MICROSOFT_GRAPH))
                serial = (await at_work.token()).serial
            assert time.monotonic() - began_s >= 2 * tokens.RETRY_S

    run(test)


def test_a_token_that_is_revoked_and_not_replaced_is_forbidden_and_arms_is_not_touched(
    issuer: Issuer,
) -> None:
    async def test() -> None:
        async with desk() as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            token = await at_work.token()
            issuer.failure = REFUSED
            await at_work.tokens.wanted("execute-0", TokenWanted(token.serial, MICROSOFT_GRAPH))
            for news in await at_work.news():
                assert news == NoToken(str(REFUSED), True, MICROSOFT_GRAPH)
            await at_work.tokens.wanted("execute-1", TokenWanted(0, ARM))
            assert isinstance(await at_work.next("execute-1"), Token)

    run(test)


def test_a_worker_that_wants_one_while_a_renewal_fails_is_told_so(issuer: Issuer) -> None:
    async def test() -> None:
        async with desk() as at_work:
            issuer.life_s = 3
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            token = await at_work.token()
            issuer.open.clear()
            issuer.failure = REFUSED
            while issuer.for_graph < 2:
                await asyncio.sleep(0.01)
            await at_work.tokens.wanted("execute-1", TokenWanted(token.serial, MICROSOFT_GRAPH))
            issuer.open.set()
            assert all(isinstance(news, NoToken) for news in await at_work.news())
            assert token.expires_at_s > time.time()

    run(test)


def test_an_identity_without_a_token_for_microsoft_graph_names_the_setting() -> None:
    async def test() -> None:
        async with desk() as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            for news in await at_work.news():
                assert isinstance(news, NoToken)
                assert news.forbidden
                assert "AZURE_GRAPH_ACCESS_TOKEN" in news.problem
                assert "opaque-token" not in news.problem

    run(test)

"""The token keeper: one token for all, renewed ahead, once for each refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline.errors import Unauthorised, Unreachable
from pipeline.messages import ARM, NoToken, Token
from stages.fetch import tokens
from stages.fetch.tokens import TokenKeeper
from tests.unit.fetch.token_desk import config, quiet, run


def jwt(ends_in_s: float) -> str:
    """A token that says when it ends."""
    parts = ({"alg": "none"}, {"exp": int(time.time() + ends_in_s)})
    texts = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*texts, "signature"])


@asynccontextmanager
async def kept(
    token: str = "opaque-token",
) -> AsyncIterator[tuple[TokenKeeper, asyncio.Queue[Token | NoToken]]]:
    """A keeper at work, and what it publishes."""
    published: asyncio.Queue[Token | NoToken] = asyncio.Queue()
    keeper = TokenKeeper(config(token), ARM, published.put)
    await keeper.first()
    task = asyncio.create_task(keeper.keep())
    try:
        yield keeper, published
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.05)


def test_the_first_token_is_there_with_its_end() -> None:
    async def test() -> None:
        text = jwt(3600)
        async with kept(text) as (keeper, published):
            assert isinstance(keeper.current, Token)
            assert keeper.current.value == text
            assert abs(keeper.current.expires_at_s - time.time() - 3600) < 5
            assert await quiet(published)

    run(test)


def test_no_token_at_the_start_is_an_error() -> None:
    async def test() -> None:
        keeper = TokenKeeper(config(jwt(-10)), ARM, asyncio.Queue().put)
        with pytest.raises(Unauthorised, match="ended"):
            await keeper.first()

    run(test)


def test_a_token_is_renewed_ahead_and_its_end_is_told() -> None:
    async def test() -> None:
        async with kept(jwt(2.9)) as (keeper, published):
            first = keeper.current
            renewed = await published.get()
            assert isinstance(first, Token)
            assert isinstance(renewed, Token)
            assert renewed.serial > first.serial
            while isinstance(news := await published.get(), Token):
                pass
            assert news.forbidden
            assert "ended" in news.problem
            assert jwt(0)[:20] not in news.problem

    run(test)


def test_a_refused_token_is_replaced_once_however_many_refuse_it() -> None:
    async def test() -> None:
        async with kept() as (keeper, published):
            first = keeper.current
            assert isinstance(first, Token)
            for _ in range(5):
                assert keeper.wanted(first.serial) is None
            second = await published.get()
            assert isinstance(second, Token)
            assert second.serial > first.serial
            assert keeper.wanted(first.serial) == second
            assert await quiet(published)

    run(test)


def test_a_refusal_that_comes_while_a_token_is_got_asks_for_no_other() -> None:
    async def test() -> None:
        async with kept() as (keeper, published):
            assert isinstance(keeper.current, Token)
            serial = keeper.current.serial
            keeper.wanted(serial)
            await asyncio.sleep(0)  # it wakes, and waits for its turn
            keeper.wanted(serial)
            await published.get()
            assert await quiet(published)

    run(test)


def test_serials_grow_over_restarts() -> None:
    async def test() -> None:
        async with kept() as (first, _):
            pass
        async with kept() as (second, _):
            assert isinstance(first.current, Token)
            assert isinstance(second.current, Token)
            assert second.current.serial > first.current.serial

    run(test)


class Away:
    """An identity whose endpoint is away."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        raise Unreachable("token", "the endpoint is away")


def test_a_token_that_still_lasts_is_kept_while_no_other_is_to_be_had() -> None:
    async def test() -> None:
        async with kept(jwt(2.5)) as (keeper, published):
            first = keeper.current
            assert isinstance(first, Token)
            keeper._credential = Away()  # type: ignore[assignment]
            news = await published.get()
            assert isinstance(news, NoToken)
            assert not news.forbidden
            assert first.expires_at_s - time.time() < 0.2

    run(test)

"""Tokens at work in a test: what each worker is sent, and an identity that can be told to fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from azure.core.credentials import AccessToken

from pipeline.config import Config, load
from pipeline.errors import DependencyError
from pipeline.messages import ARM, NoToken, Token
from stages.fetch.tokens import Tokens

WORKERS = ("execute-0", "execute-1")


def config(token: str = "opaque-token") -> Config:
    environ = {"AZURE_CREDENTIAL": "token", "AZURE_ACCESS_TOKEN": token}
    return load(environ=environ, needs=("arm",))


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(test(), 10)

    asyncio.run(limited())


async def quiet(published: asyncio.Queue[Any], for_s: float = 0.2) -> bool:
    """Whether nothing is published for so long."""
    try:
        await asyncio.wait_for(published.get(), for_s)
    except TimeoutError:
        return True
    return False


class Issuer:
    """Stands where azure-identity does.

    Attributes:
        asked: tokens asked for, by scope.
        failure: raised instead of giving a token for Microsoft Graph.
        life_s: seconds that a token lasts.
        open: cleared, nobody is answered.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.failure: DependencyError | None = None
        self.life_s = 3600.0
        self.open = threading.Event()
        self.open.set()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        (scope,) = scopes
        self.asked[scope] += 1
        assert self.open.wait(10)
        if self.failure is not None and "graph" in scope:
            raise self.failure
        value = f"token-{self.asked[scope]}-for-{scope}"
        return AccessToken(value, int(time.time() + self.life_s))

    def close(self) -> None:
        """Nothing is open."""

    @property
    def for_arm(self) -> int:
        return self.asked["https://management.azure.com/.default"]

    @property
    def for_graph(self) -> int:
        return self.asked["https://graph.microsoft.com/.default"]


class Desk:
    """The tokens of a collector, and what each worker is sent.

    Args:
        settings: of the identity.
    """

    def __init__(self, settings: Config) -> None:
        self.sent: dict[str, asyncio.Queue[Token | NoToken]] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.tokens = Tokens(settings, WORKERS, self._send, self._spawn)

    async def _send(self, worker: str, news: Token | NoToken) -> None:
        await self.sent.setdefault(worker, asyncio.Queue()).put(news)

    def _spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def next(self, worker: str) -> Token | NoToken:
        """The next news of one worker."""
        return await self.sent.setdefault(worker, asyncio.Queue()).get()

    async def news(self) -> list[Token | NoToken]:
        """The next news of each worker."""
        return [await self.next(worker) for worker in WORKERS]

    async def token(self) -> Token:
        """The next news of each worker, which are the same token."""
        first, *others = await self.news()
        assert isinstance(first, Token)
        assert others == [first]
        return first

    async def quiet(self) -> bool:
        """Whether no worker is told anything for a while, and no task has ended."""
        assert not any(task.done() for task in self.tasks)
        return all([await quiet(queue, 0.1) for queue in self.sent.values()])


@asynccontextmanager
async def desk(settings: Config | None = None) -> AsyncIterator[Desk]:
    """A desk at work; every worker has had ARM's token."""
    at_work = Desk(settings or config())
    await at_work.tokens.first()
    await at_work.tokens.begin()
    try:
        assert (await at_work.token()).audience == ARM
        yield at_work
        assert not any(task.done() for task in at_work.tasks)
    finally:
        for task in at_work.tasks:
            task.cancel()
        await asyncio.gather(*at_work.tasks, return_exceptions=True)

"""Gets bearer tokens, once for all execute processes, and ahead of their expiry.

azure-identity does not stop many threads from asking at once, and IMDS takes 5 at a time; so one
task in one process asks, and the others are handed the answer. ARM's token is there from the start.
Most collectors never ask Microsoft Graph: its token is got when the first worker wants one.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.errors import DependencyError, Unauthorised, Unreachable
from pipeline.identity import Identity, credential, scope
from pipeline.logs import add_secret, log
from pipeline.messages import ARM, AUDIENCES, MICROSOFT_GRAPH, NoToken, Token, TokenWanted

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

# Renewed so long before it ends, or after half of a shorter life.
REFRESH_AHEAD_S = 300.0
# Several collectors with one identity do not renew in the same second.
REFRESH_JITTER_S = 30.0
# After a failure, and between two tokens that a worker asked for. A failure is told for so long
# before another try.
RETRY_S = 10.0
# One attempt; azure-identity has its own time-outs below this.
GET_TIMEOUT_S = 60.0

# In log lines.
_NAMES = {ARM: "ARM", MICROSOFT_GRAPH: "Microsoft Graph"}

Answer = Token | NoToken


class Tokens:
    """The tokens of every audience: each new one goes to all workers, an answer to who asked.

    Args:
        config: identity and cloud.
        workers: names of the execute processes.
        send: writes to one of them; dropped when it is not there.
        spawn: runs a task for as long as the process lives.
    """

    def __init__(
        self,
        config: Config,
        workers: Sequence[str],
        send: Callable[[str, Answer], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._workers = workers
        self._send = send
        self._spawn = spawn
        self._keepers = {a: TokenKeeper(config, a, self._publish) for a in AUDIENCES}

    async def first(self) -> None:
        """Get ARM's first token.

        Raises:
            DependencyError: there is none to be had, and why.
        """
        await self._keepers[ARM].first()

    async def begin(self) -> None:
        """Hand out what is there, and keep tokens fresh from now on."""
        for worker in self._workers:
            await self.welcome(worker)
        for keeper in self._keepers.values():
            self._spawn(keeper.keep())

    async def welcome(self, worker: str) -> None:
        """Give a new worker what is there."""
        for keeper in self._keepers.values():
            if keeper.current is not None:
                await self._send(worker, keeper.current)

    async def wanted(self, worker: str, message: TokenWanted) -> None:
        """Answer a worker at once if there is an answer; else it is among all who are told later.

        Args:
            worker: who asks.
            message: for what, and which token is of no use any more.
        """
        if (answer := self._keepers[message.audience].wanted(message.serial)) is not None:
            await self._send(worker, answer)

    async def _publish(self, news: Answer) -> None:
        # Side by side: one that does not read holds up no other.
        await asyncio.gather(*(self._send(worker, news) for worker in self._workers))


class TokenKeeper:
    """Keeps the token of one audience fresh and tells everyone of each new one.

    ARM's is tried for without end. Another audience's is tried for when it is wanted, and from then
    on kept fresh; if that fails until it ends, the next one is got when it is wanted again.

    Args:
        config: identity and cloud.
        audience: of :data:`pipeline.messages.AUDIENCES`.
        publish: called with each new token, and with why there is none.

    Attributes:
        current: the last token, or why there is none; None before the first attempt.
    """

    def __init__(
        self, config: Config, audience: str, publish: Callable[[Answer], Awaitable[None]]
    ) -> None:
        self._config = config
        self._audience = audience
        self._publish = publish
        self._scope = scope(config, audience)
        self._only_when_wanted = audience != ARM
        self._log = log.bind(action="token_failed", audience=audience)
        self._credential: Identity | None = None
        # Somebody waits for a token newer than the current one.
        self._wanted = asyncio.Event()
        self._asking = False
        # Grows over restarts of this process too, so that a newer token is always known as newer.
        self._serial = time.time_ns() // 1_000
        self._asked_s = -RETRY_S
        self._failed_s = 0.0
        # The last attempt brought nothing.
        self._failed = False
        self.current: Answer | None = None

    async def first(self) -> None:
        """Get the first token.

        Raises:
            DependencyError: there is none to be had, and why.
        """
        await self._get(anew=False)

    async def keep(self) -> None:
        """Renew for ever."""
        while True:
            anew = await self._wait_until_due()
            try:
                await self._get(anew)
            except DependencyError as error:
                self._note_failure(error)
                if isinstance(self.current, Token):
                    continue
            if self.current is not None:
                await self._publish(self.current)

    def wanted(self, serial: int) -> Answer | None:
        """Somebody needs a token newer than this.

        Args:
            serial: of the token that is of no use any more; 0 if there was none.

        Returns:
            What is already known: a newer token, or that there was none a moment ago. None: the
            answer will be published.
        """
        current = self.current
        if isinstance(current, Token) and current.serial > serial:
            return current
        fresh = not self._asking and time.monotonic() < self._failed_s + RETRY_S
        if isinstance(current, NoToken) and fresh:
            return current
        self._wanted.set()
        return None

    def _note_failure(self, error: DependencyError) -> None:
        """Go on with the old token while it is good for everyone; else there is none."""
        self._failed = True
        self._failed_s = time.monotonic()
        name = _NAMES[self._audience]
        if self._still_good() and not self._wanted.is_set():
            self._log.warning("no new token for {} yet, the old one is used: {}", name, error)
            return
        self._wanted.clear()
        self._log.error("no token for {}: {}", name, error)
        self.current = NoToken(str(error), isinstance(error, Unauthorised), self._audience)

    def _still_good(self) -> bool:
        token = self.current
        return isinstance(token, Token) and token.expires_at_s - time.time() > RETRY_S

    async def _wait_until_due(self) -> bool:
        """Wait until a token has to be got.

        Returns:
            Whether it is because somebody wants one.
        """
        try:
            # Not wait_for(): in Python 3.11 it swallows a cancellation that comes with the news.
            async with asyncio.timeout(self._due_s(time.time())):
                await self._wanted.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(max(0.0, self._asked_s + RETRY_S - time.monotonic()))
        return True

    def _due_s(self, now_s: float) -> float | None:
        """Seconds until a token is got without being wanted; None if it is not."""
        if not isinstance(self.current, Token):
            return None if self._only_when_wanted else RETRY_S
        life_s = self.current.expires_at_s - now_s
        ahead_s = min(REFRESH_AHEAD_S, life_s / 2)
        due_s = max(1.0, life_s - ahead_s - random.uniform(0, min(REFRESH_JITTER_S, ahead_s)))
        return min(due_s, RETRY_S) if self._failed else due_s

    async def _get(self, anew: bool) -> None:
        self._asked_s = time.monotonic()
        self._asking = True
        try:
            got = await asyncio.wait_for(asyncio.to_thread(self._ask, anew), GET_TIMEOUT_S)
        except TimeoutError as error:
            raise Unreachable("token", f"no answer within {GET_TIMEOUT_S:.0f} s") from error
        finally:
            self._asking = False
        # Whoever wanted one up to now meant the token before.
        self._wanted.clear()
        self._failed = False
        add_secret(got.token, passing=True)
        self._serial += 1
        self.current = Token(got.token, float(got.expires_on), self._serial, self._audience)

    def _ask(self, anew: bool) -> AccessToken:
        """Ask Entra ID, in a thread.

        Args:
            anew: with a fresh credential, because the old one would answer from its cache.
        """
        if anew and self._credential is not None:
            self._credential.close()
            self._credential = None
        if self._credential is None:
            self._credential = credential(self._config)
        return self._credential.get_token(self._scope)

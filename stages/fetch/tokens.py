"""Gets the bearer token for ARM, once for all execute processes, and ahead of its expiry.

azure-identity does not stop many threads from asking at once, and IMDS takes 5 at a time; so one
task in one process asks, and the others are handed the answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from pipeline.config import Config
from pipeline.errors import DependencyError, Unauthorised, Unreachable
from pipeline.identity import arm_scope, credential
from pipeline.logs import add_secret, log
from pipeline.messages import NoToken, Token

# Renewed so long before it ends, or after half of a shorter life.
REFRESH_AHEAD_S = 300.0
# Several collectors with one identity do not renew in the same second.
REFRESH_JITTER_S = 30.0
# After a failure, and between two tokens asked for because one was refused.
RETRY_S = 10.0
# One attempt; azure-identity has its own time-outs below this.
GET_TIMEOUT_S = 60.0


class TokenKeeper:
    """Keeps a token fresh and tells everyone of each new one.

    Args:
        config: identity and cloud.
        publish: called with each new token, and with why there is none.
    """

    def __init__(
        self, config: Config, publish: Callable[[Token | NoToken], Awaitable[None]]
    ) -> None:
        self._config = config
        self._publish = publish
        self._credential = credential(config)
        self._scope = arm_scope(config)
        self._refused = asyncio.Event()
        # Grows over restarts of this process too, so that a newer token is always known as newer.
        self._serial = time.time_ns() // 1_000
        self._got_s = 0.0
        # The last attempt brought nothing.
        self._failed = False
        self.current: Token | NoToken | None = None

    async def first(self) -> None:
        """Get the first token.

        Raises:
            DependencyError: there is none to be had, and why.
        """
        await self._get()

    async def keep(self) -> None:
        """Renew for ever."""
        while True:
            await self._wait_until_due()
            refused = self._refused.is_set()
            try:
                await self._get()
                self._failed = False
            except DependencyError as error:
                self._failed = True
                if self._still_good() and not refused:
                    log.bind(action="token_failed").warning(
                        "no new token for ARM yet, the old one is used: {}", error
                    )
                    continue
                log.bind(action="token_failed").error("no token for ARM: {}", error)
                self.current = NoToken(str(error), isinstance(error, Unauthorised))
            if self.current is not None:
                await self._publish(self.current)

    def refused(self, serial: int) -> None:
        """ARM refused the token with this serial; older news is of no interest."""
        if isinstance(self.current, Token) and self.current.serial == serial:
            self._refused.set()

    def _still_good(self) -> bool:
        token = self.current
        return isinstance(token, Token) and token.expires_at_s - time.time() > RETRY_S

    async def _wait_until_due(self) -> None:
        now_s = time.time()
        if isinstance(self.current, Token):
            life_s = self.current.expires_at_s - now_s
            ahead_s = min(REFRESH_AHEAD_S, life_s / 2)
            due_s = max(1.0, life_s - ahead_s - random.uniform(0, min(REFRESH_JITTER_S, ahead_s)))
        else:
            due_s = RETRY_S
        if self._failed:
            due_s = min(due_s, RETRY_S)
        try:
            await asyncio.wait_for(self._refused.wait(), due_s)
        except TimeoutError:
            return
        # A fresh credential, because the old one would answer from its cache.
        self._credential = credential(self._config)
        await asyncio.sleep(max(0.0, self._got_s + RETRY_S - time.monotonic()))

    async def _get(self) -> None:
        self._got_s = time.monotonic()
        try:
            got = await asyncio.wait_for(
                asyncio.to_thread(self._credential.get_token, self._scope), GET_TIMEOUT_S
            )
        except TimeoutError as error:
            raise Unreachable("token", f"no answer within {GET_TIMEOUT_S:.0f} s") from error
        finally:
            # Refusals up to now were about the token before.
            self._refused.clear()
        add_secret(got.token, passing=True)
        self._serial += 1
        self.current = Token(got.token, float(got.expires_on), self._serial)

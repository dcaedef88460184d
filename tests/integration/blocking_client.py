"""A client of ARM that is waited for: its transfers run on a loop while a call is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pipeline.transfers import Transfers
from stages.execute.client import Answer, ArmClient, ExchangeFailed
from stages.execute.origin import Origin


class BlockingClient:
    """Calls one after the other, over the connections that ``execute`` would keep."""

    def __init__(
        self,
        endpoint: str,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float,
        answer_timeout_s: float = 30.0,
        max_body_bytes: int,
    ) -> None:
        self._loop = asyncio.new_event_loop()

        async def make() -> None:
            self._transfers = Transfers(connections=2)
            self._client = ArmClient(
                Origin.parse(endpoint),
                self._transfers,
                connect_timeout_s=connect_timeout_s,
                read_timeout_s=read_timeout_s,
                answer_timeout_s=answer_timeout_s,
                max_body_bytes=max_body_bytes,
            )

        self._loop.run_until_complete(make())

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: str,
        *,
        repeatable: bool = True,
    ) -> Answer:
        """Ask once, and wait for what comes of it."""

        async def ask() -> Answer | ExchangeFailed:
            came: asyncio.Future[Answer | ExchangeFailed] = self._loop.create_future()
            self._client.exchange(
                method, target, headers, body, token, came.set_result, repeatable=repeatable
            )
            return await came

        answer = self._loop.run_until_complete(ask())
        if isinstance(answer, ExchangeFailed):
            raise answer
        return answer

    def close(self) -> None:
        self._transfers.close()
        self._loop.close()

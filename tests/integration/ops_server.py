"""The status pages of a supervisor whose stages were never started, on a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipeline.config import Config, load
from pipeline.ops.server import listen
from pipeline.ops.serving import serving
from pipeline.supervisor import Supervisor
from tests.acceptance.ops_pages import free_port


def ops_config(**settings: str) -> Config:
    """Settings of a collector with a port of its own."""
    environ = {"OPS_PORT": str(free_port()), "NUM_PROCESSES": "1", **settings}
    return load(environ=environ, needs=(), resolve_secrets=False)


@asynccontextmanager
async def serving_pages(config: Config) -> AsyncIterator[Supervisor]:
    """Answer, until the test is done with it."""
    supervisor = Supervisor(config)
    listener = listen(config)
    assert listener is not None
    async with serving(config, supervisor, listener):
        yield supervisor


class Client:
    """A connection that says what the test wants, byte by byte.

    Args:
        config: of the collector.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    async def __aenter__(self) -> Client:
        host, port = self._config.ops_host, self._config.ops_port
        self._reader, self._writer = await asyncio.open_connection(host, port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def say(self, data: bytes) -> None:
        """Send this, whole or not."""
        self._writer.write(data)

    async def ask(self, path: str, *headers: str, method: str = "GET") -> tuple[int, bytes]:
        """One request and its answer: status and body."""
        lines = (f"{method} {path} HTTP/1.1", "Host: here", *headers, "", "")
        self.say("\r\n".join(lines).encode())
        return await self.answer(body=method != "HEAD")

    async def answer(self, *, body: bool = True) -> tuple[int, bytes]:
        """The next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.partition(":")[2])
            for line in head.split("\r\n")
            if line.lower().startswith("content-length:")
        )
        return int(head.split(" ")[1]), await self._reader.readexactly(length if body else 0)

    async def is_cut_off(self) -> bool:
        """Wait until the other end is gone."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass
        return True

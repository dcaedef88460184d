"""Listens on loopback and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from pipeline.errors import SandboxError
from pipeline.sandbox.arm.protocol import ArmProtocol
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.simulator import Simulator
from pipeline.sandbox.arm.wire import Answer, Request

HOST = "127.0.0.1"
# Connections that the kernel holds until they are accepted.
BACKLOG = 1024
# How often connections are looked at for idleness, seconds.
SWEEP_S = 5.0


class Endpoints(NamedTuple):
    """Where the APIs are, e.g. ``http://127.0.0.1:41234``."""

    arm: str
    graph: str


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Endpoints]:
    """Serve while the context lasts.

    Raises:
        SandboxError: a port is taken, or the certificate cannot be read.
    """
    simulator = Simulator(settings)
    connections: set[ArmProtocol] = set()
    simulator.connections = connections
    servers: list[asyncio.Server] = []

    async def listen(name: str, port: int, handle: Callable[[Request], Answer]) -> str:
        server = await _listen(
            name, port, settings, lambda: ArmProtocol(simulator, handle, connections)
        )
        servers.append(server)
        scheme = "https" if settings.certfile else "http"
        return f"{scheme}://{HOST}:{server.sockets[0].getsockname()[1]}"

    sweeper = asyncio.create_task(_sweep(connections, settings.idle_timeout_s))
    try:
        yield Endpoints(
            await listen("ARM", settings.port, simulator.handle),
            await listen("Microsoft Graph", settings.graph_port, simulator.handle_graph),
        )
    finally:
        sweeper.cancel()
        for server in servers:
            server.close()
        for connection in list(connections):
            connection.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
        for server in servers:
            await server.wait_closed()


async def serve(
    settings: Settings,
    on_ready: Callable[[Endpoints], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until ``stop`` is set.

    Args:
        settings: how the simulator is set up.
        on_ready: called once with the endpoints.
        stop: given, signals are left alone.

    Raises:
        SandboxError: a port is taken, or the certificate cannot be read.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as endpoints:
        on_ready(endpoints)
        await stop.wait()


async def _listen(
    name: str, port: int, settings: Settings, connection: Callable[[], ArmProtocol]
) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(
            connection, HOST, port, backlog=BACKLOG, ssl=_tls(settings)
        )
    except (OSError, ValueError) as error:
        raise SandboxError(f"The {name} simulator cannot listen on port {port}: {error}") from error


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.certfile, settings.keyfile)
    return context


async def _sweep(connections: set[ArmProtocol], idle_timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(SWEEP_S, idle_timeout_s))
        oldest_s = loop.time() - idle_timeout_s
        for connection in list(connections):
            if connection.is_idle and connection.last_active_s < oldest_s:
                connection.close()

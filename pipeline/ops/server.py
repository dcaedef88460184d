"""The HTTP server in the supervisor's loop: one address, few connections."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.logs import log
from pipeline.ops.pages import Pages

if TYPE_CHECKING:
    from pipeline.ops.connection import Connection

MAX_CONNECTIONS = 32
# Connections that wait to be accepted.
BACKLOG = 16


def listen(config: Config) -> socket.socket | None:
    """Open OPS_HOST:OPS_PORT.

    Returns:
        None if OPS_PORT is 0, or if nobody has set it and its default is taken: a second collector
        of a host runs without.

    Raises:
        ConfigError: it cannot be listened on.
    """
    host, port = config.ops_host, config.ops_port
    if not port:
        return None
    try:
        return _bound(host, port)
    except OSError as error:
        said = error.strerror or str(error)
        by_default = config.sources.get("OPS_PORT", "default") == "default"
        if error.errno == errno.EADDRINUSE and by_default:
            log.bind(action="ops_port_taken", port=port).warning(
                "port {} is taken, so /metrics and /status are off: set OPS_PORT to a free one, "
                "or to 0",
                port,
            )
            return None
        raise ConfigError(
            [
                f"OPS_PORT: got {port}, on which OPS_HOST {host} cannot be listened to ({said}); "
                "takes a free port of an address of this machine, or 0 for none"
            ]
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    # Here and not by the loop, which would start a thread to look the name up.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class OpsServer:
    """Answers on one socket.

    Args:
        pages: what it answers.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def start(self, listener: socket.socket) -> None:
        """Answer on this socket, owned from now on."""
        self._server = await asyncio.start_server(self._connected, sock=listener)
        host, port = listener.getsockname()[:2]
        log.bind(action="ops_listening", host=host, port=port).debug("listening")

    async def close(self) -> None:
        """Stop; those that are connected are cut off."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # With it comes the HTTP library, which no collector's start should wait for.
        from pipeline.ops.connection import Connection

        connection = Connection(reader, writer, self._pages)
        if len(self._connections) >= MAX_CONNECTIONS:
            idle = min(
                (one for one in self._connections if one.idle_since_s is not None),
                key=lambda one: one.idle_since_s or 0.0,
                default=None,
            )
            if idle is None:
                await connection.refuse()
                return
            # Whoever only holds a connection makes room for who asks.
            self._connections.discard(idle)
            idle.abort()
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

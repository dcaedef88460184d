"""A proxy as companies have them: it takes CONNECT and carries bytes, and sees nothing of them."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

# Of a CONNECT request's head.
HEAD_MAX_BYTES = 16_384
PATIENCE_S = 10.0


class ConnectProxy:
    """Listens on loopback; a context manager.

    Attributes:
        url: for HTTPS_PROXY.
        heads: what it was asked, as text.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads: list[str] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._carry, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE_S)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_MAX_BYTES:
            head += client.recv(4096)
        self.heads.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        with client, socket.create_connection((host, int(port)), PATIENCE_S) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, client))
            back.start()
            _copy(client, server)
            back.join(PATIENCE_S)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

"""A small threaded HTTP or HTTPS server that counts what is asked and can be told to fail."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import trustme

HOST = "127.0.0.1"
# A connection that says nothing is let go after this.
IDLE_S = 30.0
BODY_MAX_BYTES = 1 << 20


@dataclass
class Request:
    """One request: ``query`` and ``form`` are decoded, ``body`` is as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]
    body: bytes = b""


@dataclass
class Answer:
    """One answer; ``body`` becomes JSON unless it is bytes."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """An answer that is given once in the place of the right one."""

    answer: Answer
    path: str = ""


class StandIn:
    """Base of the stand-ins.

    Args:
        ca: issues the certificate; None serves plain HTTP.

    Attributes:
        counts: requests by what :meth:`respond` calls them.
        faults: answers given instead, each once, to the next request whose path holds ``path``.
        silent: nothing is answered until the server is closed.
    """

    def __init__(self, ca: trustme.CA | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.silent = False
        self._closing = threading.Event()
        self._server = _Server(self, _context(ca) if ca else None)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if ca else 'http'}://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def respond(self, request: Request) -> Answer:
        """The answer when nothing fails."""
        raise NotImplementedError

    def answer(self, request: Request) -> Answer | None:
        """The answer, or None for silence."""
        if self.silent:
            self.counts["silent"] += 1
            self._closing.wait(IDLE_S)
            return None
        for fault in self.faults:
            if fault.path in request.path:
                self.faults.remove(fault)
                self.counts["failed"] += 1
                return fault.answer
        return self.respond(request)

    def close(self) -> None:
        """Stop serving and let every waiting request go."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST, "localhost").configure_cert(context)
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: StandIn, context: ssl.SSLContext | None) -> None:
        self.owner = owner
        self.context = context
        super().__init__((HOST, 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(IDLE_S)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        # The handshake happens here, in the connection's own thread.
        with self.context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us, or went away, is part of some tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        size = min(int(self.headers.get("Content-Length") or 0), BODY_MAX_BYTES)
        body = self.rfile.read(size)
        form = dict(parse_qsl(body.decode(errors="replace")))
        answer = self.server.owner.answer(
            Request(
                method=self.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                headers={name.lower(): value for name, value in self.headers.items()},
                form=form,
                body=body,
            )
        )
        if answer is None:
            self.close_connection = True
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = _serve

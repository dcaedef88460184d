"""Which page answers which request, and who may see it. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pipeline.ops.health import Judged
from pipeline.ops.text_format import CONTENT_TYPE
from pipeline.ops.view import View

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD")
# Answers a second, of all connections together: a page takes milliseconds of the supervisor.
MAX_PER_S = 50.0
MAX_AT_ONCE = 100.0


class Page(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP.
        content_type: of the body.
        body: what a HEAD is told the length of.
        headers: more of them.
    """

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def text(status: int, said: str, *headers: tuple[str, str]) -> Page:
    """A line of text."""
    return Page(status, TEXT, f"{said}\n".encode(), headers)


class Pages:
    """The pages of one collector.

    Args:
        view: what they show.
        token: OPS_TOKEN, or None: nobody needs one.
    """

    def __init__(self, view: View, token: str | None) -> None:
        self._token = token.encode() if token is not None else None
        # Probes are told without a token: an orchestrator has none, and they name no one's data.
        self._open: dict[str, Callable[[], Page]] = {
            "/healthz": lambda: _judged(view.alive()),
            "/readyz": lambda: _judged(view.ready()),
        }
        self._guarded: dict[str, Callable[[], Page]] = {
            "/metrics": lambda: Page(200, CONTENT_TYPE, view.metrics().encode()),
            "/status": lambda: Page(200, JSON, msgspec.json.encode(view.status())),
        }
        self._allowed = MAX_AT_ONCE
        self._as_of_s = 0.0

    def answer(self, method: str, target: str, authorization: bytes | None, now_s: float) -> Page:
        """Answer a request.

        Args:
            method: of HTTP.
            target: path, and a query that nobody reads.
            authorization: that header, if there is one.
            now_s: monotonic seconds.
        """
        if not self._may_answer(now_s):
            return text(503, "too many requests: ask again in a second", ("Retry-After", "1"))
        path = target.partition("?")[0]
        page = self._open.get(path) or self._guarded.get(path)
        if page is None:
            return text(404, "there are /healthz, /readyz, /metrics and /status")
        if method not in METHODS:
            return text(405, "only GET and HEAD", ("Allow", ", ".join(METHODS)))
        if path in self._guarded and not self._knows_token(authorization):
            problem = "this page needs OPS_TOKEN, as `Authorization: Bearer TOKEN`"
            return text(401, problem, ("WWW-Authenticate", "Bearer"))
        return page()

    def _knows_token(self, authorization: bytes | None) -> bool:
        if self._token is None:
            return True
        scheme, _, token = (authorization or b"").partition(b" ")
        # In time that tells nothing of how much of it is right.
        import hmac

        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)

    def _may_answer(self, now_s: float) -> bool:
        back = (now_s - self._as_of_s) * MAX_PER_S
        self._allowed = min(MAX_AT_ONCE, self._allowed + back)
        self._as_of_s = now_s
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True


def _judged(judged: Judged) -> Page:
    return Page(200 if judged.ok else 503, JSON, msgspec.json.encode(judged))

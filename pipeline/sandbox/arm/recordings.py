"""Answers that were recorded elsewhere, served as they are."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Meta

from pipeline.sandbox.arm.wire import Answer

RECORDINGS_MAX = 100_000
# Made anew for the connection at hand.
NOT_KEPT = frozenset(
    {"content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive", "date"}
)
_UNSAFE = frozenset("\r\n\0")

Query = tuple[tuple[str, str], ...]


class Recording(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One recorded answer.

    Attributes:
        method: of the request.
        path: compared in any case, after percent-decoding.
        query: compared as a set of decoded parameters; ``None`` matches any.
        status: HTTP status.
        headers: sent as they are, but for those that belong to a connection.
        body: exact text; ``None`` is no body.
    """

    method: str = "GET"
    path: str
    query: str | None = None
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    headers: dict[str, str] = {}
    body: str | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with '/', got {self.path!r}")
        for name, value in self.headers.items():
            if _UNSAFE & set(name + value) or not name.isascii():
                raise ValueError(f"header {name!r} has a line break or is not ASCII")


def _key(method: str, path: str, query: str | None) -> tuple[str, str, Query | None]:
    parameters = None if query is None else tuple(sorted(parse_qsl(query, keep_blank_values=True)))
    return method.upper(), unquote(path).lower(), parameters


class Recordings:
    """Recorded answers by method, path and query.

    Of several with the same key each is served once, in their order, and the last for ever.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, Query | None], list[Answer]] = {}
        self._count = 0

    @property
    def active(self) -> bool:
        """Whether there is any."""
        return bool(self._answers)

    def clear(self) -> None:
        """Have none."""
        self._answers.clear()
        self._count = 0

    def add(self, recordings: list[Recording]) -> int:
        """Add these.

        Returns:
            How many there are now.

        Raises:
            ValueError: more than ``RECORDINGS_MAX``.
        """
        if self._count + len(recordings) > RECORDINGS_MAX:
            raise ValueError(f"at most {RECORDINGS_MAX} recordings are taken")
        for recording in recordings:
            headers = tuple(
                (name, value)
                for name, value in recording.headers.items()
                if name.lower() not in NOT_KEPT
            )
            answer = Answer(
                recording.status, (recording.body or "").encode(), headers, kind="recorded"
            )
            key = _key(recording.method, recording.path, recording.query)
            self._answers.setdefault(key, []).append(answer)
        self._count += len(recordings)
        return self._count

    def find(self, method: str, target: str, *, keep: bool = False) -> Answer | None:
        """The answer to a request; ``keep`` looks without taking it off."""
        path, _, query = target.partition("?")
        for key in (_key(method, path, query), _key(method, path, None)):
            answers = self._answers.get(key)
            if answers:
                return answers.pop(0) if len(answers) > 1 and not keep else answers[0]
        return None

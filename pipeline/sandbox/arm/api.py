"""What the APIs that are simulated have in common, and how they differ in form."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

import msgspec

from pipeline.sandbox.arm.access import Access
from pipeline.sandbox.arm.wire import Answer, Request


class Dialect(msgspec.Struct, frozen=True):
    """The form in which an API says what all of them say.

    Attributes:
        error: an answer from status, code, message, and kind for the statistics (``""`` makes one
            of the code).
        throttled_code: the error code of a request over a limit.
        next_link: field of a list that links to its next page.
    """

    error: Callable[[int, str, str, str], Answer]
    throttled_code: str
    next_link: str


class Api(Protocol):
    """One API on a listener of its own.

    Attributes:
        dialect: the form of its answers.
        access: who may ask it.
    """

    dialect: Dialect
    access: Access

    def answer(self, request: Request, principal: str, origin: str) -> Answer:
        """The answer to a request.

        Args:
            request: with an accepted token.
            principal: whose token.
            origin: scheme, host and port as the client called them.
        """
        ...

    def finish(self, request: Request, answer: Answer) -> Answer:
        """The answer with what every answer of this API has."""
        ...


class RequestIds:
    """GUIDs, one for each answer."""

    def __init__(self) -> None:
        digits = secrets.token_hex(8)
        self._start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a000-"
        self._count = 0

    def next(self) -> str:
        """The next one."""
        self._count += 1
        return f"{self._start}{self._count:012x}"

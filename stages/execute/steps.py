"""What comes after a call: another one, a wait, or the end.

What is made for every call is a ``Struct``: a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from msgspec import Struct

from pipeline.messages import Outcome
from stages.execute.held import Held


@dataclass(frozen=True)
class Limits:
    """What bounds a request.

    Attributes:
        max_retries: of one call, after its first try.
        initial_retry_delay_s: doubles with each retry, full jitter.
        max_backoff_s: upper end of a back-off.
        request_timeout_s: all calls and waits of a request together.
        max_wait_s: longest wait that is waited for here.
        put_off_until: deliveries up to which a message may be given back for a longer wait.
    """

    max_retries: int
    initial_retry_delay_s: float
    max_backoff_s: float
    request_timeout_s: float
    max_wait_s: float = math.inf
    put_off_until: int = 0


class Call(Struct, frozen=True):
    """What to ask next."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Again(Struct, frozen=True):
    """The request goes on after a wait.

    Attributes:
        after_s: seconds; 0 for at once.
    """

    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Azure has too many calls and asks for a pause.

    Attributes:
        wait_s: seconds.
        whole_scope: of all calls of the scope, not only of those like the refused one.
    """

    wait_s: float
    whole_scope: bool


@dataclass(frozen=True, slots=True)
class FreshToken:
    """ARM refused the token; go on with a newer one."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The disk has no room for the request's rows; after a wait it begins anew.

    Attributes:
        after_s: seconds.
        problem: what the disk said.
    """

    after_s: float
    problem: str


class Done(Struct, frozen=True):
    """The request has its outcome; what is held is for ``batch``."""

    outcome: Outcome
    held: Held


@dataclass(frozen=True, slots=True)
class PutOff:
    """Azure asks for a wait that is too long to be waited for here.

    Attributes:
        after_s: seconds.
    """

    after_s: float


Step = Again | FreshToken | HeldBack | PutOff | Done

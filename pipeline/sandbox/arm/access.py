"""Who calls: bearer tokens and the principals they stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from pipeline.sandbox.arm.wire import Answer

# Tokens whose principal is remembered.
PRINCIPALS_MAX = 1000

# What is wrong with a token: there is none, it is not accepted, or it is another API's.
TokenFault = Literal["missing", "unknown", "foreign"]


class Access:
    """Compares tokens with those that are accepted.

    Args:
        tokens: the accepted ones; ``None`` accepts any but the foreign.
        foreign: tokens that another API accepts; only those that are also in ``tokens`` do here.
        refuse: makes the answer to what is wrong with a token.
    """

    def __init__(
        self,
        tokens: frozenset[str] | None,
        foreign: frozenset[str],
        refuse: Callable[[TokenFault], Answer],
    ) -> None:
        self._tokens = tokens
        self._foreign = foreign - (tokens or frozenset())
        self._refuse = refuse
        self._principals: dict[bytes, str] = {}

    def check(self, authorization: bytes | None) -> str | Answer:
        """The principal, or the answer that refuses.

        Args:
            authorization: the header's value.
        """
        if authorization is None:
            return self._refuse("missing")
        principal = self._principals.get(authorization)
        if principal is not None:
            return principal
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return self._refuse("missing")
        if token in self._foreign:
            return self._refuse("foreign")
        if self._tokens is not None and token not in self._tokens:
            return self._refuse("unknown")
        if len(self._principals) >= PRINCIPALS_MAX:
            self._principals.clear()
        principal = hashlib.sha256(token.encode()).hexdigest()[:16]
        self._principals[authorization] = principal
        return principal

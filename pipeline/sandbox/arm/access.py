"""Who calls: bearer tokens and the principals they stand for."""

from __future__ import annotations

import hashlib

from pipeline.sandbox.arm import arm_errors
from pipeline.sandbox.arm.wire import Answer

# Tokens whose principal is remembered.
PRINCIPALS_MAX = 1000


class Access:
    """Compares tokens with those that are accepted.

    Args:
        tokens: the accepted ones; ``None`` accepts any.
        tenant_id: named in the challenge.
    """

    def __init__(self, tokens: frozenset[str] | None, tenant_id: str) -> None:
        self._tokens = tokens
        self._tenant_id = tenant_id
        self._principals: dict[bytes, str] = {}

    def check(self, authorization: bytes | None) -> str | Answer:
        """The principal, or the answer that refuses.

        Args:
            authorization: the header's value.
        """
        if authorization is None:
            return arm_errors.missing_authorization(self._tenant_id)
        principal = self._principals.get(authorization)
        if principal is not None:
            return principal
        scheme, _, token = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return arm_errors.missing_authorization(self._tenant_id)
        if self._tokens is not None and token.strip() not in self._tokens:
            return arm_errors.invalid_token(self._tenant_id)
        if len(self._principals) >= PRINCIPALS_MAX:
            self._principals.clear()
        principal = hashlib.sha256(token.strip().encode()).hexdigest()[:16]
        self._principals[authorization] = principal
        return principal

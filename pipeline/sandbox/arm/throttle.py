"""Which bucket a request draws on, and the headers that tell what is left."""

from __future__ import annotations

import time

from pipeline.sandbox.arm import arm_errors
from pipeline.sandbox.arm.buckets import Scopes
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.wire import Answer

Headers = tuple[tuple[str, str], ...]

_SUBSCRIPTION = "/subscriptions/"
_GUID_CHARS = 36
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_TENANT = "tenant"


class Throttle:
    """The token buckets of all scopes, by kind of operation.

    Args:
        settings: sizes and refills, and whether they are on.
    """

    def __init__(self, settings: Settings) -> None:
        self._on = settings.buckets
        self._scopes = {
            "reads": Scopes(settings.bucket_size, settings.bucket_refill),
            "writes": Scopes(settings.write_size, settings.write_refill),
        }
        self._full = {"reads": settings.bucket_size, "writes": settings.write_size}

    def levels(self) -> dict[str, int]:
        """Reads that are left of each scope, of the principal that has the fewest."""
        return self._scopes["reads"].levels(time.monotonic())

    def check(self, method: str, target: str, principal: str) -> tuple[Headers, Answer | None]:
        """Draw a token.

        Args:
            method: of the request; POST, PUT, PATCH and DELETE draw on the bucket of writes.
            target: path and query.
            principal: who calls.

        Returns:
            Headers that tell what is left, and the refusal if nothing was.
        """
        kind = "reads" if method in _READS else "writes"
        scope = _TENANT
        if target[: len(_SUBSCRIPTION)].lower() == _SUBSCRIPTION:
            scope = target[len(_SUBSCRIPTION) : len(_SUBSCRIPTION) + _GUID_CHARS].lower() or _TENANT
        if not self._on:
            return _headers(scope, kind, self._full[kind] - 1, self._full[kind] * 15 - 1), None
        wait_s, own, shared = self._scopes[kind].take(scope, principal, time.monotonic())
        headers = _headers(scope, kind, own, shared)
        if not wait_s:
            return headers, None
        where = "the tenant" if scope is _TENANT else f"subscription '{scope}'"
        return headers, arm_errors.throttled(wait_s, where)


def _headers(scope: str, kind: str, own: int, shared: int) -> Headers:
    if scope is _TENANT:
        return ((f"x-ms-ratelimit-remaining-tenant-{kind}", str(own)),)
    return (
        (f"x-ms-ratelimit-remaining-subscription-{kind}", str(own)),
        (f"x-ms-ratelimit-remaining-subscription-global-{kind}", str(shared)),
    )

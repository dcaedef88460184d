"""Azure Resource Manager's lists of subscriptions and of permissions, for who holds a token."""

from __future__ import annotations

import re
from typing import Any

from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Request, StandIn

AUDIENCE = "https://management.azure.com"
_PERMISSIONS = re.compile(
    r"/subscriptions/([^/]+)/providers/Microsoft\.Authorization/permissions", re.IGNORECASE
)


class Arm(StandIn):
    """Lists two subscriptions, and what the caller may do in those it is told of.

    Attributes:
        seen_tokens: every bearer token that came here.
        permissions: by subscription id, what each role assignment grants there; a subscription that
            is not among them is not found.
    """

    def __init__(self, ca: object, entra: Entra) -> None:
        self.entra = entra
        self.seen_tokens: list[str] = []
        self.permissions: dict[str, list[dict[str, Any]]] = {}
        super().__init__(ca)  # type: ignore[arg-type]

    def respond(self, request: Request) -> Answer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.seen_tokens.append(token)
        issued = self.entra.issued.get(token)
        if issued is None or issued.audience != AUDIENCE:
            return _refuse(401, "InvalidAuthenticationToken")
        version = request.query.get("api-version")
        found = _PERMISSIONS.fullmatch(request.path)
        if found is not None and version == "2022-04-01":
            self.counts["permissions"] += 1
            if found[1] not in self.permissions:
                return _refuse(404, "SubscriptionNotFound")
            return Answer(200, {"value": self.permissions[found[1]]})
        if request.path != "/subscriptions" or version != "2022-12-01":
            return _refuse(404, "NotFound")
        self.counts["subscriptions"] += 1
        value = [{"id": f"/subscriptions/{n}", "subscriptionId": str(n)} for n in range(2)]
        return Answer(200, {"value": value})


def _refuse(status: int, code: str) -> Answer:
    return Answer(status, {"error": {"code": code, "message": "no"}})

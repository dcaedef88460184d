"""Azure Resource Manager's list of subscriptions, for who holds a token for it."""

from __future__ import annotations

from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Request, StandIn

AUDIENCE = "https://management.azure.com"


class Arm(StandIn):
    """Lists two subscriptions.

    Attributes:
        seen_tokens: every bearer token that came here.
    """

    def __init__(self, ca: object, entra: Entra) -> None:
        self.entra = entra
        self.seen_tokens: list[str] = []
        super().__init__(ca)  # type: ignore[arg-type]

    def respond(self, request: Request) -> Answer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.seen_tokens.append(token)
        issued = self.entra.issued.get(token)
        if issued is None or issued.audience != AUDIENCE:
            return Answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "no"}})
        if request.path != "/subscriptions" or request.query.get("api-version") != "2022-12-01":
            return Answer(404, {"error": {"code": "NotFound", "message": "no"}})
        self.counts["subscriptions"] += 1
        value = [{"id": f"/subscriptions/{n}", "subscriptionId": str(n)} for n in range(2)]
        return Answer(200, {"value": value})

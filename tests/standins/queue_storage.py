"""One queue of Azure Queue Storage for who holds a token: messages that are received, hidden again
and deleted, and the challenge of the service.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from tests.standins.entra import TENANT, Entra
from tests.standins.http_server import Answer, Request, StandIn

# What tokens for Azure Storage are for.
RESOURCE = "https://storage.azure.com"
_DATE = "Mon, 23 Nov 2026 10:11:12 GMT"
_XML = {"Content-Type": "application/xml"}


class QueueStorage(StandIn):
    """A queue whose receives give every message there is.

    Attributes:
        texts: messages by id; each has the receipt ``A/g+0==`` until it is hidden again.
        resource: what a token must be for.
        drops: so many connections end without an answer.
        asked: what was asked, in order.
    """

    def __init__(self, ca: object, entra: Entra) -> None:
        self.entra = entra
        self.texts: dict[str, str] = {}
        self.receipts: dict[str, int] = {}
        self.resource = RESOURCE
        self.drops = 0
        self.asked: list[Request] = []
        super().__init__(ca)  # type: ignore[arg-type]

    def answer(self, request: Request) -> Answer | None:
        self.asked.append(request)
        if self.drops:
            self.drops -= 1
            self.counts["dropped"] += 1
            return None
        return super().answer(request)

    def respond(self, request: Request) -> Answer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        issued = self.entra.issued.get(token)
        if issued is None or issued.audience != self.resource:
            self.counts["challenge"] += 1
            uri = f"{self.entra.url}/{TENANT}/oauth2/authorize"
            challenge = f"Bearer authorization_uri={uri} resource_id={self.resource}"
            return refusal(401, "InvalidAuthenticationInfo", {"WWW-Authenticate": challenge})
        self.counts[request.method] += 1
        if request.method == "GET":
            found = "".join(self._message(message_id) for message_id in self.texts)
            body = f"<?xml version='1.0'?><QueueMessagesList>{found}</QueueMessagesList>"
            return Answer(200, body.encode(), _XML)
        return self._change(request, request.path.rpartition("/")[2])

    def _change(self, request: Request, message_id: str) -> Answer:
        if message_id not in self.texts:
            return refusal(404, "MessageNotFound")
        if request.query["popreceipt"] != self._receipt(message_id):
            return refusal(400, "PopReceiptMismatch")
        if request.method == "DELETE":
            del self.texts[message_id]
            return Answer(204, b"")
        self.receipts[message_id] = self.receipts.get(message_id, 0) + 1
        return Answer(204, b"", {"x-ms-popreceipt": self._receipt(message_id)})

    def _receipt(self, message_id: str) -> str:
        return f"A/g+{self.receipts.get(message_id, 0)}=="

    def _message(self, message_id: str) -> str:
        return (
            f"<QueueMessage><MessageId>{message_id}</MessageId>"
            f"<InsertionTime>{_DATE}</InsertionTime><ExpirationTime>{_DATE}</ExpirationTime>"
            f"<PopReceipt>{self._receipt(message_id)}</PopReceipt>"
            f"<TimeNextVisible>{_DATE}</TimeNextVisible><DequeueCount>1</DequeueCount>"
            f"<MessageText>{escape(self.texts[message_id])}</MessageText></QueueMessage>"
        )


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer of the service that it will not, with its code in the body only."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return Answer(status, body.encode(), {**_XML, **(headers or {})})

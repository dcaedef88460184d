"""Microsoft Graph's lists of users and of groups, for who holds a token for it."""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Any
from urllib.parse import quote

from tests.standins.entra import Entra
from tests.standins.http_server import Answer, Request, StandIn

AUDIENCE = "https://graph.microsoft.com"
VERSION = "v1.0"
USERS = 3
GROUPS = 2
# Objects on a page.
PAGE_SIZE = 2
CONTENT_TYPE = "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8"
# Ids of users and groups are always the same.
_NAMESPACE = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


class MicrosoftGraph(StandIn):
    """A directory: users come in two pages, groups in one.

    Attributes:
        seen_tokens: every bearer token that came here, in order; "" for a request without one.
        collections: by name, the objects of ``/v1.0/NAME``; a test may change them.
        denied: collections that the application has no permission for.
        link_origin: where its next links lead; here, unless a test changes it.
    """

    def __init__(self, ca: object, entra: Entra) -> None:
        self.entra = entra
        self.seen_tokens: list[str] = []
        self.collections: dict[str, list[dict[str, Any]]] = {
            "users": [_user(n) for n in range(USERS)],
            "groups": [_group(n) for n in range(GROUPS)],
        }
        self.denied: set[str] = set()
        super().__init__(ca)  # type: ignore[arg-type]
        self.link_origin = self.url

    def respond(self, request: Request) -> Answer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.seen_tokens.append(token)
        issued = self.entra.issued.get(token)
        if issued is None or issued.audience != AUDIENCE:
            self.counts["refused"] += 1
            said = "Access token validation failure. Invalid audience."
            return _refuse(401, "InvalidAuthenticationToken", said)
        version, _, rest = request.path.strip("/").partition("/")
        name, _, key = rest.partition("/")
        if version != VERSION:
            return _refuse(400, "BadRequest", "Invalid version.")
        if name not in self.collections or "/" in key:
            said = f"Resource not found for the segment '{name}'."
            return _refuse(400, "BadRequest", said)
        if request.method != "GET":
            said = "Specified HTTP method is not allowed for the request target."
            return _refuse(405, "Request_BadRequest", said)
        self.counts[name] += 1
        if name in self.denied:
            said = "Insufficient privileges to complete the operation."
            return _refuse(403, "Authorization_RequestDenied", said)
        return self._object(name, key) if key else self._page(name, request.query)

    def _object(self, name: str, key: str) -> Answer:
        for found in self.collections[name]:
            if key == found["id"]:
                context = f"{AUDIENCE}/{VERSION}/$metadata#{name}/$entity"
                return _answer(200, {"@odata.context": context, **found})
        said = f"Resource '{key}' does not exist or one of its queried reference-property objects"
        return _refuse(404, "Request_ResourceNotFound", f"{said} are not present.")

    def _page(self, name: str, query: dict[str, str]) -> Answer:
        objects = self.collections[name]
        start = _place(query.get("$skiptoken"))
        if not 0 <= start <= len(objects):
            return _refuse(400, "Directory_ExpiredPageToken", "The specified page token is wrong.")
        end = start + PAGE_SIZE
        body: dict[str, Any] = {"@odata.context": f"{AUDIENCE}/{VERSION}/$metadata#{name}"}
        if end < len(objects):
            # The next page's address carries the options of this one's.
            kept = {option: text for option, text in query.items() if option != "$skiptoken"}
            options = {**kept, "$skiptoken": _skip_token(end)}
            text = "&".join(f"{option}={quote(value)}" for option, value in options.items())
            body["@odata.nextLink"] = f"{self.link_origin}/{VERSION}/{name}?{text}"
        return _answer(200, {**body, "value": objects[start:end]})


def _user(number: int) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_NAMESPACE, f"user {number}")),
        "displayName": f"User {number}",
        "userPrincipalName": f"user{number}@contoso.example",
        "mail": None,
        "businessPhones": [],
    }


def _group(number: int) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(_NAMESPACE, f"group {number}")),
        "displayName": f"Group {number}",
        "groupTypes": ["Unified"],
        "securityEnabled": True,
    }


def _skip_token(place: int) -> str:
    return base64.urlsafe_b64encode(f"place {place}".encode()).decode()


def _place(skip_token: str | None) -> int:
    """Where a page begins; -1 for a token that is none of ours."""
    if skip_token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(skip_token).decode().removeprefix("place "))
    except (binascii.Error, ValueError):
        return -1


def _answer(status: int, body: dict[str, Any], request_id: str = "") -> Answer:
    headers = {"Content-Type": CONTENT_TYPE, "request-id": request_id or str(uuid.uuid4())}
    return Answer(status, body, headers)


def _refuse(status: int, code: str, message: str) -> Answer:
    request_id = str(uuid.uuid4())
    inner = {
        "date": "2025-01-01T00:00:00",
        "request-id": request_id,
        "client-request-id": request_id,
    }
    error = {"code": code, "message": message, "innerError": inner}
    return _answer(status, {"error": error}, request_id)

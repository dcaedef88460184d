"""An identity provider's token endpoint for client credentials, as RFC 6749 has it."""

from __future__ import annotations

import base64
import secrets
from urllib.parse import unquote

import trustme

from tests import secrets_seen
from tests.standins.http_server import Answer, Request, StandIn

CLIENT = "collector@example.com"
# Signs that a form and a header mean something by.
SECRET = secrets_seen.secret("s3cret: 100% + /more~")
PATH = "/oauth2/v1/token"


class TokenEndpoint(StandIn):
    """One client, known by HTTP Basic.

    Attributes:
        secret: the client's.
        scopes: that the client may ask for.
        issued: tokens given, each with its scope.
    """

    def __init__(self, ca: trustme.CA | None = None) -> None:
        self.secret = SECRET
        self.scopes = {"session:role:SANDBOX", "api://snowflake/.default"}
        self.issued: dict[str, str] = {}
        super().__init__(ca)

    @property
    def token_url(self) -> str:
        """SNOWFLAKE_OAUTH_TOKEN_URL."""
        return self.url + PATH

    def respond(self, request: Request) -> Answer:
        if request.path != PATH or request.method != "POST":
            return Answer(404, {})
        self.counts["token"] += 1
        if request.form.get("grant_type") != "client_credentials":
            return _refuse(400, "unsupported_grant_type", "")
        if _login(request.headers.get("authorization", "")) != (CLIENT, self.secret):
            return _refuse(401, "invalid_client", "The client secret supplied is invalid.")
        scope = request.form.get("scope", "")
        if scope not in self.scopes:
            return _refuse(400, "invalid_scope", f"Not allowed: {scope}")
        token = secrets_seen.secret(f"access-{secrets.token_urlsafe(24)}")
        self.issued[token] = scope
        return Answer(
            200,
            {"access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": scope},
        )


def _login(header: str) -> tuple[str, str]:
    kind, _, packed = header.partition(" ")
    if kind != "Basic":
        return "", ""
    user, _, password = base64.b64decode(packed).decode().partition(":")
    return unquote(user), unquote(password)


def _refuse(status: int, code: str, said: str) -> Answer:
    return Answer(status, {"error": code, "error_description": said})

"""Microsoft Entra ID for one tenant and one application, and the metadata service of a machine."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from tests import secrets_seen
from tests.standins.http_server import Answer, Request, StandIn

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
LIFE_S = 3600


@dataclass(frozen=True)
class Issued:
    """What a token was issued for."""

    audience: str


class Entra(StandIn):
    """Entra ID's token endpoint for client credentials, with its error codes.

    Attributes:
        secret: the application's secret.
        issued: every token it gave.
        accept_assertions: take any signed client assertion, as for a certificate or a pod.
        life_s: seconds that a token lasts.
    """

    life_s = LIFE_S
    secret = secrets_seen.secret("right~Secret.of-the-application")
    accept_assertions = True

    def __init__(self, ca: object) -> None:
        self.issued: dict[str, Issued] = {}
        super().__init__(ca)  # type: ignore[arg-type]

    def respond(self, request: Request) -> Answer:
        tenant, _, rest = request.path.strip("/").partition("/")
        if "discovery/instance" in rest:
            self.counts["instance discovery"] += 1
            return Answer(200, {"tenant_discovery_endpoint": "", "metadata": []})
        if tenant != TENANT:
            self.counts["wrong tenant"] += 1
            return _refuse(400, "invalid_tenant", f"AADSTS90002: Tenant '{tenant}' not found.")
        if rest == "v2.0/.well-known/openid-configuration":
            self.counts["configuration"] += 1
            return Answer(
                200,
                {
                    "issuer": f"{self.url}/{TENANT}/v2.0",
                    "token_endpoint": f"{self.url}/{TENANT}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{self.url}/{TENANT}/oauth2/v2.0/authorize",
                    "jwks_uri": f"{self.url}/{TENANT}/discovery/v2.0/keys",
                },
            )
        if rest == "oauth2/v2.0/token" and request.method == "POST":
            return self._token(request.form)
        return Answer(404, {"error": "not_found"})

    def _token(self, form: dict[str, str]) -> Answer:
        self.counts["token"] += 1
        if form.get("client_id") != CLIENT:
            said = f"AADSTS700016: Application '{form.get('client_id')}' was not found."
            return _refuse(400, "unauthorized_client", said)
        asserted = self.accept_assertions and "client_assertion" in form
        if form.get("client_secret") != self.secret and not asserted:
            said = "AADSTS7000215: Invalid client secret provided."
            return _refuse(401, "invalid_client", said)
        scope = form["scope"].split()[0]
        return Answer(
            200,
            {
                "token_type": "Bearer",
                "expires_in": self.life_s,
                "access_token": self.issue(scope.removesuffix("/.default")),
            },
        )

    def issue(self, audience: str) -> str:
        """A new token for this audience."""
        token = secrets_seen.secret(f"token-{secrets.token_urlsafe(24)}")
        self.issued[token] = Issued(audience)
        return token


class Imds(StandIn):
    """The metadata service of a machine: plain HTTP, as the real one."""

    def __init__(self) -> None:
        self.issued: dict[str, Issued] = {}
        super().__init__()

    def respond(self, request: Request) -> Answer:
        if request.path != "/metadata/identity/oauth2/token":
            return Answer(404, {"error": "not_found"})
        if request.headers.get("metadata") != "true":
            return _refuse(400, "bad_request_102", "Required metadata header not specified")
        self.counts["token"] += 1
        client = request.query.get("client_id")
        if client is not None and client != CLIENT:
            return _refuse(400, "invalid_request", "Identity not found")
        token = secrets_seen.secret(f"token-{secrets.token_urlsafe(24)}")
        self.issued[token] = Issued(request.query["resource"])
        now_s = int(time.time())
        return Answer(
            200,
            {
                "access_token": token,
                "expires_in": str(LIFE_S),
                "expires_on": str(now_s + LIFE_S),
                "not_before": str(now_s),
                "resource": request.query["resource"],
                "token_type": "Bearer",
            },
        )


def _refuse(status: int, error: str, description: str) -> Answer:
    return Answer(status, {"error": error, "error_description": description})

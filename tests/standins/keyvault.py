"""One vault of Azure Key Vault: the challenge, and secrets for who holds a token for it."""

from __future__ import annotations

import secrets

from tests import secrets_seen
from tests.standins.entra import TENANT, Entra
from tests.standins.http_server import HOST, Answer, Request, StandIn


class KeyVault(StandIn):
    """A vault.

    Attributes:
        secrets: values by name.
        disabled: names of secrets that are disabled.
        role: the identity may read secrets.
    """

    def __init__(self, ca: object, entra: Entra) -> None:
        self.entra = entra
        self.secrets: dict[str, str] = {}
        self.disabled: set[str] = set()
        self.role = True
        super().__init__(ca)  # type: ignore[arg-type]
        # SecretClient takes a challenge only if the vault's host lies under the resource's domain,
        # as NAME.vault.azure.net lies under vault.azure.net.
        parent = HOST.partition(".")[2]
        self.resource = f"https://{parent}:{self.port}"

    def respond(self, request: Request) -> Answer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            self.counts["challenge"] += 1
            authority = f"{self.entra.url}/{TENANT}"
            challenge = f'Bearer authorization="{authority}", resource="{self.resource}"'
            return Answer(401, _error("Unauthorized", "No token."), {"WWW-Authenticate": challenge})
        issued = self.entra.issued.get(token)
        if issued is None or issued.audience != self.resource:
            self.counts["refused"] += 1
            return Answer(401, _error("Unauthorized", "Invalid audience."))
        self.counts["get"] += 1
        if not self.role:
            said = "Caller is not authorized to perform action on resource."
            return Answer(403, _error("Forbidden", said, "ForbiddenByRbac"))
        return self._secret(request.path.strip("/").split("/"))

    def _secret(self, path: list[str]) -> Answer:
        name = path[1] if len(path) > 1 and path[0] == "secrets" else ""
        if name in self.disabled:
            said = "Operation get is not allowed on a disabled secret."
            return Answer(403, _error("Forbidden", said, "SecretDisabled"))
        if name not in self.secrets:
            said = f"A secret with (name/id) {name} was not found in this key vault."
            return Answer(404, _error("SecretNotFound", said))
        return Answer(
            200,
            {
                "value": secrets_seen.secret(self.secrets[name]),
                "id": f"{self.url}/secrets/{name}/{secrets.token_hex(16)}",
                "attributes": {"enabled": True, "created": 1, "updated": 1},
            },
        )


def _error(code: str, message: str, inner: str = "") -> dict[str, object]:
    error: dict[str, object] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return {"error": error}

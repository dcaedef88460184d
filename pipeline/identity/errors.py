"""What an error of azure-identity means: not reached, refused, or not there, and what to check."""

from __future__ import annotations

import re

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.logs import masked
from pipeline.network_errors import causes, network_fault

WHAT = "Azure identity"

# An error description of Entra ID is several lines; the first says what is wrong.
PROBLEM_CHARS = 300
THROTTLED = 429
# MSAL keeps the status of an answer it could not use in its text only.
_STATUS_IN_TEXT = re.compile(r"HTTP (?:status|error): (\d{3})", re.IGNORECASE)
# OAuth's own words for "later": RFC 6749, section 4.1.2.1.
_LATER = ("temporarily_unavailable", "server_error")
FIRST_SERVER_ERROR = 500

# learn.microsoft.com, "Microsoft Entra authentication and authorization error codes".
_ENTRA_CODES: dict[str, tuple[type[DependencyError], str]] = {
    "AADSTS90002": (NotThere, "no such tenant: check AZURE_TENANT_ID and AZURE_CLOUD"),
    "AADSTS900023": (NotThere, "not a tenant: check AZURE_TENANT_ID"),
    "AADSTS700016": (NotThere, "no such application in the tenant: check AZURE_CLIENT_ID"),
    "AADSTS500011": (NotThere, "the tenant does not know this audience: check AZURE_CLOUD"),
    "AADSTS7000215": (
        Unauthorised,
        "wrong secret: AZURE_CLIENT_SECRET takes its value, not its id",
    ),
    "AADSTS7000222": (Unauthorised, "the secret has expired: make a new AZURE_CLIENT_SECRET"),
    "AADSTS700027": (Unauthorised, "the application does not know this certificate"),
    "AADSTS70021": (Unauthorised, "no federated credential matches this service account"),
    "AADSTS700211": (Unauthorised, "no federated credential matches this issuer"),
    "AADSTS700213": (Unauthorised, "no federated credential matches this subject"),
    "AADSTS7000112": (Unauthorised, "the application is disabled"),
    "AADSTS90033": (Unreachable, "Entra ID has trouble: try again later"),
    "AADSTS90025": (Unreachable, "Entra ID is busy: try again later"),
    "AADSTS50196": (Unreachable, "Entra ID takes this for a loop: try again later"),
    "AADSTS53003": (Unauthorised, "a conditional access policy refuses this"),
}
_ENTRA_CODE = re.compile(r"AADSTS\d+")

_HINTS = {
    "default": "nothing on this machine gives an identity: name one with AZURE_CREDENTIAL",
    "managed-identity": "assign an identity to this machine; AZURE_CLIENT_ID names a "
    "user-assigned one",
    "workload-identity": "check the pod's service account and its federated credential",
    "client-secret": "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    "certificate": "check AZURE_CLIENT_CERTIFICATE_PATH and AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "cli": "run `az login`",
    "token": "check AZURE_ACCESS_TOKEN",
}
# How azure-identity says that what it asks was not there to answer.
_NO_ANSWER = ("no response from", "timed out", "timeout", "unreachable")
_NOT_INSTALLED = ("not found on path", "is not installed")
# Said behind "no response", although there was one: no such identity on this machine.
_METADATA_REFUSAL = "token request error: (invalid_request)"
_NO_TENANT_DOCUMENT = "unable to get authority configuration"


def identity_error(error: Exception, kind: str, where: str = "") -> DependencyError:
    """The collector's error for one of azure-identity.

    Args:
        error: what was raised.
        kind: AZURE_CREDENTIAL.
        where: who was asked.
    """
    text = _first_line(error)
    code = _ENTRA_CODE.search(str(error))
    if code and code[0] in _ENTRA_CODES:
        found, hint = _ENTRA_CODES[code[0]]
        return found(WHAT, text, hint)
    status = _status(error)
    if status is not None and (status == THROTTLED or status >= FIRST_SERVER_ERROR):
        return Unreachable(WHAT, f"{where} answered {status}", "try again later")
    lower = str(error).lower()
    no_answer = any(words in lower for words in _NO_ANSWER)
    if kind == "default":
        # The chain tells of every step; one that did not answer may do so the next time.
        return (Unreachable if no_answer else Unauthorised)(WHAT, text, _HINTS[kind])
    if any(word in lower for word in _LATER):
        return Unreachable(WHAT, text, "try again later")
    if _METADATA_REFUSAL in lower:
        return Unauthorised(WHAT, text, _HINTS[kind])
    if _is_network(error):
        fault = network_fault(error, where or "Microsoft Entra ID")
        return Unreachable(WHAT, fault[0] if fault else text, _not_reached_hint(kind))
    if no_answer:
        return Unreachable(WHAT, text, _not_reached_hint(kind))
    if any(words in lower for words in _NOT_INSTALLED):
        return NotThere(WHAT, text, "install it, or name another AZURE_CREDENTIAL")
    if _NO_TENANT_DOCUMENT in lower:
        return NotThere(WHAT, text, "check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST")
    return Unauthorised(WHAT, text, _HINTS[kind])


def _not_reached_hint(kind: str) -> str:
    if kind == "managed-identity":
        return "this machine has no metadata service: is it in Azure, with an identity assigned?"
    return "check the network, a proxy, and AZURE_AUTHORITY_HOST if it is set"


def _status(error: Exception) -> int | None:
    """Status of the answer that was no use, if there was one."""
    for cause in causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        if found := _STATUS_IN_TEXT.search(str(cause)):
            return int(found[1])
    return None


def _first_line(error: Exception) -> str:
    # Secrets are registered with the logs, which know how to mask them.
    lines = [line.strip() for line in masked(str(error)).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= PROBLEM_CHARS else text[:PROBLEM_CHARS] + "..."


def _is_network(error: Exception) -> bool:
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    return any(
        isinstance(cause, ServiceRequestError | ServiceResponseError | ConnectionError)
        for cause in causes(error)
    )

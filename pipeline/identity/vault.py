"""Reads secrets from Azure Key Vault, each failure told apart.

azure-core's own retries are off: they sleep as long as a Retry-After says. The loop here is short
and bounded, because it runs before anything else starts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.identity import credential
from pipeline.logs import add_secret, masked
from pipeline.network_errors import causes, network_fault

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient

    from pipeline.config import Config

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
# Tries of one secret while the vault gives no usable answer, and the wait before the next.
TRIES = 3
RETRY_DELAYS_S = (0.5, 2.0)
# A longer Retry-After is not waited for.
LONGEST_WAIT_S = 5.0
# No try starts later than this after the first, over all secrets together.
TOTAL_S = 15.0
PROBLEM_CHARS = 300

# Asked for when nothing else is; no need for it to exist.
PROBE_NAME = "azure-collector-probe"

WHAT = "Key Vault"
ROLE = "Key Vault Secrets User"

THROTTLED = 429
FIRST_SERVER_ERROR = 500

# "Vault ... not enabled", firewall: codes inside a 403.
_FORBIDDEN_HINTS = {
    "ForbiddenByRbac": f"give the identity the role '{ROLE}' on the vault",
    "ForbiddenByPolicy": "give the identity the secret permission 'get' in the vault's policy",
    "ForbiddenByFirewall": "the vault's firewall refuses this network address",
    "ForbiddenByConnection": "the vault takes connections over its private endpoint only",
}
_DISABLED = re.compile(r"SecretDisabled|disabled secret", re.IGNORECASE)


def read_secrets(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Read the newest version of each secret from AZURE_KEYVAULT_URL.

    Args:
        config: vault, identity and cloud.
        names: names of secrets.

    Returns:
        Their values by name.

    Raises:
        Unreachable: the vault's name is unknown, or it gave no usable answer.
        Unauthorised: it refuses the identity, the identity lacks a right, or a secret is disabled.
        NotThere: a secret does not exist; all such are named.
    """
    from azure.keyvault.secrets import SecretClient

    deadline_s = time.monotonic() + TOTAL_S
    found: dict[str, str] = {}
    refused: list[DependencyError] = []
    url = config.required("azure_keyvault_url")
    with (
        closing(credential(config)) as identity,
        SecretClient(
            url,
            identity,
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retry_total=0,
        ) as client,
    ):
        for name in names:
            try:
                found[name] = _read(client, name, deadline_s)
            except (NotThere, Unauthorised) as error:
                refused.append(error)
    if refused:
        raise _together(refused)
    return found


def probe(config: Config) -> None:
    """Ask the vault for a secret that need not exist: enough to know that it answers and lets us.

    Raises:
        Unreachable, Unauthorised: as :func:`read_secrets`.
    """
    try:
        read_secrets(config, [PROBE_NAME])
    except NotThere as error:
        if not isinstance(error, NoSuchSecret):
            raise


class NoSuchSecret(NotThere):
    """The vault answered, and has no secret of this name."""


def _together(errors: list[DependencyError]) -> DependencyError:
    """One error for all; its type is the first one's."""
    problems = list(dict.fromkeys(error.problem for error in errors))
    return type(errors[0])(WHAT, "; ".join(problems), errors[0].hint)


def _read(client: SecretClient, name: str, deadline_s: float) -> str:
    from azure.core.exceptions import AzureError

    for attempt in range(TRIES):
        try:
            secret = client.get_secret(name)
        except (AzureError, ValueError, Unreachable) as error:
            problem = (
                error
                if isinstance(error, Unreachable)
                else vault_error(error, client.vault_url, name)
            )
            wait_s = _wait_s(error, attempt)
            if not problem.retryable or wait_s is None or time.monotonic() + wait_s > deadline_s:
                raise problem from error
            time.sleep(wait_s)
            continue
        if not secret.value:
            raise NotThere(WHAT, f"secret {name} is empty", "give it a value")
        add_secret(secret.value)
        return secret.value
    raise AssertionError("the last try raises")


def _wait_s(error: Exception, attempt: int) -> float | None:
    """Seconds before the next try, or None for none."""
    if attempt >= len(RETRY_DELAYS_S):
        return None
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        wait_s = float(headers.get("Retry-After", RETRY_DELAYS_S[attempt]))
    except ValueError:
        wait_s = RETRY_DELAYS_S[attempt]
    return wait_s if 0 <= wait_s <= LONGEST_WAIT_S else None


def vault_error(error: Exception, url: str, name: str) -> DependencyError:
    """The collector's error for one of the SecretClient.

    Args:
        error: what was raised.
        url: the vault.
        name: the secret that was asked for.
    """
    own = next((cause for cause in causes(error) if isinstance(cause, DependencyError)), None)
    if own is not None:
        return own
    host = urlsplit(url).netloc
    status = getattr(error, "status_code", None)
    said = _said(error)
    if status is None:
        return _no_answer(error, host, said)
    if status == THROTTLED or status >= FIRST_SERVER_ERROR:
        return Unreachable(WHAT, f"{host} answered {status} for secret {name}", "try again later")
    if status == 404:
        return NoSuchSecret(
            WHAT, f"{host} has no secret {name}", "check its name; a deleted one can be recovered"
        )
    if status == 401:
        return Unauthorised(
            WHAT,
            f"{host} refused the identity for secret {name}: {said}",
            "check that AZURE_TENANT_ID is the vault's tenant",
        )
    if status == 403 and _DISABLED.search(_raw(error)):
        return Unauthorised(
            WHAT, f"secret {name} of {host} is disabled", "enable it or name another one"
        )
    if status == 403:
        raw = _raw(error)
        hint = next((text for code, text in _FORBIDDEN_HINTS.items() if code in raw), None)
        return Unauthorised(
            WHAT,
            f"{host} answered 403 for secret {name}: {said}",
            hint or f"give the identity the role '{ROLE}' on the vault",
        )
    return NotThere(
        WHAT,
        f"{host} answered {status} for secret {name}: {said}",
        "check AZURE_KEYVAULT_URL and the secret's name",
    )


def _no_answer(error: Exception, host: str, said: str) -> DependencyError:
    fault = network_fault(error, host)
    if fault is not None:
        return Unreachable(WHAT, fault[0], f"AZURE_KEYVAULT_URL: {fault[1]}")
    return NotThere(WHAT, f"{host} does not answer as a vault: {said}", "check AZURE_KEYVAULT_URL")


def _raw(error: Exception) -> str:
    model = getattr(error, "model", None)
    response = getattr(error, "response", None)
    text = response.text() if response is not None and hasattr(response, "text") else ""
    return f"{error} {model or ''} {text}"


def _said(error: Exception) -> str:
    lines = [line.strip() for line in masked(str(error)).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:PROBLEM_CHARS]

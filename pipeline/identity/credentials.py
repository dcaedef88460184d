"""Who the collector is to Azure: the credential of AZURE_CREDENTIAL, for the cloud it is in.

Nothing here retries: azure-core would sleep as long as a Retry-After says. Whoever asks decides by
the error's type whether and when to ask again.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from pipeline.errors import DependencyError, Unauthorised
from pipeline.identity.clouds import CLOUDS, authority, scope
from pipeline.identity.errors import WHAT, identity_error
from pipeline.messages import ARM, MICROSOFT_GRAPH

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

    from pipeline.config import Config

# Time to connect to Entra ID or the metadata service, and longest silence of an answer.
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 10
# `az`, `azd` and PowerShell start slowly.
PROCESS_TIMEOUT_S = 10
# What is assumed of a token that does not say when it ends.
OPAQUE_TOKEN_LIFE_S = 86_400

# azure-identity logs every failure besides raising it; ours are reported once, by who asked.
logging.getLogger("azure.identity").addHandler(logging.NullHandler())


class _Inner(Protocol):
    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken: ...


class Identity:
    """A TokenCredential whose errors are the collector's own.

    One call asks at a time: azure-identity would let every thread with a cold cache ask, and the
    metadata service answers five at once. Calls are bounded by the time-outs above.

    Args:
        inner: the credential of azure-identity, or :class:`_StaticToken`.
        kind: AZURE_CREDENTIAL, for the hint.
        where: who is asked, for error messages.
    """

    def __init__(self, inner: _Inner, kind: str, where: str) -> None:
        self._inner = inner
        self._kind = kind
        self._where = where
        self._lock = threading.Lock()

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """Get a token, from the cache while that one is good.

        Raises:
            Unreachable: Entra ID, the metadata service or the tool gave no usable answer.
            Unauthorised: it refused who we are, or has no identity for us.
            NotThere: the tenant, the application or the tool does not exist.
        """
        from azure.core.exceptions import AzureError

        if claims:
            kwargs["claims"] = claims
        if tenant_id:
            kwargs["tenant_id"] = tenant_id
        try:
            with self._lock:
                return self._inner.get_token(*scopes, enable_cae=enable_cae, **kwargs)
        except DependencyError:
            raise
        except (AzureError, ValueError, OSError) as error:
            raise identity_error(error, self._kind, self._where) from error

    def close(self) -> None:
        """Close its connections."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


def credential(config: Config) -> Identity:
    """The credential that AZURE_CREDENTIAL names.

    Raises:
        Unauthorised: what it is made of, e.g. the certificate, cannot be used.
    """
    kind = config.azure_credential
    where = urlsplit(authority(config)).netloc
    if kind == "managed-identity":
        where = "the metadata service"
    try:
        return Identity(_BUILDERS[kind](config), kind, where)
    except (ValueError, OSError) as error:
        # A wrong certificate password, or a file that is no certificate.
        raise identity_error(error, kind) from error


# ── kinds of credential ──────────────────────────────────────────────────────────────────────────


class _StaticToken:
    """The tokens of AZURE_ACCESS_TOKEN and AZURE_GRAPH_ACCESS_TOKEN: each for its own API only."""

    def __init__(self, config: Config) -> None:
        # By scope: the setting, and what it holds.
        self._tokens: dict[str, tuple[str, str | None]] = {
            scope(config, ARM): ("AZURE_ACCESS_TOKEN", config.required("azure_access_token")),
            scope(config, MICROSOFT_GRAPH): (
                "AZURE_GRAPH_ACCESS_TOKEN",
                config.azure_graph_access_token,
            ),
        }

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        wanted = " ".join(scopes)
        if wanted not in self._tokens:
            raise Unauthorised(
                WHAT,
                f"a token of AZURE_ACCESS_TOKEN is not for {wanted}",
                "name another AZURE_CREDENTIAL",
            )
        setting, token = self._tokens[wanted]
        if token is None:
            raise Unauthorised(
                WHAT,
                f"AZURE_CREDENTIAL is token, and there is none for {wanted}",
                f"set {setting}, or name another AZURE_CREDENTIAL",
            )
        now_s = int(time.time())
        expires_at_s = _expiry(token) or now_s + OPAQUE_TOKEN_LIFE_S
        if expires_at_s <= now_s:
            raise Unauthorised(
                WHAT, f"{setting} ended {now_s - expires_at_s} s ago", "get a new one"
            )
        return AccessToken(token, expires_at_s)


class _Claims(msgspec.Struct):
    exp: float | None = None


def _expiry(token: str) -> int | None:
    """When a JWT ends, seconds since 1970; None if the token does not say. Verifies nothing."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        exp = msgspec.json.decode(claims, type=_Claims).exp
        return int(exp) if exp else None
    except (binascii.Error, msgspec.DecodeError, UnicodeError, OverflowError, ValueError):
        return None


def _bounds() -> dict[str, Any]:
    return {
        "connection_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retry_total": 0,
    }


def _entra(config: Config) -> dict[str, Any]:
    host = authority(config)
    # Only Microsoft's own authorities are known to instance discovery, which asks Microsoft.
    known = {urlsplit(cloud.authority).hostname for cloud in CLOUDS.values()}
    custom = urlsplit(host).hostname not in known
    return {"authority": host, "disable_instance_discovery": custom, **_bounds()}


def _client_secret(config: Config) -> _Inner:
    from azure.identity import ClientSecretCredential

    return ClientSecretCredential(
        config.required("azure_tenant_id"),
        config.required("azure_client_id"),
        config.required("azure_client_secret"),
        **_entra(config),
    )


def _certificate(config: Config) -> _Inner:
    from azure.identity import CertificateCredential

    return CertificateCredential(
        config.required("azure_tenant_id"),
        config.required("azure_client_id"),
        config.required("azure_client_certificate_path"),
        password=config.azure_client_certificate_password,
        **_entra(config),
    )


def _workload_identity(config: Config) -> _Inner:
    from azure.identity import WorkloadIdentityCredential

    return WorkloadIdentityCredential(
        tenant_id=config.required("azure_tenant_id"),
        client_id=config.required("azure_client_id"),
        token_file_path=config.required("azure_federated_token_file"),
        **_entra(config),
    )


def _managed_identity(config: Config) -> _Inner:
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=config.azure_client_id, **_bounds())


def _cli(config: Config) -> _Inner:
    from azure.identity import AzureCliCredential

    return AzureCliCredential(
        tenant_id=config.azure_tenant_id or "", process_timeout=PROCESS_TIMEOUT_S
    )


def _default(config: Config) -> _Inner:
    # DefaultAzureCredential reads its first step from the process's environment only; settings may
    # have come from elsewhere.
    if config.azure_tenant_id and config.azure_client_id:
        if config.azure_client_secret:
            return _client_secret(config)
        if config.azure_client_certificate_path:
            return _certificate(config)
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(
        managed_identity_client_id=config.azure_client_id,
        workload_identity_client_id=config.azure_client_id,
        workload_identity_tenant_id=config.azure_tenant_id,
        process_timeout=PROCESS_TIMEOUT_S,
        **_entra(config),
    )


_BUILDERS: dict[str, Callable[[Config], _Inner]] = {
    "default": _default,
    "managed-identity": _managed_identity,
    "workload-identity": _workload_identity,
    "client-secret": _client_secret,
    "certificate": _certificate,
    "cli": _cli,
    "token": _StaticToken,
}

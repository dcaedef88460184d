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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from pipeline.errors import DependencyError, Unauthorised
from pipeline.identity.errors import WHAT, identity_error

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


@dataclass(frozen=True)
class Cloud:
    """Addresses of one Azure cloud.

    Attributes:
        arm: origin of Azure Resource Manager.
        audience: what a token for it is asked for.
        authority: Microsoft Entra ID.
        storage_suffix: ends the host names of storage accounts.
        vault_suffix: ends the host names of vaults.
    """

    arm: str
    audience: str
    authority: str
    storage_suffix: str
    vault_suffix: str


# learn.microsoft.com: "Azure Government endpoints", "Azure operated by 21Vianet endpoints"; the
# audiences are those of azure-mgmt-core.
CLOUDS = {
    "public": Cloud(
        arm="https://management.azure.com",
        audience="https://management.azure.com",
        authority="https://login.microsoftonline.com",
        storage_suffix="core.windows.net",
        vault_suffix="vault.azure.net",
    ),
    "usgov": Cloud(
        arm="https://management.usgovcloudapi.net",
        audience="https://management.core.usgovcloudapi.net",
        authority="https://login.microsoftonline.us",
        storage_suffix="core.usgovcloudapi.net",
        vault_suffix="vault.usgovcloudapi.net",
    ),
    "china": Cloud(
        arm="https://management.chinacloudapi.cn",
        audience="https://management.chinacloudapi.cn",
        authority="https://login.chinacloudapi.cn",
        storage_suffix="core.chinacloudapi.cn",
        vault_suffix="vault.azure.cn",
    ),
}


def arm_endpoint(config: Config) -> str:
    """Origin of Azure Resource Manager: scheme, host and port, without a slash at the end."""
    return config.azure_arm_endpoint or CLOUDS[config.azure_cloud].arm


def arm_scope(config: Config) -> str:
    """Scope of a token for Azure Resource Manager. A custom endpoint takes the cloud's tokens."""
    return CLOUDS[config.azure_cloud].audience + "/.default"


def authority(config: Config) -> str:
    """Microsoft Entra ID of this configuration."""
    return config.azure_authority_host or CLOUDS[config.azure_cloud].authority


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
    """The token of AZURE_ACCESS_TOKEN: for Azure Resource Manager and nothing else."""

    def __init__(self, config: Config) -> None:
        self._token = config.required("azure_access_token")
        self._scope = arm_scope(config)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        if scopes != (self._scope,):
            raise Unauthorised(
                WHAT,
                f"AZURE_ACCESS_TOKEN is for {self._scope}, not for {', '.join(scopes)}",
                "name another AZURE_CREDENTIAL",
            )
        now_s = int(time.time())
        expires_at_s = _expiry(self._token) or now_s + OPAQUE_TOKEN_LIFE_S
        if expires_at_s <= now_s:
            raise Unauthorised(
                WHAT, f"AZURE_ACCESS_TOKEN ended {now_s - expires_at_s} s ago", "get a new one"
            )
        return AccessToken(self._token, expires_at_s)


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

"""Addresses of the Azure clouds: where each API is, what its tokens are for, who issues them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.messages import ARM, MICROSOFT_GRAPH

if TYPE_CHECKING:
    from pipeline.config import Config


@dataclass(frozen=True)
class Api:
    """One API that takes Microsoft Entra ID's tokens.

    Attributes:
        origin: scheme and host.
        resource: what a token for it is asked for.
    """

    origin: str
    resource: str


@dataclass(frozen=True)
class Cloud:
    """Addresses of one Azure cloud.

    Attributes:
        apis: by audience, of :data:`pipeline.messages.AUDIENCES`.
        authority: Microsoft Entra ID.
        storage_suffix: ends the host names of storage accounts.
        vault_suffix: ends the host names of vaults.
    """

    apis: Mapping[str, Api]
    authority: str
    storage_suffix: str
    vault_suffix: str


# learn.microsoft.com: "Azure Government endpoints", "Azure operated by 21Vianet endpoints",
# "Microsoft Graph national cloud deployments" (US Government L4). ARM's resources are those of
# azure-mgmt-core.
CLOUDS = {
    "public": Cloud(
        apis={
            ARM: Api("https://management.azure.com", "https://management.azure.com"),
            MICROSOFT_GRAPH: Api("https://graph.microsoft.com", "https://graph.microsoft.com"),
        },
        authority="https://login.microsoftonline.com",
        storage_suffix="core.windows.net",
        vault_suffix="vault.azure.net",
    ),
    "usgov": Cloud(
        apis={
            ARM: Api(
                "https://management.usgovcloudapi.net",
                "https://management.core.usgovcloudapi.net",
            ),
            MICROSOFT_GRAPH: Api("https://graph.microsoft.us", "https://graph.microsoft.us"),
        },
        authority="https://login.microsoftonline.us",
        storage_suffix="core.usgovcloudapi.net",
        vault_suffix="vault.usgovcloudapi.net",
    ),
    "china": Cloud(
        apis={
            ARM: Api("https://management.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
            MICROSOFT_GRAPH: Api(
                "https://microsoftgraph.chinacloudapi.cn",
                "https://microsoftgraph.chinacloudapi.cn",
            ),
        },
        authority="https://login.chinacloudapi.cn",
        storage_suffix="core.chinacloudapi.cn",
        vault_suffix="vault.azure.cn",
    ),
}


def endpoint(config: Config, audience: str) -> str:
    """Origin of an API: scheme, host and port, without a slash at the end.

    Args:
        config: cloud, and custom endpoints.
        audience: of :data:`pipeline.messages.AUDIENCES`.
    """
    custom = {ARM: config.azure_arm_endpoint, MICROSOFT_GRAPH: config.azure_graph_endpoint}
    return custom[audience] or CLOUDS[config.azure_cloud].apis[audience].origin


def scope(config: Config, audience: str) -> str:
    """Scope of a token for an API. A custom endpoint takes the cloud's tokens.

    Args:
        config: the cloud.
        audience: of :data:`pipeline.messages.AUDIENCES`.
    """
    return CLOUDS[config.azure_cloud].apis[audience].resource + "/.default"


def authority(config: Config) -> str:
    """Microsoft Entra ID of this configuration."""
    return config.azure_authority_host or CLOUDS[config.azure_cloud].authority

"""Who the collector is to Azure: credentials for each cloud, and the secrets in Key Vault."""

from pipeline.identity.credentials import (
    Cloud,
    Identity,
    arm_endpoint,
    arm_scope,
    authority,
    credential,
)

__all__ = ["Cloud", "Identity", "arm_endpoint", "arm_scope", "authority", "credential"]

"""Who the collector is to Azure: credentials for each cloud, and the secrets in Key Vault."""

from pipeline.identity.clouds import Cloud, authority, endpoint, scope
from pipeline.identity.credentials import Identity, credential

__all__ = ["Cloud", "Identity", "authority", "credential", "endpoint", "scope"]

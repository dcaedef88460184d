"""What says who we are in a request to Azure Queue Storage: account key, SAS, or identity.

The Storage SDK reads the settings; here is only what its client has made of them.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import math
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pipeline.errors import DependencyError
from pipeline.logs import add_secret
from stages.fetch.storage_sdk import QueueClient

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

# https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory
SCOPE = "https://storage.azure.com/.default"
# A token is renewed so long before it ends, or when its credential asks for it.
REFRESH_AHEAD_S = 300.0
# A failed renewal is tried again after this, while the token that there is lasts.
REFRESH_PAUSE_S = 30.0
# Standard headers of a string to sign; our requests have none of them.
_NO_HEADERS = "\n" * 12
_CHALLENGE = re.compile(r'(\w+)="?([^\s",]+)')


class Authority(Protocol):
    """Puts who we are into requests."""

    async def ready(self) -> None:
        """Wait for what :meth:`header` needs.

        Raises:
            DependencyError: it cannot be had.
        """

    def header(
        self, method: str, path: str, query: Sequence[tuple[str, str]], x_ms: str
    ) -> str | None:
        """Value of ``Authorization``, or None where the URL says it.

        Args:
            method: of the request.
            path: of its URL, as sent.
            query: names and values, decoded, in the order of the names.
            x_ms: the ``x-ms-`` headers in order, ``name:value`` and a line feed each.
        """

    async def challenged(self, challenge: str) -> bool:
        """The service answered 401; whether it may be asked again.

        Args:
            challenge: its ``WWW-Authenticate``.

        Raises:
            DependencyError: what it wants cannot be had.
        """


class Sas:
    """A shared access signature stands in the URL."""

    async def ready(self) -> None:
        """Nothing is needed."""

    def header(
        self, method: str, path: str, query: Sequence[tuple[str, str]], x_ms: str
    ) -> str | None:
        """None."""
        return None

    async def challenged(self, challenge: str) -> bool:
        """There is nothing else to say."""
        return False


class SharedKey(Sas):
    """Signs with the account's key.

    https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key

    Args:
        account: its name.
        key: base64.
    """

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        self._keyed = hmac.new(base64.b64decode(key), digestmod="sha256")

    def header(
        self, method: str, path: str, query: Sequence[tuple[str, str]], x_ms: str
    ) -> str | None:
        """The signature."""
        arguments = "".join([f"\n{name}:{value}" for name, value in query])
        text = f"{method}{_NO_HEADERS}{x_ms}/{self._account}{path}{arguments}"
        signed = self._keyed.copy()
        signed.update(text.encode())
        return f"SharedKey {self._account}:{base64.b64encode(signed.digest()).decode()}"


class Bearer:
    """Tokens of an identity: kept, renewed ahead of their end, by one call at a time.

    Args:
        credential: gives tokens; it may block.
    """

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential
        self._lock = asyncio.Lock()
        self._value = ""
        self._expires_at_s = -math.inf
        self._renew_at_s = -math.inf

    async def ready(self) -> None:
        """Have a token that lasts."""
        if time.time() < self._renew_at_s:
            return
        async with self._lock:
            now_s = time.time()
            if now_s < self._renew_at_s:
                return
            try:
                await self._renew(SCOPE)
            except DependencyError:
                if now_s >= self._expires_at_s:
                    raise
                self._renew_at_s = now_s + REFRESH_PAUSE_S

    def header(
        self, method: str, path: str, query: Sequence[tuple[str, str]], x_ms: str
    ) -> str | None:
        """The token."""
        return self._value

    async def challenged(self, challenge: str) -> bool:
        """Ask once for a token of the tenant that the service names."""
        said = dict(_CHALLENGE.findall(challenge))
        tenant = urlsplit(said.get("authorization_uri", "")).path.strip("/").partition("/")[0]
        resource = said.get("resource_id")
        if not tenant or not resource:
            return False
        refused = self._value
        async with self._lock:
            if self._value == refused:  # or another call has got one meanwhile
                await self._renew(resource.rstrip("/") + "/.default", tenant)
        return True

    async def _renew(self, scope: str, tenant_id: str | None = None) -> None:
        token = await asyncio.to_thread(self._token, scope, tenant_id)
        add_secret(token.token)
        self._value = f"Bearer {token.token}"
        self._expires_at_s = token.expires_on
        ahead_s = min(REFRESH_AHEAD_S, (token.expires_on - time.time()) / 2)
        self._renew_at_s = getattr(token, "refresh_on", None) or token.expires_on - ahead_s

    def _token(self, scope: str, tenant_id: str | None) -> AccessToken:
        return self._credential.get_token(scope, tenant_id=tenant_id)


def authority_of(client: QueueClient) -> Authority:
    """Who we are to a queue, as the SDK's client of it was told."""
    credential = client.credential
    if hasattr(credential, "get_token"):
        return Bearer(credential)
    if (key := getattr(credential, "account_key", None)) is not None:
        return SharedKey(str(client.account_name), key)
    return Sas()

"""Who we are to the queue: signatures as the SDK's, and tokens that are renewed in time."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.queue import QueueClient

from pipeline.errors import Unreachable
from stages.fetch.queue_auth import SCOPE, Bearer, Sas, SharedKey, authority_of

KEY = base64.b64encode(b"k" * 64).decode()
X_MS = {
    "x-ms-client-request-id": "id-1",
    "x-ms-date": "Mon, 23 Nov 2026 10:11:12 GMT",
    "x-ms-version": "2025-01-05",
}


class Identity:
    """Gives tokens that last for so many seconds, one after the other."""

    def __init__(self, *lives_s: float) -> None:
        self.lives_s = list(lives_s)
        self.asked: list[tuple[str, str | None]] = []

    def get_token(self, scope: str, *, tenant_id: str | None = None, **_: Any) -> AccessToken:
        self.asked.append((scope, tenant_id))
        if not self.lives_s:
            raise Unreachable("identity", "no answer")
        return AccessToken(f"token-{len(self.asked)}", int(time.time() + self.lives_s.pop(0)))


def header(authority: Bearer) -> str | None:
    return authority.header("GET", "/q/messages", (), "")


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", (("numofmessages", "32"), ("visibilitytimeout", "300"))),
        ("DELETE", (("popreceipt", "AgAA+/=="),)),
        ("PUT", (("popreceipt", "AgAA+/=="), ("visibilitytimeout", "0"))),
    ],
)
@pytest.mark.parametrize(
    "url", ["https://acc.queue.core.windows.net", "http://127.0.0.1:10001/acc"]
)
def test_a_signature_is_the_one_that_the_sdk_makes(
    url: str, method: str, query: tuple[tuple[str, str], ...]
) -> None:
    with QueueClient(url, "work", credential={"account_name": "acc", "account_key": KEY}) as client:
        request = HttpRequest(method, f"{client.url}/messages/id-1", headers=dict(X_MS))
        request.format_parameters({name: value.replace("+", "%2B") for name, value in query})
        client.credential.on_request(PipelineRequest(request, PipelineContext(None)))
        authority = authority_of(client)
    path = client.url.partition("://")[2].partition("/")[2]
    x_ms = "".join(f"{name}:{value}\n" for name, value in X_MS.items())
    assert isinstance(authority, SharedKey)
    signed = authority.header(method, f"/{path}/messages/id-1", query, x_ms)
    assert signed == request.headers["Authorization"]


def test_what_stands_in_the_url_needs_no_header() -> None:
    with QueueClient("https://acc.queue.core.windows.net", "work", credential="sv=1&sig=x") as one:
        authority = authority_of(one)
    assert type(authority) is Sas
    assert authority.header("GET", "/q", (), "") is None


def test_a_token_is_got_once_by_many_calls_and_again_before_it_ends() -> None:
    identity = Identity(100.0, 3600.0)

    async def test() -> None:
        bearer = Bearer(identity)
        await asyncio.gather(*(bearer.ready() for _ in range(10)))
        assert header(bearer) == "Bearer token-1"
        bearer._renew_at_s = time.time() - 1  # half of its life is over
        await asyncio.gather(*(bearer.ready() for _ in range(10)))
        assert header(bearer) == "Bearer token-2"

    asyncio.run(test())
    assert identity.asked == [(SCOPE, None)] * 2


def test_a_token_that_cannot_be_renewed_serves_until_it_ends() -> None:
    identity = Identity(3600.0)

    async def test() -> None:
        bearer = Bearer(identity)
        await bearer.ready()
        bearer._renew_at_s = 0.0
        await bearer.ready()
        await bearer.ready()  # and is not asked for each time
        assert header(bearer) == "Bearer token-1"
        assert len(identity.asked) == 2
        bearer._renew_at_s = bearer._expires_at_s = 0.0
        with pytest.raises(Unreachable):
            await bearer.ready()

    asyncio.run(test())


def test_a_challenge_that_names_nothing_is_not_answered() -> None:
    identity = Identity(3600.0)

    async def test() -> None:
        bearer = Bearer(identity)
        await bearer.ready()
        for challenge in ("", "Bearer", "Bearer resource_id=https://x", 'Basic realm="x"'):
            assert not await bearer.challenged(challenge)

    asyncio.run(test())
    assert len(identity.asked) == 1

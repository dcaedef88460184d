"""Tokens for Microsoft Graph: real azure-identity, Entra ID's stand-in, and who takes the token."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from pipeline.config import load
from pipeline.messages import ARM, MICROSOFT_GRAPH, NoToken, Token, TokenWanted
from stages.fetch import tokens
from tests.standins.arm import Arm
from tests.standins.entra import Entra
from tests.standins.msgraph import AUDIENCE, MicrosoftGraph
from tests.unit.fetch.token_desk import WORKERS, desk, run

pytest_plugins = ["tests.standins.plugin"]

FIRST_GRAPH = TokenWanted(0, MICROSOFT_GRAPH)


def get(url: str, token: str, bundle: Path) -> tuple[int, Any]:
    """Status and body of one GET."""
    assert url.startswith("https://127.0.0.1:")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(bundle))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_one_token_of_each_audience_serves_every_worker(
    entra: Entra, application: dict[str, str]
) -> None:
    async def test() -> None:
        async with desk(load(overrides=application, environ={}, needs=("arm",))) as at_work:
            assert entra.counts["token"] == 1
            for worker in WORKERS * 16:
                await at_work.tokens.wanted(worker, FIRST_GRAPH)
            token = await at_work.token()
            assert entra.issued[token.value].audience == AUDIENCE
            assert await at_work.quiet()
            assert entra.counts["token"] == 2

    run(test)


def test_a_token_of_no_use_is_replaced_by_another_not_by_the_one_in_the_cache(
    entra: Entra, application: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "RETRY_S", 0.05)

    async def test() -> None:
        async with desk(load(overrides=application, environ={}, needs=("arm",))) as at_work:
            await at_work.tokens.wanted("execute-0", FIRST_GRAPH)
            first = await at_work.token()
            wanted = TokenWanted(first.serial, MICROSOFT_GRAPH)
            await at_work.tokens.wanted("execute-0", wanted)
            second = await at_work.token()
            assert second.value != first.value
            entra.secret = "another, which the collector does not have"
            await at_work.tokens.wanted("execute-1", TokenWanted(second.serial, MICROSOFT_GRAPH))
            for news in await at_work.news():
                assert isinstance(news, NoToken)
                assert (news.forbidden, news.audience) == (True, MICROSOFT_GRAPH)
                assert "AADSTS7000215" in news.problem
            await at_work.tokens.wanted("execute-0", TokenWanted(0, ARM))
            assert isinstance(await at_work.next("execute-0"), Token)

    run(test)


def test_microsoft_graph_takes_its_own_tokens_only_and_pages(
    entra: Entra, arm: Arm, msgraph: MicrosoftGraph, trusted: Path
) -> None:
    of_arm = entra.issue("https://management.azure.com")
    of_graph = entra.issue(AUDIENCE)
    status, body = get(f"{msgraph.url}/v1.0/users", of_arm, trusted)
    assert (status, body["error"]["code"]) == (401, "InvalidAuthenticationToken")
    target = f"{arm.url}/subscriptions?api-version=2022-12-01"
    assert [get(target, token, trusted)[0] for token in (of_arm, of_graph)] == [200, 401]

    link: str | None = f"{msgraph.url}/v1.0/users?$select=id"
    pages = []
    while link is not None:
        status, body = get(link, of_graph, trusted)
        assert status == 200
        pages.append(body["value"])
        link = body.get("@odata.nextLink")
        assert link is None or "$select=id" in link
    assert [len(page) for page in pages] == [2, 1]
    assert [*pages[0], *pages[1]] == msgraph.collections["users"]
    assert msgraph.seen_tokens == [of_arm, of_graph, of_graph]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("v1.0/groups", 403, "Authorization_RequestDenied"),
        ("v1.0/users/absent", 404, "Request_ResourceNotFound"),
        ("v1.0/users?$skiptoken=x", 400, "Directory_ExpiredPageToken"),
        ("v1.0/planets", 400, "BadRequest"),
        ("v9.9/users", 400, "BadRequest"),
    ],
)
def test_microsoft_graph_refuses_in_its_own_form(
    path: str, status: int, code: str, entra: Entra, msgraph: MicrosoftGraph, trusted: Path
) -> None:
    msgraph.denied.add("groups")
    got, body = get(f"{msgraph.url}/{path}", entra.issue(AUDIENCE), trusted)
    assert (got, body["error"]["code"]) == (status, code)
    assert body["error"]["innerError"]["request-id"]

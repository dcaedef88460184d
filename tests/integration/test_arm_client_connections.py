"""How the ARM client reaches its endpoint: closed ports, TLS, proxies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trustme

from pipeline.https import first_hop
from stages.execute.client import ExchangeFailed
from stages.execute.origin import Origin
from tests.integration.arm_calls import TOKEN, Canned, client_of, collect
from tests.standins.connect_proxy import ConnectProxy


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that the client trusts, as a company's proxy has one."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return authority


# ── the connection ───────────────────────────────────────────────────────────────────────────────


def test_nobody_there_is_known_not_to_have_been_asked() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = client_of(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ExchangeFailed) as failed:
            client.exchange("GET", "/a", {}, None, TOKEN)
        client.close()
    assert (failed.value.code, failed.value.sent) == ("NewConnectionError", False)
    assert "Connection refused" in failed.value.problem


def test_tls_with_an_authority_that_is_trusted(trusted: trustme.CA, tmp_path: Path) -> None:
    with Canned(b'{"value":[]}', {}, trusted) as server:
        client = client_of(server.url)
        found = collect(client, Origin.parse(server.url), "/a", None, tmp_path)
        client.close()
        assert found.outcome.outcome == "complete"
        assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("name", ["stranger", "other-host"])
def test_tls_with_a_certificate_that_is_not_right_sends_nothing(
    trusted: trustme.CA, name: str
) -> None:
    # The certificate is for 127.0.0.1 and localhost, so 127.0.0.2 is another host.
    with Canned(b"{}", {}, trustme.CA() if name == "stranger" else trusted) as server:
        url = server.url if name == "stranger" else server.url.replace("127.0.0.1", "127.0.0.2")
        client = client_of(url)
        with pytest.raises(ExchangeFailed):
            client.exchange("GET", "/a", {}, None, TOKEN)
        client.close()
        assert server.seen == []


# ── proxies ──────────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_carries_the_connection_and_sees_no_token(
    trusted: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Canned(b'{"value":[]}', {}, trusted) as server, ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//user:secret%21@"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        client = client_of(server.url)
        found = collect(client, Origin.parse(server.url), "/a", None, tmp_path)
        client.close()
        assert found.outcome.outcome == "complete"
        assert len(server.seen) == 1
        (head,) = proxy.heads
    assert head.startswith(f"CONNECT {server.url.removeprefix('https://')} ")
    assert "Basic dXNlcjpzZWNyZXQh" in head
    assert TOKEN not in head


def test_no_proxy_excepts_a_host(
    trusted: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Canned(b'{"value":[]}', {}, trusted) as server, ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        client = client_of(server.url)
        found = collect(client, Origin.parse(server.url), "/a", None, tmp_path)
        client.close()
        assert found.outcome.outcome == "complete"
        assert proxy.heads == []


def test_what_is_reached_first_is_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert first_hop("https", "management.azure.com", 443) == ("proxy.example", 3128)
    assert first_hop("https", "localhost", 8443) == ("localhost", 8443)
    assert first_hop("http", "127.0.0.1", 80) == ("127.0.0.1", 80)

"""The real azure-identity against stand-ins of Entra ID and the metadata service."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from pipeline.config import Config, load
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.identity import credential, scope
from pipeline.messages import ARM, MICROSOFT_GRAPH
from tests.standins.entra import CLIENT, Entra, Imds
from tests.standins.http_server import Answer, Fault

pytest_plugins = ["tests.standins.plugin"]


def configured(settings: Mapping[str, str]) -> Config:
    return load(overrides=settings, environ={}, needs=("arm",))


def token(settings: Mapping[str, str]) -> str:
    return both_tokens(settings, (ARM,))[0]


def both_tokens(
    settings: Mapping[str, str], audiences: tuple[str, ...] = (ARM, MICROSOFT_GRAPH)
) -> list[str]:
    """Tokens of one identity, one for each audience."""
    config = configured(settings)
    with closing(credential(config)) as identity:
        return [identity.get_token(scope(config, audience)).token for audience in audiences]


def issued_for(issuer: Entra | Imds, tokens: list[str]) -> list[str]:
    """What the tokens were issued for."""
    return [issuer.issued[token].audience for token in tokens]


# Of the public cloud: Azure Resource Manager, Microsoft Graph.
AUDIENCES = ["https://management.azure.com", "https://graph.microsoft.com"]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_client_secret_gets_a_token_for_each_audience(
    entra: Entra, application: dict[str, str]
) -> None:
    assert issued_for(entra, both_tokens(application)) == AUDIENCES


def test_a_custom_authority_is_asked_itself_and_not_looked_up_at_microsoft(
    entra: Entra, application: dict[str, str]
) -> None:
    token(application)
    assert entra.counts["instance discovery"] == 0
    assert entra.counts["configuration"] == 1


@pytest.mark.parametrize(
    ("cloud", "audiences"),
    [
        ("usgov", ["https://management.core.usgovcloudapi.net", "https://graph.microsoft.us"]),
        (
            "china",
            ["https://management.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"],
        ),
    ],
)
def test_another_cloud_has_audiences_of_its_own(
    cloud: str, audiences: list[str], entra: Entra, application: dict[str, str]
) -> None:
    got = both_tokens({**application, "AZURE_CLOUD": cloud})
    assert issued_for(entra, got) == audiences


def test_a_custom_endpoint_gets_the_clouds_tokens(
    entra: Entra, application: dict[str, str]
) -> None:
    got = both_tokens({**application, "AZURE_GRAPH_ENDPOINT": "https://graph.local"})
    assert issued_for(entra, got) == AUDIENCES


def test_the_default_identity_takes_an_application_from_any_layer_of_settings(
    entra: Entra, application: dict[str, str]
) -> None:
    got = both_tokens({**application, "AZURE_CREDENTIAL": "default"})
    assert issued_for(entra, got) == AUDIENCES


def test_many_threads_with_a_cold_cache_make_one_request(
    entra: Entra, application: dict[str, str]
) -> None:
    config = configured(application)
    with closing(credential(config)) as identity, ThreadPoolExecutor(32) as pool:

        def get(audience: str) -> str:
            return identity.get_token(scope(config, audience)).token

        for n, audience in enumerate((ARM, MICROSOFT_GRAPH), start=1):
            got = set(pool.map(get, [audience] * 32))
            assert (len(got), entra.counts["token"]) == (1, n)


def test_a_certificate_gets_a_token(
    entra: Entra, application: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "application.pem"
    path.write_bytes(self_signed("correct horse"))
    settings = {
        **application,
        "AZURE_CREDENTIAL": "certificate",
        "AZURE_CLIENT_CERTIFICATE_PATH": str(path),
        "AZURE_CLIENT_CERTIFICATE_PASSWORD": "correct horse",
    }
    assert issued_for(entra, both_tokens(settings)) == AUDIENCES
    with pytest.raises(Unauthorised, match="AZURE_CLIENT_CERTIFICATE_PASSWORD") as caught:
        token({**settings, "AZURE_CLIENT_CERTIFICATE_PASSWORD": "wrong horse"})
    assert "wrong horse" not in str(caught.value)


def self_signed(password: str) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "collector")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def test_a_pod_exchanges_its_service_account_token(
    entra: Entra, application: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("service-account-token")
    settings = {
        **application,
        "AZURE_CREDENTIAL": "workload-identity",
        "AZURE_FEDERATED_TOKEN_FILE": str(path),
    }
    assert issued_for(entra, both_tokens(settings)) == AUDIENCES


def test_a_managed_identity_asks_the_metadata_service(imds: Imds) -> None:
    got = both_tokens({"AZURE_CREDENTIAL": "managed-identity"})
    assert issued_for(imds, got) == AUDIENCES
    assert imds.counts["token"] == 2


def test_the_command_line_tool_is_asked_for_each_audience(
    trusted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "az"
    answer = '{"accessToken": "%s", "expires_on": 4070908800, "expiresOn": "2098-12-31 00:00:00"}'
    tool.write_text(f"""#!/bin/sh
case "$*" in
  *{AUDIENCES[1]}*) echo '{answer % "of-graph"}' ;;
  *{AUDIENCES[0]}*) echo '{answer % "of-arm"}' ;;
esac
""")
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert both_tokens({"AZURE_CREDENTIAL": "cli"}) == ["of-arm", "of-graph"]


def test_a_user_assigned_identity_is_named_by_its_client_id(imds: Imds) -> None:
    settings = {"AZURE_CREDENTIAL": "managed-identity", "AZURE_CLIENT_ID": CLIENT}
    assert token(settings) in imds.issued
    with pytest.raises(Unauthorised, match="assign an identity"):
        token({**settings, "AZURE_CLIENT_ID": "unknown"})


# ── failures told apart ──────────────────────────────────────────────────────────────────────────


def test_a_wrong_secret_is_refused_and_not_shown(entra: Entra, application: dict[str, str]) -> None:
    with pytest.raises(Unauthorised, match=r"AADSTS7000215.*AZURE_CLIENT_SECRET") as caught:
        token({**application, "AZURE_CLIENT_SECRET": "wrong~secret"})
    assert "wrong~secret" not in str(caught.value)


def test_an_unknown_application_is_not_there(entra: Entra, application: dict[str, str]) -> None:
    with pytest.raises(NotThere, match="AZURE_CLIENT_ID"):
        token({**application, "AZURE_CLIENT_ID": "another"})


def test_an_unknown_tenant_is_not_there(entra: Entra, application: dict[str, str]) -> None:
    with pytest.raises(NotThere, match="AZURE_TENANT_ID"):
        token({**application, "AZURE_TENANT_ID": "another"})


def test_a_closed_port_is_unreachable(trusted: Path, application: dict[str, str]) -> None:
    host = f"https://127.0.0.1:{unused_port()}"
    with pytest.raises(Unreachable, match="refused the connection"):
        token({**application, "AZURE_AUTHORITY_HOST": host})


def test_an_unknown_host_is_unreachable(trusted: Path, application: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match=r"no host is called login\.invalid"):
        token({**application, "AZURE_AUTHORITY_HOST": "https://login.invalid"})


def test_an_untrusted_certificate_is_unreachable(
    entra: Entra, application: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Unreachable, match="not trusted"):
        token(application)


@pytest.mark.parametrize("path", ["openid-configuration", "token"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_authority_is_asked_once_whatever_its_retry_after(
    entra: Entra, application: dict[str, str], status: int, path: str
) -> None:
    busy = Answer(status, {"error": "temporarily_unavailable"}, {"Retry-After": "600"})
    entra.faults += [Fault(busy, path) for _ in range(2)]
    began_s = time.monotonic()
    with pytest.raises(Unreachable):
        token(application)
    assert time.monotonic() - began_s < 5
    assert entra.counts["failed"] == 1


def test_a_machine_without_metadata_service_is_unreachable(
    trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(Unreachable, match="metadata service"):
        token({"AZURE_CREDENTIAL": "managed-identity"})


def test_a_busy_metadata_service_is_unreachable(imds: Imds) -> None:
    imds.faults.append(Fault(Answer(503, {"error": "unavailable"}, {"Retry-After": "600"})))
    with pytest.raises(Unreachable):
        token({"AZURE_CREDENTIAL": "managed-identity"})


def test_a_machine_that_gives_no_identity_says_which_setting_names_one(
    trusted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(DependencyError, match="AZURE_CREDENTIAL"):
        token({"AZURE_CREDENTIAL": "default"})


def test_the_command_line_tool_that_is_missing_is_not_there(
    trusted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotThere, match="install it"):
        token({"AZURE_CREDENTIAL": "cli"})


# ── a token of one's own ─────────────────────────────────────────────────────────────────────────


def jwt(expires_at_s: float) -> str:
    parts = [{"alg": "none"}, {"exp": int(expires_at_s)}, {}]
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


OF_ARM = {"AZURE_CREDENTIAL": "token", "AZURE_ACCESS_TOKEN": "opaque-token"}


def test_a_static_token_is_given_for_arm_and_nothing_else() -> None:
    config = configured(OF_ARM)
    assert both_tokens(OF_ARM, (ARM,)) == ["opaque-token"]
    with pytest.raises(Unauthorised, match=r"not for https://storage\.azure\.com"):
        credential(config).get_token("https://storage.azure.com/.default")
    with pytest.raises(Unauthorised, match="not for"):
        credential(config).get_token(scope(config, ARM), scope(config, MICROSOFT_GRAPH))


def test_each_audience_has_a_static_token_of_its_own() -> None:
    settings = {**OF_ARM, "AZURE_GRAPH_ACCESS_TOKEN": "for-graph"}
    assert both_tokens(settings) == ["opaque-token", "for-graph"]


def test_without_a_static_token_for_microsoft_graph_its_setting_is_named() -> None:
    with pytest.raises(Unauthorised, match="set AZURE_GRAPH_ACCESS_TOKEN") as caught:
        both_tokens(OF_ARM, (MICROSOFT_GRAPH,))
    assert "https://graph.microsoft.com" in str(caught.value)
    assert "opaque-token" not in str(caught.value)


def test_a_static_token_ends_when_it_says() -> None:
    ends_s = int(time.time()) + 600
    config = configured({**OF_ARM, "AZURE_GRAPH_ACCESS_TOKEN": jwt(ends_s)})
    assert credential(config).get_token(scope(config, MICROSOFT_GRAPH)).expires_on == ends_s
    assert credential(config).get_token(scope(config, ARM)).expires_on > ends_s


@pytest.mark.parametrize(
    ("setting", "audience"),
    [("AZURE_ACCESS_TOKEN", ARM), ("AZURE_GRAPH_ACCESS_TOKEN", MICROSOFT_GRAPH)],
)
def test_a_static_token_that_ended_is_refused_here(setting: str, audience: str) -> None:
    with pytest.raises(Unauthorised, match=f"{setting} ended"):
        both_tokens({**OF_ARM, setting: jwt(1_000_000)}, (audience,))

"""Fixtures: an authority of our own that the real clients trust, and the stand-ins behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.standins.arm import Arm
from tests.standins.entra import CLIENT, TENANT, Entra, Imds
from tests.standins.keyvault import KeyVault
from tests.standins.msgraph import MicrosoftGraph

# What azure-identity would read from the machine the tests run on.
AZURE_VARIABLES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "https_proxy",
    "http_proxy",
)


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real clients trust the stand-ins, as they trust a company's proxy."""
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return bundle


@pytest.fixture
def entra(ca: trustme.CA, trusted: Path) -> Iterator[Entra]:
    with Entra(ca) as server:
        yield server


@pytest.fixture
def imds(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imds]:
    with Imds() as server:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url)
        yield server


@pytest.fixture
def vault(ca: trustme.CA, entra: Entra) -> Iterator[KeyVault]:
    with KeyVault(ca, entra) as server:
        yield server


@pytest.fixture
def arm(ca: trustme.CA, entra: Entra) -> Iterator[Arm]:
    with Arm(ca, entra) as server:
        yield server


@pytest.fixture
def msgraph(ca: trustme.CA, entra: Entra) -> Iterator[MicrosoftGraph]:
    with MicrosoftGraph(ca, entra) as server:
        yield server


@pytest.fixture
def application(entra: Entra) -> dict[str, str]:
    """Settings of the application that the tenant knows."""
    return {
        "AZURE_CREDENTIAL": "client-secret",
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_CLIENT_SECRET": entra.secret,
        "AZURE_AUTHORITY_HOST": entra.url,
    }

"""Addresses of the clouds, and what errors of azure-identity mean."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from pipeline.config import load
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.identity import authority, endpoint, scope
from pipeline.identity.errors import identity_error
from pipeline.messages import ARM, MICROSOFT_GRAPH


@pytest.mark.parametrize(
    ("cloud", "arm", "arm_scope", "graph", "login"),
    [
        (
            "public",
            "https://management.azure.com",
            "https://management.azure.com/.default",
            "https://graph.microsoft.com",
            "https://login.microsoftonline.com",
        ),
        (
            "usgov",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
            "https://graph.microsoft.us",
            "https://login.microsoftonline.us",
        ),
        (
            "china",
            "https://management.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
            "https://microsoftgraph.chinacloudapi.cn",
            "https://login.chinacloudapi.cn",
        ),
    ],
)
def test_each_cloud_has_its_own_addresses(
    cloud: str, arm: str, arm_scope: str, graph: str, login: str
) -> None:
    config = load(environ={"AZURE_CLOUD": cloud}, needs=())
    assert (endpoint(config, ARM), scope(config, ARM)) == (arm, arm_scope)
    assert endpoint(config, MICROSOFT_GRAPH) == graph
    assert scope(config, MICROSOFT_GRAPH) == f"{graph}/.default"
    assert authority(config) == login


def test_a_custom_endpoint_takes_the_clouds_tokens() -> None:
    custom = {
        "AZURE_ARM_ENDPOINT": "https://arm.local:8443/",
        "AZURE_GRAPH_ENDPOINT": "https://graph.local:8444/",
    }
    config = load(environ=custom, needs=())
    assert endpoint(config, ARM) == "https://arm.local:8443"
    assert scope(config, ARM) == "https://management.azure.com/.default"
    assert endpoint(config, MICROSOFT_GRAPH) == "https://graph.local:8444"
    assert scope(config, MICROSOFT_GRAPH) == "https://graph.microsoft.com/.default"


def test_a_custom_authority_replaces_the_clouds() -> None:
    config = load(environ={"AZURE_AUTHORITY_HOST": "login.local"}, needs=())
    assert authority(config) == "https://login.local"


@pytest.mark.parametrize(
    ("text", "kind", "error", "hint"),
    [
        ("AADSTS90002: Tenant 'x' not found.", "client-secret", NotThere, "AZURE_TENANT_ID"),
        ("AADSTS700016: Application 'x'", "client-secret", NotThere, "AZURE_CLIENT_ID"),
        ("AADSTS7000215: Invalid secret", "client-secret", Unauthorised, "not its id"),
        ("AADSTS7000222: expired", "client-secret", Unauthorised, "expired"),
        ("AADSTS90033: transient", "client-secret", Unreachable, "later"),
        ("AADSTS999999: new", "client-secret", Unauthorised, "AZURE_CLIENT_SECRET"),
        ("Authentication failed: HTTP Error: 503", "certificate", Unreachable, "later"),
        ("Please run 'az login' to set up an account", "cli", Unauthorised, "az login"),
        ("Azure CLI not found on path", "cli", NotThere, "install it"),
        ("no response from the IMDS endpoint", "managed-identity", Unreachable, "metadata"),
        ("no response from the IMDS endpoint", "default", Unreachable, "AZURE_CREDENTIAL"),
        ("failed to retrieve a token", "default", Unauthorised, "AZURE_CREDENTIAL"),
    ],
)
def test_errors_are_told_apart(
    text: str, kind: str, error: type[DependencyError], hint: str
) -> None:
    found = identity_error(ClientAuthenticationError(text), kind, "login.example")
    assert type(found) is error
    assert hint in found.hint


def test_an_error_says_where_in_one_line_and_survives_pickling() -> None:
    cause = ServiceRequestError("x", error=ConnectionRefusedError(111, "Connection refused"))
    found = identity_error(cause, "client-secret", "login.example")
    assert type(found) is Unreachable
    assert found.problem == "login.example refused the connection"
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), str(again)) == (type(found), str(found))


def test_a_long_description_is_cut_to_its_first_line() -> None:
    text = "AADSTS7000215: " + "x" * 1000 + "\nTrace ID: 1"
    found = identity_error(ClientAuthenticationError(text), "client-secret")
    assert "Trace ID" not in found.problem
    assert len(found.problem) < 350


def test_the_settings_are_read_without_azures_libraries() -> None:
    code = (
        "import sys; from pipeline.config import load; import pipeline.identity; "
        "load('local', environ={}, needs=()); "
        "print([m for m in sys.modules if m.startswith(('azure.', 'msal', 'snowflake.'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"

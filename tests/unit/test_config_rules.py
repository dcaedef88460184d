"""What has to be given and what contradicts what: every problem is named, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.rules import PARTS
from tests import secrets_seen
from tests.unit.config_read import CONNECTION, KEY, problem, problems, read

ACCOUNT_URL = "https://acc.queue.core.windows.net"
QUEUE = {"AZURE_QUEUE_NAME": "requests", "AZURE_QUEUE_CONNECTION_STRING": CONNECTION}
SNOWFLAKE = {
    "SNOWFLAKE_ACCOUNT": "ORG-ACCOUNT",
    "SNOWFLAKE_USER": "COLLECTOR",
    "SNOWFLAKE_DATABASE": "DB",
    "SNOWFLAKE_SCHEMA": "PUBLIC",
    "SNOWFLAKE_PASSWORD": "hunter2-hunter2",
}
APPLICATION = {
    "AZURE_TENANT_ID": "tenant",
    "AZURE_CLIENT_ID": "client",
    "AZURE_CLIENT_SECRET": "app-secret-value",
}


# ── all of them ─────────────────────────────────────────────────────────────────────────────────


def test_all_problems_are_named_at_once() -> None:
    environ = {**QUEUE, **SNOWFLAKE, "BATCH_SIZE": "x", "OPS_PORT": "y", "AZURE_CLOUD": "z"}
    del environ["SNOWFLAKE_DATABASE"], environ["AZURE_QUEUE_NAME"]
    names = [said.partition(":")[0] for said in problems(environ, PARTS)]
    assert sorted(names) == [
        "AZURE_CLOUD",
        "AZURE_QUEUE_NAME",
        "BATCH_SIZE",
        "OPS_PORT",
        "SNOWFLAKE_DATABASE",
    ]


def test_a_wrong_value_is_not_also_called_missing() -> None:
    assert "got 'AB'" in problem({**QUEUE, "AZURE_QUEUE_NAME": "AB"}, ("queue",))


def test_only_what_is_needed_is_required() -> None:
    assert read({}).azure_queue_name == ()
    assert read(QUEUE, ("queue", "arm")).azure_queue_name == ("requests",)
    assert read(SNOWFLAKE, ("snowflake",)).snowflake_schema == "PUBLIC"


# ── queue ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 57, "-ab", "ab-", "a--b", "Ab", "a_b", "a.b", "a,,b", "a,a", "requests,"],
)
def test_a_name_that_azure_does_not_take_is_refused(name: str) -> None:
    assert problem({"AZURE_QUEUE_NAME": name}).startswith("AZURE_QUEUE_NAME: got")


@pytest.mark.parametrize("name", ["abc", "0-9", "a" * 56, "a-b-c"])
def test_a_name_that_azure_takes(name: str) -> None:
    assert read({"AZURE_QUEUE_NAME": name}).azure_queue_name == (name,)


def test_a_queue_is_not_the_poison_queue_of_another() -> None:
    assert "poison queue" in problem({"AZURE_QUEUE_NAME": "requests,requests-poison"})


def test_a_queue_needs_a_name_and_an_account() -> None:
    names = [said.partition(":")[0] for said in problems({}, ("queue",))]
    assert names == ["AZURE_QUEUE_NAME", "AZURE_QUEUE_CONNECTION_STRING"]


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "AccountName=a",
        "AccountName=a;AccountKey=not base64!",
        "AccountKey=a2V5",
        "AccountName=a;AccountKey=a2V5;QueueEndpoint=ftp://x",
        ";;",
    ],
)
def test_a_connection_string_that_is_none(text: str) -> None:
    said = problem({"AZURE_QUEUE_CONNECTION_STRING": text})
    assert said.startswith("AZURE_QUEUE_CONNECTION_STRING: got *** (environment); takes ")


@pytest.mark.parametrize(
    "text",
    [
        CONNECTION,
        f"{CONNECTION};EndpointSuffix=core.usgovcloudapi.net;",
        f"AccountName=s;AccountKey={KEY};QueueEndpoint=http://127.0.0.1:10001/s;",
        "QueueEndpoint=https://a.queue.core.windows.net;SharedAccessSignature=sv=1&sig=x",
        "UseDevelopmentStorage=true",
    ],
)
def test_connection_strings_as_azure_writes_them(text: str) -> None:
    assert read({"AZURE_QUEUE_CONNECTION_STRING": text}).azure_queue_connection_string == text


def test_two_accounts_contradict_each_other() -> None:
    said = problem({**QUEUE, "AZURE_QUEUE_ACCOUNT_URL": "https://other.queue.core.windows.net"})
    assert said.startswith("AZURE_QUEUE_ACCOUNT_URL")
    assert "AZURE_QUEUE_CONNECTION_STRING" in said


def test_two_ways_to_one_account_do_not() -> None:
    assert read({**QUEUE, "AZURE_QUEUE_ACCOUNT_URL": ACCOUNT_URL + "/"})


@pytest.mark.parametrize(
    "url", ["acc", "http://acc.queue.core.windows.net", f"{ACCOUNT_URL}?x=1", "https://", "https:x"]
)
def test_an_account_url_that_would_send_tokens_elsewhere(url: str) -> None:
    assert "takes an https:// address" in problem({"AZURE_QUEUE_ACCOUNT_URL": url})


# ── ARM and identity ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://management.azure.com",
        "http://127.0.0.1.attacker.example",
        "http://localhost.attacker.example",
        "https://user@management.azure.com",
        "https://management.azure.com@attacker.example",
        "https://management.azure.com?x=1",
        "https://management.azure.com#x",
        "https://management.azure.com/path",
        "https://management.azure.com\\@attacker.example",
        "https://management.azure.com:99999",
        "https://management.azure.com:0",
        "https://a b",
        "ftp://management.azure.com",
        "management.azure.com",
        "//management.azure.com",
    ],
)
@pytest.mark.parametrize("name", ["AZURE_ARM_ENDPOINT", "AZURE_GRAPH_ENDPOINT"])
def test_an_endpoint_that_a_token_must_not_go_to(name: str, url: str) -> None:
    assert problems({name: url})[0].startswith(f"{name}: got ")


@pytest.mark.parametrize(
    "url",
    [
        "https://management.azure.com",
        "https://management.azure.com/",
        "https://arm.local:8443",
        "http://127.0.0.1:8080",
        "http://127.9.9.9:1",
        "http://localhost:8080",
        "http://[::1]:8080",
    ],
)
def test_an_arm_endpoint_over_tls_or_on_this_machine(url: str) -> None:
    assert read({"AZURE_ARM_ENDPOINT": url}).azure_arm_endpoint == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.microsoft.com",
        "https://dod-graph.microsoft.us/",
        "https://management.azure.com:8443",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
    ],
)
def test_a_graph_endpoint_over_tls_or_on_this_machine(url: str) -> None:
    assert read({"AZURE_GRAPH_ENDPOINT": url}).azure_graph_endpoint == url.rstrip("/")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"AZURE_GRAPH_ENDPOINT": "https://management.azure.com"}, "AZURE_GRAPH_ENDPOINT"),
        ({"AZURE_GRAPH_ENDPOINT": "https://MANAGEMENT.azure.com:443/"}, "AZURE_GRAPH_ENDPOINT"),
        (
            {
                "AZURE_CLOUD": "usgov",
                "AZURE_GRAPH_ENDPOINT": "https://management.usgovcloudapi.net",
            },
            "AZURE_GRAPH_ENDPOINT",
        ),
        (
            {
                "AZURE_ARM_ENDPOINT": "http://localhost:80",
                "AZURE_GRAPH_ENDPOINT": "http://LOCALHOST",
            },
            "AZURE_GRAPH_ENDPOINT",
        ),
        ({"AZURE_ARM_ENDPOINT": "https://graph.microsoft.com"}, "AZURE_ARM_ENDPOINT"),
    ],
)
def test_arm_and_graph_are_not_one_origin(given: dict[str, str], refused: str) -> None:
    said = problem(given)
    assert said.startswith(f"{refused}: got ")
    assert "takes another origin than AZURE_" in said
    assert "must not go to the other" in said


def test_arm_and_graph_may_be_two_ports_of_one_machine() -> None:
    given = {"AZURE_ARM_ENDPOINT": "http://[::1]:1", "AZURE_GRAPH_ENDPOINT": "http://[::1]:2"}
    assert read(given).azure_graph_endpoint == "http://[::1]:2"


def test_an_authority_may_be_a_bare_host() -> None:
    config = read({"AZURE_AUTHORITY_HOST": "login.microsoftonline.us/"})
    assert config.azure_authority_host == "https://login.microsoftonline.us"


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("token", ["AZURE_ACCESS_TOKEN"]),
        ("client-secret", ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"]),
        ("certificate", ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_CERTIFICATE_PATH"]),
        ("workload-identity", ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"]),
    ],
)
def test_an_identity_names_what_it_is_made_of(kind: str, missing: list[str]) -> None:
    found = problems({"AZURE_CREDENTIAL": kind}, ("arm",))
    assert [said.partition(":")[0] for said in found] == missing
    assert all(f"needed when AZURE_CREDENTIAL is {kind}" in said for said in found)


@pytest.mark.parametrize("kind", ["default", "managed-identity", "cli"])
def test_an_identity_of_the_machine_needs_nothing(kind: str) -> None:
    assert read({"AZURE_CREDENTIAL": kind}, ("arm",)).azure_credential == kind


@pytest.mark.parametrize("token", ["Bearer abc", "two\nlines", "spaced out"])
@pytest.mark.parametrize("name", ["AZURE_ACCESS_TOKEN", "AZURE_GRAPH_ACCESS_TOKEN"])
def test_a_token_that_would_not_fit_a_header(name: str, token: str) -> None:
    said = problem({name: token})
    assert said.startswith(f"{name}: ")
    assert "got ***" in said
    assert token not in said


@pytest.mark.parametrize(
    "name",
    ["AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE", "SNOWFLAKE_PRIVATE_KEY_FILE"],
)
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    kinds = {"AZURE_CLIENT_CERTIFICATE_PATH": "certificate"}
    kind = kinds.get(name, "workload-identity")
    path = str(tmp_path / "absent")
    said = problem({name: path, "AZURE_CREDENTIAL": kind})
    assert said == f"{name}: got {path!r} (environment); takes a file that exists"


def test_a_token_for_arm_opens_neither_vault_nor_queue() -> None:
    token = {"AZURE_CREDENTIAL": "token", "AZURE_ACCESS_TOKEN": "x"}
    said = problem({**token, "AZURE_QUEUE_ACCOUNT_URL": ACCOUNT_URL})
    assert said.startswith("AZURE_CREDENTIAL: got 'token'")
    vault = {"AZURE_KEYVAULT_URL": "https://v.vault.azure.net", "SNOWFLAKE_PASSWORD": "kv:x"}
    assert problem({**token, **vault}).startswith("AZURE_CREDENTIAL: got 'token'")
    assert read({**token, **QUEUE, "AZURE_QUEUE_ACCOUNT_URL": ACCOUNT_URL})


# ── Key Vault ────────────────────────────────────────────────────────────────────────────────────


def test_a_reference_needs_a_vault() -> None:
    said = problem({"SNOWFLAKE_PASSWORD": "kv:name"})
    assert said.startswith("AZURE_KEYVAULT_URL: not set; needed for the kv: secret of SNOWFLAKE_P")


@pytest.mark.parametrize("reference", ["kv:", "kv:a_b", "kv:a/b", "kv:" + "a" * 128, "kv: a"])
def test_a_reference_that_names_no_secret(reference: str) -> None:
    vault = {"AZURE_KEYVAULT_URL": "https://v.vault.azure.net"}
    assert "kv: and a secret's name" in problem({**vault, "SNOWFLAKE_PASSWORD": reference})


@pytest.mark.parametrize(
    "name",
    [
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "AZURE_ACCESS_TOKEN",
        "AZURE_GRAPH_ACCESS_TOKEN",
    ],
)
def test_what_opens_the_vault_is_not_kept_in_it(name: str) -> None:
    environ = {**APPLICATION, name: "kv:name", "AZURE_KEYVAULT_URL": "https://v.vault.azure.net"}
    assert "needed to open the vault" in problem(environ)


# ── Snowflake ────────────────────────────────────────────────────────────────────────────────────


def without(*names: str) -> dict[str, str]:
    return {name: text for name, text in SNOWFLAKE.items() if name not in names}


def test_snowflake_names_all_that_is_missing() -> None:
    names = [said.partition(":")[0] for said in problems({}, ("snowflake",))]
    assert sorted(names) == sorted(SNOWFLAKE)


def test_a_key_makes_it_a_key_pair(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----")
    by_file = {**without("SNOWFLAKE_PASSWORD"), "SNOWFLAKE_PRIVATE_KEY_FILE": str(key)}
    assert read(by_file, ("snowflake",)).snowflake_authenticator == "key_pair"
    by_value = {**SNOWFLAKE, "SNOWFLAKE_PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----"}
    assert read(by_value, ("snowflake",)).snowflake_authenticator == "key_pair"
    assert "only one of the two" in problem({**by_file, **by_value})


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("key_pair", "SNOWFLAKE_PRIVATE_KEY_FILE"),
        ("password", "SNOWFLAKE_PASSWORD"),
        ("oauth", "SNOWFLAKE_TOKEN"),
        ("programmatic_access_token", "SNOWFLAKE_TOKEN"),
    ],
)
def test_an_authenticator_names_its_credential(kind: str, missing: str) -> None:
    environ = {**without("SNOWFLAKE_PASSWORD"), "SNOWFLAKE_AUTHENTICATOR": kind}
    assert problem(environ, ("snowflake",)).startswith(f"{missing}: not set")


def test_a_workload_identity_needs_neither_user_nor_credential() -> None:
    environ = without("SNOWFLAKE_PASSWORD", "SNOWFLAKE_USER")
    environ["SNOWFLAKE_AUTHENTICATOR"] = "workload_identity"
    assert read(environ, ("snowflake",)).snowflake_user is None


OAUTH_CLIENT = {
    "SNOWFLAKE_AUTHENTICATOR": "oauth_client_credentials",
    "SNOWFLAKE_OAUTH_CLIENT_ID": "collector",
    "SNOWFLAKE_OAUTH_CLIENT_SECRET": "s3cret-of-the-client",
    "SNOWFLAKE_OAUTH_TOKEN_URL": "https://login.example/oauth2/v1/token",
}


def test_an_oauth_client_needs_no_user_and_no_scope() -> None:
    environ = without("SNOWFLAKE_PASSWORD", "SNOWFLAKE_USER") | OAUTH_CLIENT
    config = read(environ, ("snowflake",))
    assert config.snowflake_authenticator == "oauth_client_credentials"
    assert config.snowflake_oauth_scope is None


@pytest.mark.parametrize("missing", [name for name in OAUTH_CLIENT if "OAUTH" in name])
def test_an_oauth_client_names_what_it_lacks(missing: str) -> None:
    environ = without("SNOWFLAKE_PASSWORD") | OAUTH_CLIENT
    del environ[missing]
    assert problem(environ, ("snowflake",)).startswith(f"{missing}: not set; needed when SNOWFL")


def test_an_oauth_client_has_no_token_beside_it() -> None:
    environ = without("SNOWFLAKE_PASSWORD") | OAUTH_CLIENT | {"SNOWFLAKE_TOKEN": "t0ken-of-before"}
    said = problem(environ, ("snowflake",))
    assert said.startswith("SNOWFLAKE_TOKEN: got *** (environment); takes nothing when SNOWFLAKE_A")


@pytest.mark.parametrize("kind", ["", "oauth"])
def test_an_oauth_client_without_its_authenticator_says_which_it_is(kind: str) -> None:
    environ = without("SNOWFLAKE_PASSWORD") | OAUTH_CLIENT | {"SNOWFLAKE_AUTHENTICATOR": kind}
    assert "it is oauth_client_credentials" in problem(environ, ("snowflake",))


def test_the_secret_of_an_oauth_client_goes_over_tls_or_to_this_machine() -> None:
    plain = {**OAUTH_CLIENT, "SNOWFLAKE_OAUTH_TOKEN_URL": "http://login.example/token"}
    assert problem(plain).startswith("SNOWFLAKE_OAUTH_TOKEN_URL")
    here = {**OAUTH_CLIENT, "SNOWFLAKE_OAUTH_TOKEN_URL": "http://127.0.0.1:1/token"}
    assert read(here).snowflake_oauth_token_url == "http://127.0.0.1:1/token"


def test_a_token_without_its_authenticator_says_which_there_are() -> None:
    environ = {**without("SNOWFLAKE_PASSWORD"), "SNOWFLAKE_TOKEN": "x"}
    assert "oauth or programmatic_access_token" in problem(environ, ("snowflake",))


def test_a_password_goes_over_plain_http_to_this_machine_only() -> None:
    plain = {"SNOWFLAKE_PROTOCOL": "http"}
    assert problem({**plain, "SNOWFLAKE_HOST": "snow.example"}).startswith("SNOWFLAKE_PROTOCOL")
    assert problem(plain).startswith("SNOWFLAKE_PROTOCOL")
    assert read({**plain, "SNOWFLAKE_HOST": "127.0.0.1"}).snowflake_protocol == "http"


# ── limits that belong together ──────────────────────────────────────────────────────────────────


def test_the_first_delay_is_not_longer_than_the_longest() -> None:
    said = problem({"INITIAL_RETRY_DELAY": "61"})
    assert said.endswith("takes at most MAX_BACKOFF, 60 seconds")


def test_a_spool_smaller_than_a_batch_is_a_warning() -> None:
    (warning,) = read({"SPOOL_BYTES": "2048"}).warnings
    assert warning.startswith("SPOOL_BYTES")


# ── metrics and status ──────────────────────────────────────────────────────────────────────────

ALL = {**QUEUE, **SNOWFLAKE}
OPS_TOKEN = secrets_seen.secret("of-the-status-pages-2")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_this_machine_alone_asks_without_a_token(host: str) -> None:
    assert read({**ALL, "OPS_HOST": host}, PARTS).ops_token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "collector.example.net"])
def test_any_other_address_needs_a_token(host: str) -> None:
    said = problem({**ALL, "OPS_HOST": host}, PARTS)
    assert said.startswith("OPS_TOKEN: not set; needed when OPS_HOST is")
    assert read({**ALL, "OPS_HOST": host, "OPS_TOKEN": OPS_TOKEN}, PARTS).ops_token == OPS_TOKEN
    assert read({**ALL, "OPS_HOST": host, "OPS_PORT": "0"}, PARTS).ops_token is None
    assert read({**ALL, "OPS_HOST": host}, ("queue",)).ops_token is None, "`send` does not listen"


@pytest.mark.parametrize("token", ["fifteen-letters", "with a blank in its middle", "ü" * 20])
def test_a_token_that_is_too_short_or_fits_no_header_is_refused(token: str) -> None:
    said = problem({**ALL, "OPS_TOKEN": token}, PARTS)
    assert said.startswith("OPS_TOKEN: got ***")
    assert "at least 16 characters" in said

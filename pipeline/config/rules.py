"""Rules over the settings as a whole: what has to be there, and what contradicts what.

Every rule names the variable, what it got (never a secret), what it takes and where it came from.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.kinds import (
    KEYVAULT_PREFIX,
    KEYVAULT_SECRET_NAME,
    Setting,
    is_loopback,
    split_url,
)
from pipeline.config.settings import BY_NAME
from pipeline.config.sources import Given
from pipeline.identity.clouds import CLOUDS
from pipeline.messages import ARM, MICROSOFT_GRAPH

PARTS = ("queue", "arm", "snowflake")

SHOWN_CHARS = 80
# A value in the wrong variable may still be a secret: nothing that looks like one is shown. Account
# keys, signatures, tokens, PEM, user info of an address; long runs of base64, except in paths.
_SECRET_LOOK = re.compile(
    r"accountkey|sharedaccesssig|\bsig=|PRIVATE KEY-|\beyJ[0-9A-Za-z]|://[^/]*@", re.IGNORECASE
)
_BASE64_RUN = re.compile(r"[0-9A-Za-z+/_-]{40}")
# Tenant names and ids as azure-identity takes them.
_TENANT = re.compile(r"[0-9A-Za-z.-]{1,253}")
_TOKEN = re.compile(r"[!-~]+")

# What each identity is made of.
_CREDENTIAL_PARTS = {
    "client-secret": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"),
    "certificate": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_CERTIFICATE_PATH"),
    "workload-identity": ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    "token": ("AZURE_ACCESS_TOKEN",),
}


@dataclass
class Draft:
    """Settings on their way to a Config.

    Attributes:
        given: text and origin of each setting that is not unset.
        needs: parts whose settings are required.
        values: what could be parsed.
    """

    given: Mapping[str, Given]
    needs: frozenset[str]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def parse(self, name: str) -> None:
        """Read one setting, or note why it cannot be."""
        given = self.given.get(name)
        if given is None:
            return
        setting = BY_NAME[name]
        if setting.secret and given.text.startswith(KEYVAULT_PREFIX):
            self._parse_reference(setting, given.text)
            return
        try:
            self.values[name] = setting.parse(given.text)
        except ValueError as error:
            self.refuse(name, str(error))

    def _parse_reference(self, setting: Setting, text: str) -> None:
        self.values[setting.name] = text
        if not KEYVAULT_SECRET_NAME.fullmatch(text.removeprefix(KEYVAULT_PREFIX)):
            self.refuse(setting.name, "kv: and a secret's name: letters, digits and hyphens")
        elif setting.opens_vault:
            self.refuse(setting.name, "the value itself: it is needed to open the vault")

    def refuse(self, name: str, takes: str) -> None:
        """Note that a given value is not what the setting takes."""
        given = self.given[name]
        self.problems.append(
            f"{name}: got {shown(name, given.text)} ({given.source}); takes {takes}"
        )

    def need(self, name: str, why: str) -> None:
        """Note a setting that is missing; one that is there but wrong was noted already."""
        if name not in self.given:
            self.problems.append(f"{name}: not set; {why}; takes {BY_NAME[name].takes()}")

    def set(self, *names: str) -> bool:
        """Whether all of these were given, rightly or wrongly."""
        return all(name in self.given for name in names)


def shown(name: str, text: str) -> str:
    """A value for an error message: quoted, shortened, masked if it is or looks like a secret."""
    setting = BY_NAME.get(name)
    if setting is None or setting.secret:
        return "***"
    looks_secret = _SECRET_LOOK.search(text) or (
        setting.kind in ("text", "choice", "whole", "number", "flag") and _BASE64_RUN.search(text)
    )
    if looks_secret:
        return f"*** ({len(text)} characters, hidden because it looks like a secret)"
    if len(text) > SHOWN_CHARS:
        return repr(text[:SHOWN_CHARS]) + "..."
    return repr(text)


def check_rules(draft: Draft) -> None:
    """Check every rule that joins settings."""
    _check_queue(draft)
    _check_vault(draft)
    _check_identity(draft)
    _check_endpoints(draft)
    _check_snowflake(draft)
    _check_ops(draft)
    _check_limits(draft)


# ── queue ────────────────────────────────────────────────────────────────────────────────────────


def _check_queue(draft: Draft) -> None:
    if "queue" in draft.needs:
        draft.need("AZURE_QUEUE_NAME", "needed to read or send messages")
        if not draft.set("AZURE_QUEUE_ACCOUNT_URL"):
            draft.need(
                "AZURE_QUEUE_CONNECTION_STRING",
                "needed to read or send messages, or else AZURE_QUEUE_ACCOUNT_URL",
            )
    text = draft.values.get("AZURE_QUEUE_CONNECTION_STRING")
    if text is None or text.startswith(KEYVAULT_PREFIX):
        return
    parts = connection_string_parts(text)
    fault = _connection_string_fault(parts)
    if fault:
        draft.refuse("AZURE_QUEUE_CONNECTION_STRING", fault)
        return
    url = draft.values.get("AZURE_QUEUE_ACCOUNT_URL")
    endpoint = _queue_endpoint(parts)
    if url is not None and endpoint is not None and url.lower() != endpoint.rstrip("/").lower():
        draft.refuse(
            "AZURE_QUEUE_ACCOUNT_URL",
            "the account of AZURE_QUEUE_CONNECTION_STRING "
            f"({draft.given['AZURE_QUEUE_CONNECTION_STRING'].source}), or only one of the two",
        )


def connection_string_parts(text: str) -> dict[str, str]:
    """The fields of a storage connection string, names in lower case; {} if it is none."""
    pairs = [part.partition("=") for part in text.strip().rstrip(";").split(";")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        return {}
    return {name.strip().lower(): value for name, _, value in pairs}


def _queue_endpoint(parts: Mapping[str, str]) -> str | None:
    if "queueendpoint" in parts:
        return parts["queueendpoint"]
    if "accountname" not in parts:
        return None
    scheme = parts.get("defaultendpointsprotocol", "https")
    suffix = parts.get("endpointsuffix", "core.windows.net")
    return f"{scheme}://{parts['accountname']}.queue.{suffix}"


def _connection_string_fault(parts: Mapping[str, str]) -> str:
    """What a connection string should be, when it is not; else ""."""
    if not parts:
        return "NAME=value pairs separated by semicolons, as the portal shows them"
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        return ""
    if "accountkey" in parts:
        try:
            base64.b64decode(parts["accountkey"], validate=True)
        except binascii.Error:
            return "an AccountKey in base64"
    if not ("accountname" in parts and "accountkey" in parts) and (
        "sharedaccesssignature" not in parts
    ):
        return "AccountName and AccountKey, or SharedAccessSignature"
    endpoint = _queue_endpoint(parts)
    try:
        scheme = split_url(endpoint or "").scheme
    except ValueError:
        scheme = ""
    return "" if scheme in ("http", "https") else "a QueueEndpoint, or an AccountName"


# ── Key Vault and identity ───────────────────────────────────────────────────────────────────────


def _check_vault(draft: Draft) -> None:
    kept = [name for name, given in draft.given.items() if _in_vault(name, given)]
    if not kept:
        return
    draft.need("AZURE_KEYVAULT_URL", f"needed for the kv: secret of {', '.join(kept)}")
    if draft.values.get("AZURE_CREDENTIAL") == "token":
        draft.refuse("AZURE_CREDENTIAL", _not_token(f"the kv: secret of {', '.join(kept)}"))


def _in_vault(name: str, given: Given) -> bool:
    setting = BY_NAME[name]
    return setting.secret and not setting.opens_vault and given.text.startswith(KEYVAULT_PREFIX)


def _not_token(purpose: str) -> str:
    # A bearer token is for one audience, and goes to the configured ARM origin only.
    return f"another identity, because a token for Azure Resource Manager does not open {purpose}"


def _check_identity(draft: Draft) -> None:
    by_identity = draft.set("AZURE_QUEUE_ACCOUNT_URL") and not draft.set(
        "AZURE_QUEUE_CONNECTION_STRING"
    )
    kind = draft.values.get("AZURE_CREDENTIAL")
    if kind == "token" and by_identity:
        draft.refuse("AZURE_CREDENTIAL", _not_token("the queue of AZURE_QUEUE_ACCOUNT_URL"))
    if "arm" in draft.needs or by_identity:
        for name in _CREDENTIAL_PARTS.get(kind or "", ()):
            draft.need(name, f"needed when AZURE_CREDENTIAL is {kind}")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID"):
        value = draft.values.get(name)
        if value is not None and not _TENANT.fullmatch(value):
            draft.refuse(name, "an id: letters, digits, hyphens and points")
    for name in ("AZURE_ACCESS_TOKEN", "AZURE_GRAPH_ACCESS_TOKEN"):
        token = draft.values.get(name)
        if token is not None and not _TOKEN.fullmatch(token):
            draft.refuse(name, "one line without spaces, and without 'Bearer'")
    _check_files(draft, kind)


def _check_files(draft: Draft, kind: str | None) -> None:
    used = [("AZURE_CLIENT_CERTIFICATE_PATH", kind == "certificate")]
    used.append(("AZURE_FEDERATED_TOKEN_FILE", kind == "workload-identity"))
    used.append(("SNOWFLAKE_PRIVATE_KEY_FILE", True))
    for name, matters in used:
        path = draft.values.get(name)
        if matters and isinstance(path, Path) and not path.is_file():
            draft.refuse(name, "a file that exists")


# Endpoints that tokens go to, each with what they are for.
_ENDPOINTS = {"AZURE_ARM_ENDPOINT": ARM, "AZURE_GRAPH_ENDPOINT": MICROSOFT_GRAPH}


def _check_endpoints(draft: Draft) -> None:
    cloud = CLOUDS.get(draft.values.get("AZURE_CLOUD", ""))
    in_force: dict[str, str] = {}
    for name, audience in _ENDPOINTS.items():
        endpoint = draft.values.get(name)
        if endpoint is not None and split_url(endpoint).path:
            draft.refuse(name, f"{BY_NAME[name].takes()}, and no path")
        if endpoint is not None:
            in_force[name] = endpoint
        elif cloud is not None:
            in_force[name] = cloud.apis[audience].origin
    if len(in_force) > 1 and len({_origin(url) for url in in_force.values()}) == 1:
        arm, graph = _ENDPOINTS
        name, other = (graph, arm) if draft.set(graph) else (arm, graph)
        draft.refuse(
            name,
            f"another origin than {other}, {in_force[other]}: "
            "the token for one must not go to the other",
        )


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = split_url(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


# ── Snowflake ────────────────────────────────────────────────────────────────────────────────────

_SNOWFLAKE_ALWAYS = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_DATABASE", "SNOWFLAKE_SCHEMA")
_KEYS = ("SNOWFLAKE_PRIVATE_KEY_FILE", "SNOWFLAKE_PRIVATE_KEY")
_CLIENT = (
    "SNOWFLAKE_OAUTH_CLIENT_ID",
    "SNOWFLAKE_OAUTH_CLIENT_SECRET",
    "SNOWFLAKE_OAUTH_TOKEN_URL",
)
# Authenticators whose token says which user it is.
_USER_IN_TOKEN = ("workload_identity", "oauth_client_credentials")


def _check_snowflake(draft: Draft) -> None:
    kind = _authenticator(draft)
    if "snowflake" in draft.needs:
        for name in _SNOWFLAKE_ALWAYS:
            draft.need(name, "needed to load")
        if kind not in _USER_IN_TOKEN:
            draft.need("SNOWFLAKE_USER", "needed to load")
        _check_snowflake_credentials(draft, kind)
    if draft.set(*_KEYS):
        draft.refuse(_KEYS[1], f"nothing beside {_KEYS[0]}: only one of the two")
    if kind == "oauth_client_credentials" and draft.set("SNOWFLAKE_TOKEN"):
        takes = "nothing when SNOWFLAKE_AUTHENTICATOR is oauth_client_credentials, or else oauth"
        draft.refuse("SNOWFLAKE_TOKEN", takes)
    host = draft.values.get("SNOWFLAKE_HOST")
    if draft.values.get("SNOWFLAKE_PROTOCOL") == "http" and not (host and is_loopback(host)):
        draft.refuse("SNOWFLAKE_PROTOCOL", "https, unless SNOWFLAKE_HOST is this machine")


def _authenticator(draft: Draft) -> str:
    name = "SNOWFLAKE_AUTHENTICATOR"
    if not draft.set(name):
        has_key = any(draft.set(key) for key in _KEYS)
        draft.values[name] = "key_pair" if has_key else "password"
    return str(draft.values.get(name, ""))


def _check_snowflake_credentials(draft: Draft, kind: str) -> None:
    why = f"needed when SNOWFLAKE_AUTHENTICATOR is {kind}"
    if kind == "key_pair" and not draft.set(_KEYS[1]):
        draft.need(_KEYS[0], f"{why}, or else {_KEYS[1]}")
    elif kind == "password":
        if draft.set("SNOWFLAKE_TOKEN"):
            why += " (for SNOWFLAKE_TOKEN it is oauth or programmatic_access_token)"
        elif draft.set(_CLIENT[0]):
            why += f" (for {_CLIENT[0]} it is oauth_client_credentials)"
        elif not draft.set("SNOWFLAKE_AUTHENTICATOR"):
            why = "needed to load, or a key in SNOWFLAKE_PRIVATE_KEY_FILE"
        draft.need("SNOWFLAKE_PASSWORD", why)
    elif kind in ("oauth", "programmatic_access_token"):
        if kind == "oauth" and draft.set(_CLIENT[0]):
            why += f" (for {_CLIENT[0]} it is oauth_client_credentials)"
        draft.need("SNOWFLAKE_TOKEN", why)
    elif kind == "oauth_client_credentials":
        for name in _CLIENT:
            draft.need(name, why)


# ── metrics and status ───────────────────────────────────────────────────────────────────────────

OPS_TOKEN_MIN_CHARS = 16


def _check_ops(draft: Draft) -> None:
    host, port = draft.values.get("OPS_HOST"), draft.values.get("OPS_PORT")
    # Only the collector itself listens, and it needs all parts.
    if draft.needs.issuperset(PARTS) and host and port and not is_loopback(host):
        draft.need("OPS_TOKEN", f"needed when OPS_HOST is {host}: others can reach it there")
    token = draft.values.get("OPS_TOKEN")
    if token is None or token.startswith(KEYVAULT_PREFIX):
        return
    if len(token) < OPS_TOKEN_MIN_CHARS or not _TOKEN.fullmatch(token):
        draft.refuse("OPS_TOKEN", f"at least {OPS_TOKEN_MIN_CHARS} characters without spaces")


# ── limits that belong together ──────────────────────────────────────────────────────────────────


def _check_limits(draft: Draft) -> None:
    delay, longest = (draft.values.get(n) for n in ("INITIAL_RETRY_DELAY", "MAX_BACKOFF"))
    if delay is not None and longest is not None and delay > longest:
        draft.refuse("INITIAL_RETRY_DELAY", f"at most MAX_BACKOFF, {longest:g} seconds")
    spool, batch = (draft.values.get(n) for n in ("SPOOL_BYTES", "BATCH_BYTES"))
    if spool is not None and batch is not None and spool < batch:
        draft.warnings.append(
            f"SPOOL_BYTES: {spool} bytes are less than one batch (BATCH_BYTES, {batch}): "
            "fetching will pause after every batch"
        )

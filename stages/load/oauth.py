"""An access token by OAuth client credentials (RFC 6749, section 4.4), for one login.

The connector has this flow too (``OAUTH_CLIENT_CREDENTIALS``), without a time-out: while the
identity provider is silent its login never ends, whatever ``login_timeout`` says (4.8, tried). It
does not say why the provider refuses either. So the request is made here, and the connector is
given the token.
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from pipeline.config import Config
from pipeline.config.kinds import split_url
from pipeline.connection_pool import connection_pool
from pipeline.errors import DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.logs import add_secret, masked
from pipeline.network_errors import network_fault
from stages.load.failures import SecretRefused

WHAT = "OAuth token"

CONNECT_LIMIT_S = 5.0
# Between two reads, and from the first byte sent to the last one read.
READ_LIMIT_S = 10.0
TOTAL_LIMIT_S = 20.0
ANSWER_MAX_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_PROBLEM_CHARS = 300

_BUSY = frozenset({408, 425, 429})
# RFC 6749, section 5.2: who we are was refused; the other codes are about what we ask for.
_CLIENT_REFUSED = frozenset({"invalid_client", "invalid_grant", "unauthorized_client"})
_CLIENT_HINT = "check SNOWFLAKE_OAUTH_CLIENT_ID and SNOWFLAKE_OAUTH_CLIENT_SECRET"
_SCOPE_HINT = "check SNOWFLAKE_OAUTH_SCOPE and what the identity provider allows this client"
_URL_HINT = "check SNOWFLAKE_OAUTH_TOKEN_URL"


def access_token(config: Config) -> str:
    """Ask the identity provider for a token. One try: who logs in tries again.

    Raises:
        ConfigError: a setting is missing.
        Unreachable: no usable answer.
        SecretRefused: the client or its secret is not known.
        Unauthorised: the client may not have such a token.
        NotThere: what answers is no token endpoint.
    """
    url = config.required("snowflake_oauth_token_url")
    client = config.required("snowflake_oauth_client_id")
    secret = config.required("snowflake_oauth_client_secret")
    fields = {"grant_type": "client_credentials"}
    if scope := _scope(config):
        fields["scope"] = scope
    status, body = _post(url, _headers(client, secret), urlencode(fields))
    return _token(url, status, body)


def _scope(config: Config) -> str | None:
    if config.snowflake_oauth_scope or not config.snowflake_role:
        return config.snowflake_oauth_scope
    # As Snowflake's External OAuth names a role, and as the connector asks for it.
    return f"session:role:{config.snowflake_role}"


def _headers(client: str, secret: str) -> dict[str, str]:
    # Section 2.3.1: both are form-encoded before they become a user and a password.
    login = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return {
        **urllib3.make_headers(basic_auth=login),
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def _post(url: str, headers: dict[str, str], body: str) -> tuple[int, bytes]:
    parts = split_url(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    timeout = urllib3.Timeout(connect=CONNECT_LIMIT_S, read=READ_LIMIT_S)
    try:
        pool = connection_pool(parts.scheme, host, port, timeout=timeout, connections=1)
        with pool:
            answer = pool.urlopen(
                "POST",
                parts.path or "/",
                body=body,
                headers=headers,
                retries=False,
                redirect=False,  # the secret goes to this address only
                preload_content=False,
            )
            return answer.status, _read(answer, time.monotonic() + TOTAL_LIMIT_S)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        fault = network_fault(error, parts.netloc) or (type(error).__name__, _URL_HINT)
        raise Unreachable(WHAT, fault[0], f"SNOWFLAKE_OAUTH_TOKEN_URL: {fault[1]}") from error


def _read(answer: urllib3.BaseHTTPResponse, deadline_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := answer.read1(_CHUNK_BYTES):
        parts.append(chunk)
        size += len(chunk)
        if size > ANSWER_MAX_BYTES or time.monotonic() > deadline_s:
            raise TimeoutError("the answer has no end")
    return b"".join(parts)


def _token(url: str, status: int, body: bytes) -> str:
    host = split_url(url).netloc
    said = _json(body)
    token = said.get("access_token")
    if status == 200 and isinstance(token, str) and token:
        add_secret(token)
        return token
    raise _refusal(host, status, said)


def _refusal(host: str, status: int, said: dict[str, Any]) -> DependencyError:
    if status in _BUSY or status >= 500:
        return Unreachable(WHAT, f"{host} answered {status}", "try again later")
    code = said.get("error")
    if status not in (400, 401, 403) or not isinstance(code, str):
        return NotThere(WHAT, f"{host} answered {status} without a token", _URL_HINT)
    text = " ".join(f"{code}: {said.get('error_description', '')}".split())
    problem = f"{host} refused: {masked(text)[:_PROBLEM_CHARS]}"
    if code in _CLIENT_REFUSED:
        return SecretRefused(WHAT, problem, _CLIENT_HINT)
    return Unauthorised(WHAT, problem, _SCOPE_HINT)


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

"""The queue client of Azure Storage, set up for us, and what its errors mean.

Messages are read as stored: with a base64 policy one bad message would raise for its whole page.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3 import ProxyManager

from pipeline.config import Config
from pipeline.connection_pool import SOCKET_OPTIONS
from pipeline.errors import ConfigError, DependencyError, NotThere, Unauthorised, Unreachable
from pipeline.identity import credential
from pipeline.logs import masked
from pipeline.network_errors import causes, network_fault
from stages.fetch.storage_sdk import LinearRetry, QueueClient

WHAT = "queue"
# Azure Functions' convention for messages that were given up.
POISON_SUFFIX = "-poison"

# Time to connect, and longest silence of an answer.
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 6
# The SDK's default waits about 15 s before its first retry. Here each waits 0 to 2 s, so that an
# unreachable or stalled queue is reported within 22 s; whoever goes on then backs off by itself.
RETRIES = 2
RETRY_WAIT_S = 1
RETRY_JITTER_S = 1
# Connections kept open: one for each thread that uses the client. The SDK's default is 10.
CONNECTIONS = 32
# The service's default drops a message after 7 days, unseen.
NEVER_EXPIRES = -1
# Of what an error says, unknown to us.
PROBLEM_CHARS = 300
# Someone else has the message, or it is gone.
RECEIPT_CODES = ("PopReceiptMismatch", "MessageNotFound")

# Its warnings say again what its exceptions say.
logging.getLogger("azure.core").setLevel(logging.ERROR)

_CHECK_ADDRESS = "the address is in AZURE_QUEUE_CONNECTION_STRING or AZURE_QUEUE_ACCOUNT_URL"
_ROLES = (
    "give this identity the role Storage Queue Data Contributor "
    "(for `send` alone, Storage Queue Data Message Sender is enough)"
)
# What Azure Queue Storage's error codes ask of whoever runs this; learn.microsoft.com, "Common REST
# API error codes" and "Queue Storage error codes".
_REFUSALS = {
    "AuthenticationFailed": (
        "check the account key or SAS in AZURE_QUEUE_CONNECTION_STRING (was it rotated?), "
        "and this machine's clock"
    ),
    "AuthorizationPermissionMismatch": _ROLES,
    "AuthorizationFailure": "the account's firewall may not let this address in; or " + _ROLES,
    "AuthorizationSourceIPMismatch": "the SAS does not allow this address",
    "AuthorizationServiceMismatch": "the SAS is not for queues",
    "AuthorizationResourceTypeMismatch": "the SAS does not allow this type of resource",
    "AuthorizationProtocolMismatch": "the SAS takes https only",
    "InsufficientAccountPermissions": "the SAS lacks a permission: it takes r, a, u and p",
    "InvalidAuthenticationInfo": "check AZURE_CREDENTIAL and the tenant of this identity",
    "KeyBasedAuthenticationNotPermitted": (
        "the account takes no keys: use AZURE_QUEUE_ACCOUNT_URL with an identity"
    ),
    "AccountIsDisabled": "the storage account is disabled",
}


def poison_name(queue: str) -> str:
    """Name of the queue that takes what ``queue`` gives up."""
    return queue + POISON_SUFFIX


def open_queue(config: Config, name: str) -> QueueClient:
    """A client of one queue that threads may share; nothing is sent yet.

    Args:
        config: AZURE_QUEUE_CONNECTION_STRING, or AZURE_QUEUE_ACCOUNT_URL and AZURE_CREDENTIAL.
        name: of the queue.

    Raises:
        ConfigError: the connection string or URL cannot be used, or neither is set.
    """
    options: dict[str, Any] = {
        "retry_policy": LinearRetry(
            backoff=RETRY_WAIT_S, retry_total=RETRIES, random_jitter_range=RETRY_JITTER_S
        ),
        "transport": _transport(),
    }
    try:
        if config.azure_queue_connection_string:
            return QueueClient.from_connection_string(
                config.azure_queue_connection_string, name, **options
            )
        url = config.required("azure_queue_account_url")
        # A URL with a SAS needs no identity besides.
        identity = None if "?" in url else credential(config)
        return QueueClient(url, name, credential=identity, **options)
    except ValueError as error:
        # The SDK's words name the part that is wrong; its value might be a key.
        raise ConfigError(
            [f"AZURE_QUEUE_CONNECTION_STRING or AZURE_QUEUE_ACCOUNT_URL: {masked(str(error))}"]
        ) from error


class LeaseLost(Exception):
    """The pop receipt is no longer the message's, or the message is gone.

    Args:
        code: one of :data:`RECEIPT_CODES`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.gone = code == "MessageNotFound"


@contextmanager
def translated(client: QueueClient) -> Iterator[None]:
    """Raise the SDK's errors as ours.

    Raises:
        LeaseLost: the pop receipt is no longer the message's, or the message is gone.
        DependencyError: the queue did not do what was asked.
    """
    try:
        yield
    except AzureError as error:
        if isinstance(error, HttpResponseError) and (code := _code(error)) in RECEIPT_CODES:
            raise LeaseLost(code) from error
        raise queue_error(error, str(client.queue_name)) from error


def queue_error(error: Exception, queue: str) -> DependencyError:
    """What an error of the SDK means, in our own tree.

    Args:
        error: what the SDK raised.
        queue: name of the queue that was used.
    """
    if isinstance(error, DependencyError):  # the identity's own, from inside the SDK
        return error
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return refusal(error.status_code, _code(error), str(error.reason or ""), queue)
    # An answer that broke off is a response error without a status, to the SDK.
    if isinstance(error, ServiceRequestError | ServiceResponseError | HttpResponseError):
        return no_answer(error, _host(error), queue)
    return DependencyError(WHAT, f"{queue}: {_first_line(error)}")


class _Adapter(HTTPAdapter):
    """Finds idle connections dead before they are used."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, socket_options=SOCKET_OPTIONS, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(
            proxy, socket_options=SOCKET_OPTIONS, **options
        )
        return manager


def _transport() -> RequestsTransport:
    session = requests.Session()
    adapter = _Adapter(pool_connections=1, pool_maxsize=CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return RequestsTransport(
        session=session, connection_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S
    )


def refusal(status: int, code: str, reason: str, queue: str) -> DependencyError:
    """It answered, and not with what was asked for.

    Args:
        status: of HTTP.
        code: the service's own, or ``""``.
        reason: beside the status, or ``""``.
        queue: name of the queue that was used.
    """
    said = f"{queue}: {status} {code or reason}".rstrip()
    if code == "QueueNotFound" or (status == 404 and not code):
        return NotThere(
            WHAT,
            f"there is no queue {queue} ({status} {code})".replace(" )", ")"),
            "check AZURE_QUEUE_NAME and the account, or create it: az storage queue create",
        )
    if status in (401, 403):
        return Unauthorised(WHAT, said, _REFUSALS.get(code, _ROLES))
    if status in (408, 429) or status >= 500:
        return Unreachable(WHAT, said, "the service is busy or has trouble; it is asked again")
    return DependencyError(WHAT, said, _REFUSALS.get(code, ""))


def _code(error: HttpResponseError) -> str:
    """The service's error code: an enum member where the SDK knows it, else text."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def no_answer(error: Exception, host: str, queue: str) -> DependencyError:
    """Nothing usable came back.

    Args:
        error: what was raised.
        host: ``host:port`` that was asked.
        queue: name of the queue that was used.
    """
    fault = network_fault(error, host)
    if fault is None:
        return Unreachable(WHAT, f"{queue}: {_first_line(error)}", _CHECK_ADDRESS)
    problem, hint = fault
    return Unreachable(WHAT, f"{queue}: {problem}", f"{hint}; {_CHECK_ADDRESS}")


def _host(error: AzureError) -> str:
    """``host:port`` of the connection that failed, as urllib3's errors have it."""
    for cause in causes(error):
        pool = getattr(cause, "pool", None)
        if host := getattr(pool, "host", None):
            port = getattr(pool, "port", None)
            return f"{host}:{port}" if port else str(host)
    return "the storage account"


def _first_line(error: BaseException) -> str:
    """The error's first line; a URL in it may hold a SAS, so what follows a ``?`` is left out."""
    text = masked(str(error)).strip().split("\n", 1)[0].split("?", 1)[0]
    return f"{type(error).__name__} {text[:PROBLEM_CHARS]}".rstrip()


class QueueSender:
    """Puts messages into one queue; threads may share it.

    Args:
        config: as for :func:`open_queue`.
        name: of the queue.
    """

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self._client = open_queue(config, name)

    def send(self, text: str) -> None:
        """Enqueue a message as it stands.

        Raises:
            DependencyError: it may not have been enqueued.
        """
        try:
            self._client.send_message(text, time_to_live=NEVER_EXPIRES)
        except AzureError as error:
            raise queue_error(error, self.name) from error

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

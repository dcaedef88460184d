"""The table of settings: everything that lists settings reads it.

Reading (:mod:`pipeline.config`), ``show-config`` and the documentation's table stand on these rows.
Rules that join two settings are in :mod:`pipeline.config.rules`.
"""

from __future__ import annotations

import os
import sys

from pipeline.config.kinds import Setting
from pipeline.config.settings_snowflake import SNOWFLAKE
from pipeline.folders import state_folder

MIB = 1 << 20
GIB = 1 << 30
DAY_S = 86_400

# ── defaults that depend on the machine ──────────────────────────────────────────────────────────


def _cores() -> str:
    # The cores this process may use, which in a container are fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return str(len(os.sched_getaffinity(0)))
    return str(os.cpu_count() or 1)


def _spool_dir() -> str:
    return str(state_folder() / "spool")


def _log_format() -> str:
    return "text" if sys.stdout is not None and sys.stdout.isatty() else "json"


def _whole(name: str, meaning: str, default: int, least: int, most: int, unit: str) -> Setting:
    return Setting(name, "whole", meaning, default=str(default), unit=unit, least=least, most=most)


def _number(
    name: str, meaning: str, default: float, least: float, most: float, unit: str
) -> Setting:
    return Setting(
        name, "number", meaning, default=f"{default:g}", unit=unit, least=least, most=most
    )


_CREDENTIALS = (
    "default",
    "managed-identity",
    "workload-identity",
    "client-secret",
    "certificate",
    "cli",
    "token",
)

SETTINGS: tuple[Setting, ...] = (
    # Queue
    Setting(
        "AZURE_QUEUE_NAME",
        "queues",
        "queue, or a comma-separated list in falling priority",
        needed="to read or send messages",
    ),
    Setting(
        "AZURE_QUEUE_CONNECTION_STRING",
        "text",
        "connection string of the storage account that holds the queue",
        secret=True,
        needed="to read or send messages, unless AZURE_QUEUE_ACCOUNT_URL is given",
    ),
    Setting(
        "AZURE_QUEUE_ACCOUNT_URL",
        "url",
        "queue endpoint of the account, opened with the Azure identity, "
        "e.g. `https://ACCOUNT.queue.core.windows.net`",
    ),
    # Azure and identity
    Setting(
        "AZURE_KEYVAULT_URL",
        "https",
        "vault for `kv:` secrets, e.g. `https://NAME.vault.azure.net`",
        needed="when a secret is written `kv:SECRET-NAME`",
    ),
    Setting(
        "AZURE_CLOUD",
        "choice",
        "the Azure cloud",
        choices=("public", "usgov", "china"),
        default="public",
    ),
    Setting(
        "AZURE_ARM_ENDPOINT",
        "url",
        "custom Azure Resource Manager endpoint, e.g. the simulator's",
        default_said="the cloud's",
    ),
    Setting(
        "AZURE_GRAPH_ENDPOINT",
        "url",
        "custom Microsoft Graph endpoint",
        default_said="the cloud's",
    ),
    Setting(
        "AZURE_CREDENTIAL",
        "choice",
        "how the collector proves who it is to Azure",
        choices=_CREDENTIALS,
        default="default",
    ),
    Setting(
        "AZURE_ACCESS_TOKEN",
        "text",
        "bearer token for Azure Resource Manager, not renewed",
        secret=True,
        opens_vault=True,
        needed="when AZURE_CREDENTIAL is token",
    ),
    Setting(
        "AZURE_GRAPH_ACCESS_TOKEN",
        "text",
        "bearer token for Microsoft Graph, not renewed",
        secret=True,
        opens_vault=True,
        needed="when AZURE_CREDENTIAL is token and a message asks Microsoft Graph",
    ),
    Setting(
        "AZURE_TENANT_ID",
        "text",
        "tenant of the application",
        needed="when AZURE_CREDENTIAL is client-secret, certificate or workload-identity",
    ),
    Setting(
        "AZURE_CLIENT_ID",
        "text",
        "client id of the application or of the user-assigned managed identity",
        needed="when AZURE_CREDENTIAL is client-secret, certificate or workload-identity",
    ),
    Setting(
        "AZURE_CLIENT_SECRET",
        "text",
        "secret of the application",
        secret=True,
        opens_vault=True,
        needed="when AZURE_CREDENTIAL is client-secret",
    ),
    Setting(
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "path",
        "PEM or PKCS12 file with the application's certificate and private key",
        needed="when AZURE_CREDENTIAL is certificate",
    ),
    Setting(
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "text",
        "password of that file",
        secret=True,
        opens_vault=True,
    ),
    Setting(
        "AZURE_FEDERATED_TOKEN_FILE",
        "path",
        "service account token of the pod, as AKS sets it",
        needed="when AZURE_CREDENTIAL is workload-identity",
    ),
    Setting(
        "AZURE_AUTHORITY_HOST",
        "authority",
        "custom Microsoft Entra ID authority; one that is not Microsoft's is taken as it "
        "is, without instance discovery",
        default_said="the cloud's",
    ),
    *SNOWFLAKE,
    # Batches
    _whole("BATCH_SIZE", "rows that close a batch", 1000, 1, 1_000_000, "rows"),
    _whole("BATCH_BYTES", "Arrow bytes that close a batch", 64 * MIB, 1024, 2 * GIB, "bytes"),
    _number(
        "BATCH_TIMEOUT",
        "seconds after its first row that close a batch, and for which it may wait for others to "
        "be loaded with",
        10,
        0.05,
        3600,
        "seconds",
    ),
    _whole(
        "LOADS_PER_MINUTE",
        "loads into Snowflake in a minute, at most, evenly spaced; 0 = no cap",
        0,
        0,
        600,
        "loads",
    ),
    # Calling Azure
    Setting(
        "NUM_PROCESSES",
        "whole",
        "execute processes",
        default=_cores,
        default_said="cores",
        unit="processes",
        least=1,
        most=256,
    ),
    _whole("NUM_THREADS", "calls at once in each execute process", 25, 1, 1000, "calls"),
    _whole("MAX_RETRIES", "retries of one API call after its first try", 3, 0, 100, "retries"),
    _number(
        "INITIAL_RETRY_DELAY",
        "seconds before the first retry; doubles each time, full jitter",
        1,
        0,
        3600,
        "seconds",
    ),
    _number("MAX_BACKOFF", "longest delay that doubling leads to", 60, 0.01, 3600, "seconds"),
    _number(
        "MAX_WAIT",
        "longest wait that Azure may ask for; for a longer one the message goes back to the queue "
        "until then",
        60,
        1,
        3600,
        "seconds",
    ),
    _whole("MAX_IN_FLIGHT", "API requests under way on this host", 2000, 1, 1_000_000, "requests"),
    _number(
        "REQUEST_TIMEOUT",
        "total time of one API request from its first call, with retries, pages and polling",
        900,
        1,
        DAY_S,
        "seconds",
    ),
    _number(
        "ARM_CONNECT_TIMEOUT", "time to connect to Azure Resource Manager", 10, 0.1, 300, "seconds"
    ),
    _number(
        "ARM_READ_TIMEOUT", "longest silence while an answer is read", 60, 0.1, 3600, "seconds"
    ),
    _whole(
        "MAX_RESPONSE_BYTES",
        "largest single answer, after decompression",
        64 * MIB,
        1024,
        2 * GIB,
        "bytes",
    ),
    _number(
        "CACHE_TTL",
        "identical GETs within so many seconds are asked once; 0 = off",
        0,
        0,
        DAY_S,
        "seconds",
    ),
    Setting("ALLOW_WRITES", "flag", "let messages call actions that write", default="false"),
    # Leases
    _whole(
        "VISIBILITY_TIMEOUT",
        "seconds of a lease; renewed at half-life",
        300,
        2,
        7 * DAY_S,
        "seconds",
    ),
    _whole(
        "MAX_DEQUEUE_COUNT", "deliveries after which a message is poison", 5, 1, 1000, "deliveries"
    ),
    _whole(
        "DEDUPE_WINDOW",
        "seconds back in which a `ROW_KEY` is looked for; 0 = the whole table",
        7 * DAY_S,
        0,
        3650 * DAY_S,
        "seconds",
    ),
    Setting(
        "WRITE_MODE",
        "choice",
        "how rows get into `RESOURCES`: `merge` keeps each `ROW_KEY` once, `append` only inserts "
        "(cheaper in a large table) and `RESOURCES_UNIQUE` shows each once",
        default="merge",
        choices=("merge", "append"),
    ),
    _whole(
        "RETENTION_DAYS",
        "rows older than this are deleted, but never the newest of a resource, nor what "
        "`DEDUPE_WINDOW` covers; 0 = everything is kept",
        0,
        0,
        36_500,
        "days",
    ),
    # Spool
    Setting(
        "SPOOL_DIR",
        "path",
        "sealed batches waiting to be loaded",
        default=_spool_dir,
        default_said="per-user state folder",
    ),
    _whole("SPOOL_BYTES", "past this, fetching pauses", GIB, 1024, 1024 * 1024 * GIB, "bytes"),
    # Running
    _number(
        "HEARTBEAT_LIMIT",
        "a stage that has not answered for so long is killed and restarted; a busy one answers "
        "twice a second",
        30,
        3,
        3600,
        "seconds",
    ),
    Setting(
        "LOAD_STANDBY",
        "flag",
        "keep a process ready to take over when the loading one dies; it takes some 90 MB",
        default="true",
    ),
    _number("DRAIN_TIMEOUT", "longest drain after SIGTERM or SIGINT", 60, 1, 3600, "seconds"),
    Setting(
        "OPS_HOST",
        "host",
        "address that `/healthz` `/readyz` `/metrics` `/status` listen on",
        default="127.0.0.1",
    ),
    _whole("OPS_PORT", "port of the same; 0 = off", 8080, 0, 65535, ""),
    Setting(
        "OPS_TOKEN",
        "text",
        "bearer token for `/metrics` and `/status`, at least 16 characters",
        secret=True,
        needed="to listen on another address than this machine's own",
    ),
    Setting(
        "LOG_LEVEL",
        "choice",
        "least level of the logs on stdout",
        choices=("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        default="INFO",
    ),
    Setting(
        "LOG_FORMAT",
        "choice",
        "form of the logs on stdout",
        choices=("json", "text"),
        default=_log_format,
        default_said="`json` (`text` on a terminal)",
    ),
    Setting(
        "AUDIT_LOG",
        "path",
        "file that the audit log is appended to, JSON lines; if unset, they stand among the logs "
        "on stdout, with `stream` = `audit`",
    ),
)

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}

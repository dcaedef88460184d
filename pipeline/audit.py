"""The audit log: who did what to the queue, the tables and the settings.

A stream of its own, one JSON object a line, in the file that AUDIT_LOG names; without that, among
the ordinary logs with ``stream`` = ``audit``. Each line is one write to a file that was opened for
appending, so collectors and commands may share it. It may be renamed or removed at any time, as
logrotate does: the next line goes to a new one.
"""

from __future__ import annotations

import os
import pwd
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.logs import AUDIT_STREAM, encoded, log

MODE = 0o600
# Not waiting: a named pipe that nobody reads must hold nobody up.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class AuditLog:
    """Where the lines of one process go.

    Args:
        path: the file; the ordinary log if None.
        name: of the process or command, on every line.

    Raises:
        ConfigError: the file cannot be written to.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self._path = path
        self._name = name
        self._descriptor: int | None = None
        # The last write stopped within its line.
        self._torn = False
        if path is not None:
            try:
                self._open(path)
            except OSError as error:
                raise _unusable(path, error) from error

    def tell(self, action: str, text: str, *, level: str = "INFO", **fields: Any) -> None:
        """Write one line. If the file takes it no more, the ordinary log has it, with an ERROR.

        Args:
            action: what was done, e.g. ``messages_sent``.
            text: the same in words.
            level: of the line.
            fields: ids, counts and names; never a text that a message holds.
        """
        try:
            self._tell(action, text, level, fields)
        except OSError as error:
            log.bind(action="audit_failed", file=str(self._path)).error(
                "the audit log cannot be written, its lines are among these: {}", error
            )
            _to_ordinary_log(action, text, level, {**_who(), **fields})

    def tell_first(self, action: str, text: str, **fields: Any) -> None:
        """Write one line, without which nothing is begun.

        Raises:
            ConfigError: the file does not take it.
        """
        try:
            self._tell(action, text, "INFO", fields)
        except OSError as error:
            assert self._path is not None
            raise _unusable(self._path, error) from error

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _tell(self, action: str, text: str, level: str, fields: dict[str, Any]) -> None:
        fields = {**_who(), **fields}
        if self._path is None:
            _to_ordinary_log(action, text, level, fields)
            return
        line = {
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "level": level,
            "message": text,
            "stage": self._name,
            "stream": AUDIT_STREAM,
            "action": action,
            **fields,
        }
        self._append(self._path, encoded(line).encode("utf-8", "backslashreplace") + b"\n")

    def _append(self, path: Path, line: bytes) -> None:
        descriptor = self._open(path)
        data = b"\n" + line if self._torn else line
        written = os.write(descriptor, data)
        self._torn = 0 < written < len(data)
        if written < len(data):
            raise OSError(f"{path} took {written} of {len(data)} bytes")

    def _open(self, path: Path) -> int:
        """The descriptor of the file that has this name now."""
        if self._descriptor is not None:
            held = os.fstat(self._descriptor)
            try:
                named = path.stat()
            except FileNotFoundError:
                named = None
            if named is not None and os.path.samestat(held, named):
                return self._descriptor
            self.close()
            self._torn = False
        self._descriptor = os.open(path, _FLAGS, MODE)
        return self._descriptor


def open_audit(config: Config, name: str) -> AuditLog:
    """The audit log that the settings name.

    Args:
        config: AUDIT_LOG.
        name: of the process or command.

    Raises:
        ConfigError: the file cannot be written to.
    """
    return AuditLog(config.audit_log, name)


def identities(config: Config) -> dict[str, dict[str, str]]:
    """Who the collector is to the queue, to Azure and to Snowflake: kinds and public ids only."""
    queue = queue_identity(config)
    return {
        "queue": queue,
        "azure": _azure_identity(config),
        "snowflake": snowflake_identity(config),
    }


def queue_identity(config: Config) -> dict[str, str]:
    """Who a command is to the queue: the account's key, a signature, or an Azure identity."""
    said = config.azure_queue_connection_string
    if said is None:
        return _azure_identity(config)
    parts = dict(part.split("=", 1) for part in said.split(";") if "=" in part)
    names = {name.lower(): value for name, value in parts.items()}
    kind = "shared-access-signature" if "sharedaccesssignature" in names else "account-key"
    account = names.get("accountname", "")
    return {"credential": kind, **({"account": account} if account else {})}


def snowflake_identity(config: Config) -> dict[str, str]:
    """Who a command is to Snowflake."""
    return _known(
        {
            "authenticator": config.snowflake_authenticator,
            "account": config.snowflake_account,
            "user": config.snowflake_user,
            "role": config.snowflake_role,
            "client_id": config.snowflake_oauth_client_id,
        }
    )


def _azure_identity(config: Config) -> dict[str, str]:
    return _known(
        {
            "credential": config.azure_credential,
            "tenant_id": config.azure_tenant_id,
            "client_id": config.azure_client_id,
        }
    )


def _known(fields: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _to_ordinary_log(action: str, text: str, level: str, fields: dict[str, Any]) -> None:
    # "{}" because the text may have braces of its own.
    log.bind(**fields, stream=AUDIT_STREAM, action=action).log(level, "{}", text)


def _who() -> dict[str, Any]:
    """The process and whose it is."""
    return {"user": _user(), "uid": os.getuid(), "host": socket.gethostname(), "pid": os.getpid()}


def _user() -> str:
    # Not getpass's, which believes the environment.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        return "unknown"


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        [
            f"AUDIT_LOG: {path} cannot be written: {error.strerror or error}; "
            "takes a file that this user may append to, in a folder that is there"
        ]
    )

"""One run of a command to its end: what it said, how long it took, and that no secret was said."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.collector import run

# Nothing listens on this port of loopback.
CLOSED_PORT = 1
# Every dependency that is away has to be told within this time.
START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def said(self) -> str:
        """All it printed."""
        return self.out + self.err


def command(
    arguments: Sequence[str],
    settings: Mapping[str, str],
    *,
    stdin: str = "",
    cwd: Path | None = None,
    limit_s: float = 60.0,
    secrets: Sequence[str] = (),
) -> Ended:
    """Run ``python -m pipeline`` to its end; none of the settings' secrets may be in its output.

    Args:
        arguments: of the command.
        settings: its environment.
        stdin: what it reads.
        cwd: folder it runs in.
        limit_s: seconds it may take.
        secrets: more texts that must not be in its output.
    """
    began_s = time.monotonic()
    ended = run(arguments, settings, stdin=stdin, cwd=cwd, limit_s=limit_s)
    elapsed_s = time.monotonic() - began_s
    said = ended.stdout + ended.stderr
    leaked = [secret for secret in [*secrets_in(settings), *secrets] if secret in said]
    assert not leaked, said
    return Ended(ended.returncode, ended.stdout, ended.stderr, elapsed_s)


def secrets_in(settings: Mapping[str, str]) -> list[str]:
    """The secrets of an environment: keys, passwords, tokens."""
    names = ("_PASSWORD", "_TOKEN", "_SECRET", "_PRIVATE_KEY", "_CONNECTION_STRING")
    values = [
        value
        for name, value in settings.items()
        if name.endswith(names) and not value.startswith("kv:")
    ]
    keys = [key for value in values for key in re.findall(r"AccountKey=([^;]+)", value)]
    return [secret for secret in [*values, *keys] if secret]


def with_key(connection_string: str, key: str) -> str:
    """The connection string with another account key."""
    return re.sub("AccountKey=[^;]*", f"AccountKey={key}", connection_string)


def with_endpoint(connection_string: str, endpoint: str) -> str:
    """The connection string with another queue endpoint, without the account at its end."""
    return re.sub("QueueEndpoint=[^;]*", f"QueueEndpoint={endpoint}/sandbox", connection_string)

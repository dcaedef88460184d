"""Azurite's queue service as the sandbox's queue: installed once from npm, started on a free port.

Only the queue service runs (its own entry point), so blobs and tables take neither ports nor time.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import SandboxError
from pipeline.folders import cache_folder, private_folder
from pipeline.sandbox.children import Child, OnDeath
from pipeline.sandbox.node import Node, find_node
from pipeline.slots import hold_folder

VERSION = "3.37.0"
# The oldest Node.js that this version's package.json takes.
NODE_MAJOR = 22
# Size of node_modules on disk, for the line that announces the download.
INSTALLED_MB = 245
INSTALL_LIMIT_S = 150.0
# For the registry to say that it has this version.
ASK_LIMIT_S = 20.0
START_LIMIT_S = 25.0

# The account's name stays, because Azurite keeps its data under it; the key is new at each start.
ACCOUNT = "sandbox"
KEY_BYTES = 64

_ENTRY = Path("node_modules/azurite/dist/src/queue/main.js")
_READY = re.compile(r"successfully listens on (http://127\.0\.0\.1:\d+)")
_NETWORK_TROUBLE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|CERT|E40[137]\b")

_NPM_OPTIONS = ("--prefer-offline", "--no-update-notifier", "--loglevel=error")
# No dependency needs an install script to run, so none gets to run.
_INSTALL_OPTIONS = (
    f"azurite@{VERSION}",
    *("--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-global"),
)
_ASK_OPTIONS = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=8000")

Say = Callable[[str], None]


def quiet(_text: str) -> None:
    """Say nothing."""


class Azurite:
    """A running queue service.

    Args:
        data: folder its data stays in, created if it is not there.
        say: told in a line about a download.
        on_death: called once, from another thread, with a text if it ends without being stopped.

    Attributes:
        data: that folder.
        account_key: a secret, new at each start.
        child: the process.

    Raises:
        SandboxError: it cannot be had, or does not start.
    """

    def __init__(self, data: Path, *, say: Say = quiet, on_death: OnDeath | None = None) -> None:
        self.data = private_folder(data)
        self.account_key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
        self._endpoint: str | None = None
        node = find_node(NODE_MAJOR)
        entry = install(node, say) / _ENTRY
        options = ["--queueHost", "127.0.0.1", "--queuePort", "0", "--location", str(self.data)]
        # The SDK's newest API version is often ahead of the one that Azurite knows.
        options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        self.child = Child(
            "Azurite",
            node.command("azurite-queue", entry, *options),
            ready=_READY,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.account_key}"},
            on_death=on_death,
        )

    def await_ready(self, limit_s: float = START_LIMIT_S) -> None:
        """Wait until it takes requests.

        Raises:
            SandboxError: it ended, or was not ready in time; with its last output.
        """
        self._endpoint = self.child.await_ready(limit_s).group(1)

    @property
    def connection_string(self) -> str:
        """How the Storage SDK reaches it. Holds the account's key."""
        if self._endpoint is None:
            raise SandboxError("Azurite is not ready yet")
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.account_key};"
            f"QueueEndpoint={self._endpoint}/{ACCOUNT};"
        )

    def stop(self) -> None:
        """End it; it writes its data first."""
        self.child.stop()


def install(node: Node, say: Say = quiet) -> Path:
    """The folder Azurite is installed in; installs it the first time.

    Several processes may call this at once: one installs, the others wait for it.

    Args:
        node: what to run npm with.
        say: told what is downloaded to where, in a line.

    Raises:
        SandboxError: npm failed or took too long, or the folder cannot be written.
    """
    home = cache_folder() / f"azurite-{VERSION}"
    installed = home / "installed"
    if (installed / _ENTRY).is_file():
        return installed
    try:
        slot = hold_folder(home, wait_s=INSTALL_LIMIT_S)
        if slot is None:
            raise SandboxError(
                f"another process has been installing Azurite into {home} "
                f"for over {INSTALL_LIMIT_S:.0f} s: look for it, or try again"
            )
        with slot:
            if not (installed / _ENTRY).is_file():
                _install(node, home, installed, say)
    except OSError as error:
        raise SandboxError(
            f"Azurite could not be installed into {home}: {error}; "
            "AZURE_COLLECTOR_CACHE names another folder"
        ) from error
    return installed


def _install(node: Node, home: Path, installed: Path, say: Say) -> None:
    # We hold the folder: whatever else is in it was left by an install that did not end.
    for left_over in home.iterdir():
        if left_over.is_dir():
            shutil.rmtree(left_over)
    say(f"installing Azurite {VERSION} from npm, once, into {home} (about {INSTALLED_MB} MB) …")
    began = time.monotonic()
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=home))
    try:
        _ask_registry(node, partial)
        _run_npm(node, partial, ["install", *_INSTALL_OPTIONS], INSTALL_LIMIT_S)
        if not (partial / _ENTRY).is_file():
            raise SandboxError(f"npm installed Azurite {VERSION} without its {_ENTRY}")
        partial.rename(installed)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(partial)
    say(f"Azurite {VERSION} installed in {time.monotonic() - began:.0f} s")


def _ask_registry(node: Node, folder: Path) -> None:
    # An install waits minutes for a registry that does not answer; one question need not.
    _run_npm(node, folder, ["view", f"azurite@{VERSION}", "version", *_ASK_OPTIONS], ASK_LIMIT_S)


def _run_npm(node: Node, folder: Path, arguments: Sequence[str], limit_s: float) -> None:
    npm = Child(
        "npm",
        node.command("npm", node.npm_cli, *arguments, *_NPM_OPTIONS, "--prefix", str(folder)),
        env={**os.environ, "PATH": f"{node.node.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        cwd=folder,
    )
    try:
        code = npm.wait(limit_s)
    finally:
        npm.stop()
    if code == 0:
        return
    output = npm.tail()
    problem = f"gave exit code {code}" if code is not None else f"took over {limit_s:.0f} s"
    hint = (
        "check that the npm registry can be reached (npm config get registry, proxy, certificates)"
        if code is None or _NETWORK_TROUBLE.search(output)
        else "see npm's output"
    )
    raise SandboxError(f"Azurite could not be had: npm {problem}; {hint}\n{output}".rstrip())

"""Puts the sandbox together: queue, ARM and Snowflake started side by side, and how to reach them.

::

    <folder>/
      queue/       Azurite's data
      snowflake/   the DuckDB file; it stays after the run
      spool/       sealed batches of a collector that uses this sandbox
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pipeline.errors import SandboxError
from pipeline.folders import cache_folder
from pipeline.logs import add_secret, log
from pipeline.sandbox import snowflake
from pipeline.sandbox.arm.settings import GRAPH_TOKEN_VARIABLE, TOKEN_VARIABLE
from pipeline.sandbox.azurite import Azurite, Say, quiet
from pipeline.sandbox.children import Child, python_command
from pipeline.slots import Slot, hold_folder

PARTS = ("queue", "arm", "snowflake")
QUEUE = "collector"
# Azure Functions' convention, which the collector follows.
POISON_SUFFIX = "-poison"
# All parts together, from the moment that the last one was started (a download comes before that).
READY_LIMIT_S = 25.0
QUEUE_CALL_LIMIT_S = 5.0
# Data folders of runs without a folder of their own that are kept, the new one included.
KEPT_FOLDERS = 5
TOKEN_BYTES = 24
# Where the sandbox's Snowflake reads the password from (its PASSWORD_VARIABLE, whose module is slow
# to import).
SNOWFLAKE_PASSWORD_VARIABLE = "SANDBOX_SNOWFLAKE_PASSWORD"  # noqa: S105 - a name

_READY = re.compile(r"^ready (http://127\.0\.0\.1:(\d+))\s*$")
# What the ARM simulator says before it is ready: where it serves Microsoft Graph.
_GRAPH = re.compile(r"^graph (http://127\.0\.0\.1:\d+)$", re.MULTILINE)
_RUN_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
# What the extra `local` brings for each part.
_EXTRA_MODULES: dict[str, tuple[str, ...]] = {
    "queue": (),
    "arm": ("httptools",),
    "snowflake": ("fakesnow", "duckdb"),
}


class Sandbox:
    """A running sandbox, as a context manager.

    Args:
        folder: where its data stays between runs; a fresh one in the cache folder if not given.
        parts: which of :data:`PARTS` to start; the settings of the others are left out.
        arm_options: more command line options for the ARM simulator, e.g. ``["--vms", "10"]``.
        say: told in a line about a download.
        on_death: called once, from another thread, with a text when a part ends on its own;
            logs an error if not given.

    Attributes:
        settings: environment variables that point a collector at it; filled by ``start``.
        folder: the data folder; known after ``start``.
        duckdb_file: what the sandbox's Snowflake keeps its tables in; known after ``start``.

    Raises:
        ValueError: a part has another name.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        parts: Collection[str] = PARTS,
        arm_options: Sequence[str] = (),
        say: Say = quiet,
        on_death: Callable[[str], None] | None = None,
    ) -> None:
        if unknown := set(parts) - set(PARTS):
            raise ValueError(f"no such part of the sandbox: {', '.join(sorted(unknown))}")
        self.settings: dict[str, str] = {}
        self.folder = folder.absolute() if folder else cache_folder() / "sandbox" / _run_name()
        self.duckdb_file = self.folder / "snowflake" / f"{snowflake.DATABASE}.db"
        self._fresh = folder is None
        self._parts = frozenset(parts)
        self._arm_options = list(arm_options)
        self._say = say
        self._on_death = on_death or _log_death
        self._token = secrets.token_hex(TOKEN_BYTES)
        self._graph_token = secrets.token_hex(TOKEN_BYTES)
        self._password = secrets.token_hex(TOKEN_BYTES)
        self._death: str | None = None
        self._died = threading.Event()
        self._slot: Slot | None = None
        self._children: list[Child] = []

    def start(self) -> None:
        """Start all parts and wait until each takes requests.

        Raises:
            SandboxError: the folder is in use, or a part cannot be had or does not start; nothing
                is left running then.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all parts and let go of the folder; the data stays. Harmless when repeated."""
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.stop()
        self._children.clear()
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def await_death(self, limit_s: float) -> str | None:
        """Wait for a part to end on its own.

        Returns:
            What ended, how, and its last output; None if all parts run after ``limit_s`` seconds.
        """
        self._died.wait(limit_s)
        return self._death

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        _require_extra(self._parts)
        add_secret(self._token)
        add_secret(self._graph_token)
        add_secret(self._password)
        self._hold_folder()
        # Ours first: they start up while Azurite is looked for, or downloaded.
        arm = self._start_arm() if "arm" in self._parts else None
        snow = self._start_snowflake() if "snowflake" in self._parts else None
        queue = self._start_queue() if "queue" in self._parts else None
        deadline = time.monotonic() + READY_LIMIT_S

        def left_s() -> float:
            return max(0.0, deadline - time.monotonic())

        if queue is not None:
            queue.await_ready(left_s())
            create_queues(queue.connection_string)
            add_secret(queue.account_key)
            self.settings["AZURE_QUEUE_CONNECTION_STRING"] = queue.connection_string
            self.settings["AZURE_QUEUE_NAME"] = QUEUE
        if arm is not None:
            self.settings |= self._azure_settings(arm, left_s())
        if snow is not None:
            port = snow.await_ready(left_s()).group(2)
            self.settings |= _snowflake_settings(port, self._password)
        self.settings["SPOOL_DIR"] = str(self.folder / "spool")

    def _hold_folder(self) -> None:
        try:
            self._slot = hold_folder(self.folder)
        except OSError as error:
            raise SandboxError(
                f"the sandbox cannot keep its data in {self.folder}: {error}"
            ) from error
        if self._slot is None:
            raise SandboxError(
                f"{self.folder} is in use by another sandbox: stop that one, or name another folder"
            )
        if self._fresh:
            remove_old_runs(self.folder.parent)

    def _start_arm(self) -> Child:
        options = ["--port", "0", *self._arm_options]
        tokens = {TOKEN_VARIABLE: self._token, GRAPH_TOKEN_VARIABLE: self._graph_token}
        env = {**os.environ, **tokens}
        return self._start_python("ARM simulator", "pipeline.sandbox.arm", options, env)

    def _azure_settings(self, arm: Child, limit_s: float) -> dict[str, str]:
        endpoint = arm.await_ready(limit_s).group(1)
        graph = _GRAPH.search(arm.tail())
        if graph is None:
            raise SandboxError(f"{arm.name} did not say where Microsoft Graph is:\n{arm.tail()}")
        return {
            "AZURE_ARM_ENDPOINT": endpoint,
            "AZURE_GRAPH_ENDPOINT": graph.group(1),
            "AZURE_CREDENTIAL": "token",
            "AZURE_ACCESS_TOKEN": self._token,
            "AZURE_GRAPH_ACCESS_TOKEN": self._graph_token,
        }

    def _start_snowflake(self) -> Child:
        options = ["--port", "0", "--data", str(self.duckdb_file.parent)]
        env = {**os.environ, SNOWFLAKE_PASSWORD_VARIABLE: self._password}
        return self._start_python("fakesnow", "pipeline.sandbox.snowflake", options, env)

    def _start_python(
        self, name: str, module: str, options: list[str], env: Mapping[str, str]
    ) -> Child:
        child = Child(
            name,
            python_command(module, *options),
            ready=_READY,
            env=env,
            on_death=self._part_died,
        )
        self._children.append(child)
        return child

    def _start_queue(self) -> Azurite:
        azurite = Azurite(self.folder / "queue", say=self._say, on_death=self._part_died)
        self._children.append(azurite.child)
        return azurite

    def _part_died(self, obituary: str) -> None:
        if not self._died.is_set():
            self._death = obituary
            self._died.set()
            self._on_death(obituary)


def create_queues(connection_string: str, name: str = QUEUE) -> None:
    """Create a queue and its poison queue where they are not there yet.

    Raises:
        SandboxError: the service refuses.
    """
    # Imported late: it takes a third of a second, in which the parts start up.
    from azure.core.exceptions import AzureError, ResourceExistsError
    from azure.storage.queue import QueueServiceClient

    # The sandbox is on loopback: a proxy from the environment would not find it.
    with QueueServiceClient.from_connection_string(
        connection_string,
        use_env_settings=False,
        retry_total=0,
        connection_timeout=QUEUE_CALL_LIMIT_S,
        read_timeout=QUEUE_CALL_LIMIT_S,
    ) as service:
        for queue in (name, name + POISON_SUFFIX):
            try:
                service.create_queue(queue)
            except ResourceExistsError:
                continue
            except AzureError as error:
                raise SandboxError(f"Azurite did not create the queue {queue}: {error}") from error


def remove_old_runs(base: Path, kept: int = KEPT_FOLDERS) -> None:
    """Remove the data folders of old runs that no process holds, but for the newest ``kept``."""
    runs = sorted(path for path in base.iterdir() if _RUN_NAME.fullmatch(path.name))
    for run in runs[: max(0, len(runs) - kept)]:
        try:
            slot = hold_folder(run)
        except OSError:
            continue  # not ours, or another process is removing it
        if slot is not None:
            with slot:
                shutil.rmtree(run, ignore_errors=True)


def _run_name() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _snowflake_settings(port: str, password: str) -> dict[str, str]:
    return {
        "SNOWFLAKE_ACCOUNT": snowflake.ACCOUNT,
        "SNOWFLAKE_USER": snowflake.USER,
        "SNOWFLAKE_PASSWORD": password,
        "SNOWFLAKE_ROLE": snowflake.ROLE,
        "SNOWFLAKE_WAREHOUSE": snowflake.WAREHOUSE,
        "SNOWFLAKE_DATABASE": snowflake.DATABASE,
        "SNOWFLAKE_SCHEMA": snowflake.SCHEMA,
        "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": port,
        "SNOWFLAKE_PROTOCOL": "http",
    }


def _require_extra(parts: Collection[str]) -> None:
    needed = [name for part in PARTS if part in parts for name in _EXTRA_MODULES[part]]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise SandboxError(
            f"the sandbox needs the extra `local` ({', '.join(missing)} not installed): "
            "pip install -e '.[local]'"
        )


def _log_death(obituary: str) -> None:
    log.bind(action="sandbox_part_died").error("a part of the sandbox ended: {}", obituary)

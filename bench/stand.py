"""Where the contestants work: a queue, a simulator of ARM and a Snowflake, all on loopback.

The queue server and Snowflake run for the whole benchmark, a simulator for each scenario. Each run
has a queue, a schema and a folder of its own, so that nothing of another's is in its way.
"""

from __future__ import annotations

import os
import re
import secrets
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme
from azure.core.exceptions import AzureError

from bench.budget_run import KEPT
from bench.queue_messages import queue_client
from bench.scenarios import (
    LIST_PAGE_ROWS,
    PAGES_PER_LIST,
    ROWS_PER_LIST,
    SUBSCRIPTIONS,
    Scenario,
)
from pipeline.config import load
from pipeline.errors import CollectorError
from pipeline.sandbox.arm.control import SimulatorControl
from pipeline.sandbox.arm.settings import TOKEN_VARIABLE
from pipeline.sandbox.children import Child, python_command
from pipeline.sandbox.runner import POISON_SUFFIX, Sandbox, create_queues
from stages.load.session import Session, connect

# Answers that the simulator keeps ready: all of a scenario's, so that it is not what is measured.
CACHE_MB = 4096
ANSWERS_READY_LIMIT_S = 30.0
TOKEN_BYTES = 24
# Of the simulated tenant.
DISKS_PER_MACHINE = 2
_READY = re.compile(r"^ready (https?://127\.0\.0\.1:\d+)\s*$")


class BenchError(CollectorError):
    """What was measured is no measurement, or could not be."""


@dataclass(frozen=True)
class Arm:
    """A running simulator.

    Attributes:
        endpoint: scheme, host and port.
        control: talks to it.
        settings: environment variables that point a contestant at it.
        trusted: for a caller over TLS.
    """

    endpoint: str
    control: SimulatorControl
    settings: Mapping[str, str]
    trusted: ssl.SSLContext | None


@dataclass(frozen=True)
class Place:
    """What a run has for itself.

    Attributes:
        settings: the whole environment that points a contestant at it.
        folder: to work in.
    """

    settings: Mapping[str, str]
    folder: Path

    def messages_left(self) -> int:
        """About how many messages are in its queue, those that somebody has taken included."""
        with queue_client(self.settings) as client:
            return int(client.get_queue_properties().approximate_message_count or 0)


class Stand:
    """The queue server and Snowflake, as a context manager.

    Args:
        folder: for all data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sandbox = Sandbox(folder / "sandbox", parts=("queue", "snowflake"))
        self._runs = 0

    def __enter__(self) -> Stand:
        self._sandbox.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.stop()

    def session(self, settings: Mapping[str, str]) -> Session:
        """A session with Snowflake."""
        ours = {name: value for name, value in settings.items() if name.startswith("SNOWFLAKE_")}
        return connect(load(None, ours, {}, needs=("snowflake",)))

    @contextmanager
    def arm(self, scenario: Scenario) -> Iterator[Arm]:
        """A simulator with what this scenario asks for; unthrottled and without latency at first.

        Raises:
            SandboxError: it does not start.
        """
        settings = {
            "AZURE_CREDENTIAL": "token",
            "AZURE_ACCESS_TOKEN": secrets.token_hex(TOKEN_BYTES),
        }
        options = _arm_options(scenario)
        trusted = None
        if scenario.tls:
            options += self._certificate()
            settings["REQUESTS_CA_BUNDLE"] = str(self.folder / "authority.pem")
            trusted = ssl.create_default_context(cafile=settings["REQUESTS_CA_BUNDLE"])
        child = Child(
            "ARM simulator",
            python_command("pipeline.sandbox.arm", *options),
            ready=_READY,
            env=environment({TOKEN_VARIABLE: settings["AZURE_ACCESS_TOKEN"]}),
        )
        try:
            endpoint = child.await_ready(ANSWERS_READY_LIMIT_S).group(1)
            settings["AZURE_ARM_ENDPOINT"] = endpoint
            yield Arm(endpoint, SimulatorControl(endpoint, trusted), settings, trusted)
        finally:
            child.stop()

    @contextmanager
    def place(self, arm: Arm) -> Iterator[Place]:
        """A queue, a schema and a folder that go when the run is over."""
        self._runs += 1
        name = f"run-{self._runs}"
        schema = name.replace("-", "_").upper()
        folder = self.folder / name
        folder.mkdir()
        settings = {
            **self._sandbox.settings,
            **arm.settings,
            "AZURE_QUEUE_NAME": name,
            "SNOWFLAKE_SCHEMA": schema,
            "SPOOL_DIR": str(folder / "spool"),
        }
        create_queues(settings["AZURE_QUEUE_CONNECTION_STRING"], name)
        with self.session(self._sandbox.settings) as session:
            session.run(f"CREATE SCHEMA {schema}")
        try:
            yield Place(settings, folder)
        finally:
            for queue in (name, name + POISON_SUFFIX):
                with (
                    suppress(AzureError),
                    queue_client({**settings, "AZURE_QUEUE_NAME": queue}) as client,
                ):
                    client.delete_queue()
            with self.session(self._sandbox.settings) as session:
                session.run(f"DROP SCHEMA {schema} CASCADE")

    def _certificate(self) -> list[str]:
        """Options with a certificate of this run's own authority."""
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        chain, key = self.folder / "chain.pem", self.folder / "key.pem"
        authority.cert_pem.write_to_path(self.folder / "authority.pem")
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        return ["--certfile", str(chain), "--keyfile", str(key)]


def _arm_options(scenario: Scenario) -> list[str]:
    most = max(scenario.requests, scenario.peer_requests or 0)
    if scenario.lists:
        subscriptions, disks = -(-most // PAGES_PER_LIST), ROWS_PER_LIST
    else:
        subscriptions = min(SUBSCRIPTIONS, most)
        disks = -(-most // subscriptions)
    options = {
        "subscriptions": subscriptions,
        "vms": -(-disks // DISKS_PER_MACHINE),
        "page-size": LIST_PAGE_ROWS,
        "answer-bytes": scenario.answer_bytes,
        "cache-mb": CACHE_MB,
        "buckets": "off",
        "gzip": "on" if scenario.gzip else "off",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Of this machine's environment what a program needs, and these."""
    return {**{name: os.environ[name] for name in KEPT if name in os.environ}, **more}

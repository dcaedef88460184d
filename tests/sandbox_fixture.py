"""A sandbox that tests share, and the settings of a collector in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox, create_queues
from tests import secrets_seen


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests that keep to a queue, spool and message ids of their own."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sandbox(folder, arm_options=["--subscriptions", "8", "--vms", "6"]) as sandbox:
        secrets_seen.secrets_of(sandbox.settings)
        yield sandbox


@pytest.fixture
def settings(shared_sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Environment of a collector in the shared sandbox, with a queue and a spool of its own."""
    name = f"q-{secrets.token_hex(4)}"
    create_queues(shared_sandbox.settings["AZURE_QUEUE_CONNECTION_STRING"], name)
    return {
        **shared_sandbox.settings,
        "AZURE_QUEUE_NAME": name,
        "SPOOL_DIR": str(tmp_path / "spool"),
        "NUM_PROCESSES": "2",
        # Of a receive whose answer is lost on a busy machine, the messages come again in time.
        "VISIBILITY_TIMEOUT": "30",
        "BATCH_TIMEOUT": "0.3",
        "BATCH_SIZE": "100",
        "OPS_PORT": "0",
        "LOG_FORMAT": "json",
    }

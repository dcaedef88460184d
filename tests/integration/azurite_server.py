"""Azurite for tests, until they are done with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.sandbox.azurite import Azurite


@contextmanager
def running_azurite(folder: Path) -> Iterator[Azurite]:
    """A queue service that answers; it keeps its messages in this folder."""
    server = Azurite(folder)
    try:
        server.await_ready()
        yield server
    finally:
        server.stop()

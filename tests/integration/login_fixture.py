"""A proxy that sees each login at the sandbox's Snowflake, in a process that has none behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.config import Config
from stages.load import rotation
from stages.load import session as session_module
from stages.load.session import connect
from tests.acceptance.chaos.proxy import HOST
from tests.integration.snowflake_fixture import SnowflakeServer
from tests.standins.snowflake_proxy import SnowflakeProxy


@pytest.fixture(autouse=True)
def first_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not logged in yet."""
    monkeypatch.setattr(session_module, "ROTATION", rotation.Rotation())


@pytest.fixture
def proxy(server: SnowflakeServer) -> Iterator[SnowflakeProxy]:
    with SnowflakeProxy(HOST, server.port) as standing:
        yield standing


def settings(server: SnowflakeServer, proxy: SnowflakeProxy, **changes: str) -> Config:
    """Without the sandbox's password, unless it is among the changes."""
    kept = {"SNOWFLAKE_PASSWORD": "", "SNOWFLAKE_PORT": str(proxy.port)}
    return server.config(**kept | changes)


def user(config: Config) -> Any:
    with connect(config) as session:
        return session.value("SELECT CURRENT_USER()")

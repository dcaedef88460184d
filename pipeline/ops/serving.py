"""Joins the pages to a supervisor for as long as it runs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipeline.config import Config
from pipeline.log_events import LogEvents
from pipeline.ops.pages import Pages
from pipeline.ops.server import OpsServer
from pipeline.ops.view import View
from pipeline.supervisor import Supervisor


@asynccontextmanager
async def serving(
    config: Config, supervisor: Supervisor, listener: socket.socket
) -> AsyncIterator[Callable[[], None]]:
    """Answer on this socket.

    Args:
        config: OPS_TOKEN, and what the pages say of the settings.
        supervisor: of the collector.
        listener: from :func:`pipeline.ops.server.listen`.

    Yields:
        What has to be called a few times a second.
    """
    events = LogEvents("supervisor")
    events.watch()
    view = View(config, supervisor, events)
    server = OpsServer(Pages(view, config.ops_token))
    await server.start(listener)
    try:
        yield view.tick
    finally:
        await server.close()
        events.unwatch()

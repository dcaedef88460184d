"""Connections that are kept are watched by the kernel, so that none is used that was forgotten.

What is tried here is the kernel's own timer on the sockets that each client has opened.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.identity import endpoint
from pipeline.messages import ARM
from stages.fetch.queue import open_queue
from stages.load.session import connect
from tests.acceptance.chaos.between import proxies_between
from tests.integration.blocking_client import BlockingClient
from tests.processes import until

ESTABLISHED, KEEP_ALIVE_TIMER = "01", "02"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")


def timers(port: int) -> set[str]:
    """Timers of the idle connections to this port of loopback; ``00`` is none."""
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    idle = [row for row in rows if row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED]
    return {row[5].split(":")[0] for row in idle}


def test_every_client_has_idle_connections_watched(settings: dict[str, str]) -> None:
    with proxies_between(settings) as between:
        config = load(environ=between.settings)
        arm = BlockingClient(endpoint(config, ARM), read_timeout_s=5.0, max_body_bytes=1 << 20)
        path = "/subscriptions?api-version=2022-12-01"
        token = config.required("azure_access_token")
        queue = open_queue(config, config.azure_queue_name[0])
        try:
            assert arm.exchange("GET", path, {}, None, token).status == 200
            queue.peek_messages()
            with connect(config) as session:
                assert session.value("SELECT 1") == 1
                ports = [proxy.port for proxy in between.proxies.values()]
                # Until the last byte is acknowledged there is another timer.
                until(lambda: [timers(port) for port in ports] == [{KEEP_ALIVE_TIMER}] * 3)
        finally:
            arm.close()
            queue.close()

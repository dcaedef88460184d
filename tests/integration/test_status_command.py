"""``azure-collector status``: what it shows, and what it says when there is nothing to show."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pipeline.commands.status_command import status
from pipeline.config import Config
from pipeline.errors import Unauthorised, Unreachable
from pipeline.logs import log
from tests import secrets_seen
from tests.integration.ops_server import ops_config, serving_pages

TOKEN = secrets_seen.secret("of-the-status-pages-3")


@contextmanager
def collector_of(config: Config) -> Iterator[None]:
    """Its pages answer beside the test."""
    up, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving_pages(config):
            log.bind(action="tried").error("a line \x1b[31mof red\x07, and [bold]markup")
            up.set()
            while not done.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def test_it_shows_text_or_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    config = ops_config(OPS_TOKEN=TOKEN)
    with collector_of(config):
        assert status(config, as_json=False, watch_s=None) == 0
        text = capsys.readouterr().out
        assert status(config, as_json=True, watch_s=None) == 0
        document = json.loads(capsys.readouterr().out)
        with pytest.raises(Unauthorised, match="does not take this OPS_TOKEN"):
            status(replace(config, ops_token=TOKEN + "x"), as_json=False, watch_s=None)
        with pytest.raises(Unauthorised, match="401 - set OPS_TOKEN"):
            status(replace(config, ops_token=None), as_json=False, watch_s=None)
    assert document["state"] == "starting"
    for shown in ("starting", "execute-0", "down", "queue AWAY", "a line ?[31mof red?, and [bold]"):
        assert shown in text
    assert "\x1b" not in text


def test_nothing_listens() -> None:
    config = ops_config()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{config.ops_port} does not answer"):
        status(config, as_json=False, watch_s=None)
    with pytest.raises(Unreachable, match="OPS_PORT is 0"):
        status(replace(config, ops_port=0), as_json=False, watch_s=None)

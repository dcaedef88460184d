"""``azure-collector status``: what a running collector is doing now, as it tells itself."""

from __future__ import annotations

import http.client
import sys
import time
from dataclasses import replace
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live

from pipeline.commands.status_view import view
from pipeline.config import Config
from pipeline.config.kinds import KEYVAULT_PREFIX
from pipeline.config.reading import resolved
from pipeline.config.settings import BY_NAME
from pipeline.errors import EXIT_DONE, DependencyError, Unauthorised, Unreachable
from pipeline.ops.status import Status
from pipeline.undecodable import UNDECODABLE

# For a connection, and for each part of the answer.
ANSWER_LIMIT_S = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
# How often the live view asks.
LIVE_EVERY_S = 2.0
# Of output that is no terminal.
PLAIN_WIDTH = 120
# What to connect to for a collector that listens on all addresses.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # looked up, not bound

WHAT = "collector"


def status(config: Config, *, as_json: bool, watch_s: float | None) -> int:
    """Show the status of the collector at OPS_HOST:OPS_PORT.

    Args:
        config: OPS_HOST, OPS_PORT, OPS_TOKEN.
        as_json: the document as it comes, one line each time.
        watch_s: show it again after so many seconds, until interrupted; None for once, or for a
            live view on a terminal.

    Raises:
        Unreachable: nothing listens there.
        Unauthorised: the token is missing or wrong.
        DependencyError: what listens there is no collector.
    """
    token = _token(config)
    live = sys.stdout.isatty() and not as_json
    try:
        if live:
            _show_live(config, token, watch_s or LIVE_EVERY_S)
        while True:
            body = ask(config, token)
            if as_json:
                print(body.decode(), flush=True)
            else:
                Console(width=PLAIN_WIDTH).print(view(_decoded(body, config)))
            if watch_s is None:
                return EXIT_DONE
            time.sleep(watch_s)
    except KeyboardInterrupt:  # how a view is left
        return EXIT_DONE


def _show_live(config: Config, token: str | None, every_s: float) -> None:
    first = view(_decoded(ask(config, token), config))
    with Live(first, console=Console(), screen=True, auto_refresh=False) as shown:
        while True:
            time.sleep(every_s)
            shown.update(view(_decoded(ask(config, token), config)), refresh=True)


def ask(config: Config, token: str | None) -> bytes:
    """The document. Raises as :func:`status`."""
    host, port = _LOOPBACK.get(config.ops_host, config.ops_host), config.ops_port
    hint = "is a collector running here, with this OPS_HOST and OPS_PORT?"
    if not port:
        raise Unreachable(WHAT, "OPS_PORT is 0, so no collector listens", "set OPS_PORT")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_LIMIT_S)
    try:
        connection.request("GET", "/status", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER_BYTES)
    except OSError as error:
        said = error.strerror or str(error)
        raise Unreachable(WHAT, f"{host}:{port} does not answer ({said})", hint) from error
    except http.client.HTTPException as error:
        raise DependencyError(WHAT, f"{host}:{port} does not speak HTTP", hint) from error
    finally:
        connection.close()
    if answer.status == http.client.UNAUTHORIZED:
        problem = f"{host}:{port} does not take this OPS_TOKEN" if token else f"{host}:{port}: 401"
        raise Unauthorised(WHAT, problem, "set OPS_TOKEN to the collector's own")
    if answer.status == http.client.SERVICE_UNAVAILABLE:
        raise Unreachable(WHAT, f"{host}:{port} is busy", "ask again in a second")
    if answer.status != http.client.OK:
        raise DependencyError(WHAT, f"{host}:{port} answers {answer.status}", hint)
    return body


def _decoded(body: bytes, config: Config) -> Status:
    try:
        return msgspec.json.decode(body, type=Status)
    except UNDECODABLE as error:
        problem = f"what {config.ops_host}:{config.ops_port} answers is no status"
        raise DependencyError(
            WHAT, problem, "is it another program, or another version?"
        ) from error


def _token(config: Config) -> str | None:
    """OPS_TOKEN; from the vault if it is there, and no other secret with it."""
    if config.ops_token is None or not config.ops_token.startswith(KEYVAULT_PREFIX):
        return config.ops_token
    others = [name for name in config.vault_references() if name != "OPS_TOKEN"]
    left_out: dict[str, Any] = {BY_NAME[name].attribute: None for name in others}
    return resolved(replace(config, **left_out)).ops_token

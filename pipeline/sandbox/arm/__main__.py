"""``python -m pipeline.sandbox.arm``: the simulator on its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

import msgspec

from pipeline.errors import EXIT_CONFIG, EXIT_DONE, SandboxError
from pipeline.sandbox.arm.server import Endpoints, serve
from pipeline.sandbox.arm.settings import GRAPH_TOKEN_VARIABLE, TOKEN_VARIABLE, Settings

_HELP = {
    "port": "0 takes any free one",
    "graph_port": "the same for Microsoft Graph",
    "subscriptions": "how many the tenant has",
    "vms": "virtual machines in each subscription; other types grow with them",
    "groups": "resource groups in each subscription",
    "seed": "another seed is another tenant",
    "buckets": "on or off: throttle as ARM does",
    "bucket_size": "reads a full bucket holds",
    "bucket_refill": "reads a second that come back",
    "write_size": "the same for POST, PUT, PATCH and DELETE",
    "write_refill": "the same for POST, PUT, PATCH and DELETE",
    "graph_quota": "Resource Graph queries in a window",
    "graph_window_s": "length of that window, seconds",
    "graph_get_quota": "GETs of a subscription that Resource Graph answers in a window",
    "graph_get_window_s": "length of that window, seconds",
    "latency_ms": "milliseconds that each answer waits",
    "page_size": "rows a page",
    "graph_page_size": "rows a page of Resource Graph, at most",
    "answer_bytes": "a shorter single resource is made that long",
    "users": "people in the directory; its groups, devices and applications grow with them",
    "token": "the only bearer token that is accepted; without it any is",
    "graph_token": "the same for Microsoft Graph",
    "gzip": "on or off: compress for clients that take it",
    "certfile": "PEM certificate chain: serve TLS",
    "keyfile": "PEM key",
    "max_connections": "connections at once",
    "idle_timeout_s": "seconds until an idle connection is closed",
    "cache_mb": "megabytes of answers that are kept ready",
    "log_requests": "how many of the last requests are kept for the statistics",
}
_SWITCH = {"on": "true", "off": "false"}


def settings_from(arguments: list[str]) -> Settings:
    """The settings of a command line.

    Raises:
        msgspec.ValidationError: a value is out of range or not of its type.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.sandbox.arm",
        description="Azure Resource Manager and Microsoft Graph, simulated.",
    )
    defaults = Settings()
    for name in Settings.__struct_fields__:
        default = getattr(defaults, name)
        shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            choices=tuple(_SWITCH) if isinstance(default, bool) else None,
            metavar=None if isinstance(default, bool) else name.rpartition("_")[2].upper(),
            help=f"{_HELP[name]} (default: {shown})",
        )
    given: dict[str, Any] = {
        name: value
        for name, value in vars(parser.parse_args(arguments)).items()
        if value is not None
    }
    for name, value in given.items():
        if isinstance(getattr(defaults, name), bool):
            given[name] = _SWITCH[value]
    return msgspec.convert(given, Settings, strict=False)


# Where each token is read from when no argument gives it.
_TOKEN_VARIABLES = {"token": TOKEN_VARIABLE, "graph_token": GRAPH_TOKEN_VARIABLE}


def _ready(endpoints: Endpoints) -> None:
    # Programs wait for the line with "ready": what else they may want to know stands before it.
    sys.stdout.write(f"graph {endpoints.graph}\nready {endpoints.arm}\n")
    sys.stdout.flush()


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        settings = settings_from(sys.argv[1:])
        for name, variable in _TOKEN_VARIABLES.items():
            if getattr(settings, name) is None:
                settings = msgspec.structs.replace(settings, **{name: os.environ.get(variable)})
    except msgspec.ValidationError as error:
        sys.stderr.write(f"wrong setting: {error}\n")
        return EXIT_CONFIG
    try:
        asyncio.run(serve(settings, _ready))
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())

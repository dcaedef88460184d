"""``python -m pipeline.sandbox.snowflake --data DIR``: serve until SIGTERM or SIGINT.

Prints ``ready http://127.0.0.1:PORT`` once it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

import fakesnow.server as fake
import uvicorn
from fakesnow.transforms import stage

from pipeline.sandbox.snowflake import DATABASE, PASSWORD_VARIABLE, SCHEMA
from pipeline.sandbox.snowflake.access import Access
from pipeline.sandbox.snowflake.cursor import Database
from pipeline.sandbox.snowflake.server import application

HOST = "127.0.0.1"
# For requests under way when a signal comes.
SHUTDOWN_LIMIT_S = 3


class Server(uvicorn.Server):
    """uvicorn that says when it answers, and returns after a signal instead of dying of it."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT. uvicorn's own raises them again before data is closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the ready line."""
        await super().startup(sockets)
        print(f"ready http://{self._address}", flush=True)


def main() -> int:
    """Serve until a signal; 0 when it was asked to stop."""
    arguments = _parser().parse_args()
    _quieten()
    folder: Path = arguments.data
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Stages live beside the data instead of in a temporary folder that nobody removes; what a
    # killed server left in them is of no use to anyone.
    stages = folder / "stages"
    shutil.rmtree(stages, ignore_errors=True)
    # fakesnow makes a temporary folder of its own when it is imported.
    shutil.rmtree(stage.LOCAL_BUCKET_PATH, ignore_errors=True)
    stage.LOCAL_BUCKET_PATH = str(stages.resolve())

    # fakesnow puts the path into SQL as it is, where an apostrophe in a folder's name would end it.
    os.chdir(folder)
    database = Database(Path(), arguments.database.upper(), arguments.schema.upper())
    app = application(database, Access(os.environ.get(PASSWORD_VARIABLE)))
    listener = _listen(arguments.port)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, timeout_graceful_shutdown=SHUTDOWN_LIMIT_S
    )
    server = Server(config, f"{HOST}:{listener.getsockname()[1]}")
    try:
        asyncio.run(server.serve([listener]))
    finally:
        listener.close()
        for session in fake.sessions.values():
            session.close()
        database.close()
        shutil.rmtree(stages, ignore_errors=True)
    return 0


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off; else each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.sandbox.snowflake")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder of the database's file")
    parser.add_argument("--database", default=DATABASE)
    parser.add_argument("--schema", default=SCHEMA)
    return parser


def _quieten() -> None:
    # sqlglot warns of each property that DuckDB has no word for.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    # fakesnow's way of fetching costs DuckDB a copy, and DuckDB says so each time.
    warnings.filterwarnings(
        "ignore", message="Arrow output on a DB-API result", category=UserWarning
    )


if __name__ == "__main__":
    raise SystemExit(main())

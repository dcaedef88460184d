"""``azure-collector run``: the supervisor, with its progress display and its spool folder."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.audit_run import audited
from pipeline.config import Config
from pipeline.disk import is_full
from pipeline.errors import EXIT_DONE, ConfigError, Unreachable
from pipeline.logs import log, setup
from pipeline.run_summary import summary_fields
from pipeline.slots import claim_slot
from pipeline.supervisor import Supervisor

if TYPE_CHECKING:
    from pipeline.progress import Progress

# Collectors on one host that share a SPOOL_DIR, each with a folder of its own in it.
MAX_COLLECTORS = 64


def run_collector(config: Config, *, until_empty: bool) -> int:
    """Run until told to stop, or until the queue is empty.

    Args:
        config: the settings, secrets resolved.
        until_empty: end with 0 once everything is collected and loaded.

    Returns:
        The exit code.
    """
    live = sys.stdout.isatty()
    if live and config.sources.get("LOG_LEVEL", "default") == "default":
        # The display tells what goes on; lines between it would only break it up.
        config = replace(config, log_level="WARNING")
    setup(config.log_level, config.log_format, "supervisor")
    try:
        slot = claim_slot(config.spool_dir, MAX_COLLECTORS)
    except OSError as error:
        if is_full(error):  # which passes, and is no fault of the setting
            raise Unreachable("spool", f"{config.spool_dir} cannot be used: {error}") from error
        raise ConfigError([f"SPOOL_DIR: {config.spool_dir} cannot be used: {error}"]) from error
    with slot, _listening(config) as listener, audited(config, slot.path) as run:
        # What nobody can ask for, no stage has to find out.
        ops_port = config.ops_port if listener is not None else 0
        config = replace(config, spool_dir=slot.path, ops_port=ops_port)
        run.exit_code = asyncio.run(_supervise(config, until_empty, live, listener))
        return run.exit_code


@contextmanager
def _listening(config: Config) -> Iterator[socket.socket | None]:
    """The socket of the status pages, or None if they are off. Raises ConfigError."""
    if not config.ops_port:
        yield None
        return
    from pipeline.ops.server import listen

    listener = listen(config)
    try:
        yield listener
    finally:
        if listener is not None:
            listener.close()


async def _supervise(
    config: Config, until_empty: bool, live: bool, listener: socket.socket | None
) -> int:
    supervisor = Supervisor(config, until_empty=until_empty)
    progress = _progress(supervisor) if live else None
    async with AsyncExitStack() as stack:
        if listener is not None:
            from pipeline.ops.serving import serving

            supervisor.on_tick.append(
                await stack.enter_async_context(serving(config, supervisor, listener))
            )
        with progress or nullcontext():
            code = await supervisor.run()
    if supervisor.problem:
        print(f"azure-collector: {supervisor.problem}", file=sys.stderr)
    if live:
        from pipeline.progress import summary

        summary(supervisor)
    elif code == EXIT_DONE:
        log.bind(action="summary", **summary_fields(supervisor)).info("collected")
    return code


def _progress(supervisor: Supervisor) -> Progress:
    # A service has no terminal, and every process forked from it no use for one's libraries.
    from pipeline.progress import Progress

    progress = Progress()
    supervisor.on_tick.append(lambda: progress.update(supervisor))
    return progress

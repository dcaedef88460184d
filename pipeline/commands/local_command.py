"""``--profile local``: the whole job on this machine, with the sandbox in place of the clouds."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path
from shlex import quote

import msgspec
from dotenv import dotenv_values
from rich.console import Console
from rich.table import Table

from pipeline.config import Config, load
from pipeline.config.settings import BY_NAME
from pipeline.config.sources import SERVICE_PREFIXES
from pipeline.entry_points import COMMANDS, resolve
from pipeline.errors import EXIT_DONE
from pipeline.folders import cache_folder
from pipeline.message_format.examples import all_examples, as_text
from pipeline.sandbox.runner import Sandbox

PROFILE = "local"
# Of the simulated tenant: enough to see several subscriptions side by side.
SUBSCRIPTIONS = 3
REQUEST_TIMEOUT_S = 10.0
# Types shown in the table at the end; the rest is added up.
SHOWN_TYPES = 25

QUERY = """\
SELECT NAME, LOCATION, BODY:properties.hardwareProfile.vmSize::VARCHAR AS VM_SIZE \
FROM RESOURCES WHERE SERVICE = 'compute' ORDER BY COLLECTED_AT DESC, NAME LIMIT 5"""


def run_local(overrides: Mapping[str, str], env_file: Path) -> int:
    """Start the sandbox, send the example messages, collect, show what came.

    The sandbox's settings are stronger than the environment here, so that one's own queue and
    Snowflake are never written to by a trial run.

    Args:
        overrides: settings of the command line.
        env_file: the ``.env`` file.

    Returns:
        The exit code.
    """
    from pipeline.commands.run_command import run_collector

    console = Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())
    folder = cache_folder() / "local"
    console.print("Starting the sandbox: Azurite, the ARM simulator, fakesnow …")
    arm_options = ["--subscriptions", str(SUBSCRIPTIONS)]
    with Sandbox(folder, arm_options=arm_options, say=console.print) as sandbox:
        config = load(PROFILE, overrides, env_file=env_file, sandbox=sandbox.settings)
        _say_ignored({*os.environ, *overrides, *dotenv_values(env_file)}, console)
        sent = _send_examples(config)
        console.print(f"Sent {sent} example messages to the queue {config.azure_queue_name[0]!r}.")
        code = run_collector(config, until_empty=True)
        if code == EXIT_DONE:
            _show_collected(config, console)
    if code == EXIT_DONE:
        _show_how_to_query(sandbox.duckdb_file, folder, console)
    return code


def _say_ignored(given: Collection[str], console: Console) -> None:
    ignored = sorted(n for n in given if n in BY_NAME and n.startswith(SERVICE_PREFIXES))
    if ignored:
        console.print(f"Not used in a local run, which has its own: {', '.join(ignored)}")


def _send_examples(config: Config) -> int:
    subscriptions = _subscriptions(config)
    messages = [
        as_text(message, indent=0)
        for subscription in subscriptions
        for message in all_examples(subscription)
    ]
    sender = resolve(COMMANDS["open_sender"])(config, config.azure_queue_name[0])
    try:
        for message in messages:
            sender.send(message)
    finally:
        sender.close()
    return len(messages)


def _subscriptions(config: Config) -> list[str]:
    """Subscription ids of the simulated tenant."""
    request = urllib.request.Request(  # noqa: S310 - the sandbox's own address
        f"{config.azure_arm_endpoint}/subscriptions?api-version=2022-12-01",
        headers={"Authorization": f"Bearer {config.azure_access_token}"},
    )
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
        answer = msgspec.json.decode(response.read())
    return [subscription["subscriptionId"] for subscription in answer["value"]]


def _show_collected(config: Config, console: Console) -> None:
    with resolve(COMMANDS["connect_snowflake"])(config) as session:
        rows = session.run(
            # Azure's services do not agree on upper and lower case in types and ids.
            "SELECT LOWER(RESOURCE_TYPE), COUNT(*), COUNT(DISTINCT LOWER(RESOURCE_ID))"
            " FROM RESOURCES GROUP BY 1 ORDER BY 3 DESC, 1"
        )
        sizes = session.run(QUERY)
    table = Table(title="In RESOURCES now", title_justify="left")
    table.add_column("resource type")
    table.add_column("resources", justify="right")
    table.add_column("rows", justify="right")
    for kind, count, distinct in rows[:SHOWN_TYPES]:
        table.add_row(kind or "(no type)", f"{distinct:,}", f"{count:,}")
    if rest := rows[SHOWN_TYPES:]:
        table.add_row(
            f"{len(rest)} more types",
            f"{sum(row[2] for row in rest):,}",
            f"{sum(row[1] for row in rest):,}",
        )
    console.print(table)
    console.print(f"\n{QUERY}\n", style="bold")
    for row in sizes:
        console.print("  " + "  ".join(str(value) for value in row))


def _show_how_to_query(duckdb_file: Path, folder: Path, console: Console) -> None:
    # Never broken over lines: what is there to be copied has to work.
    console.print(f"\nThe tables stay in the DuckDB file {duckdb_file}", soft_wrap=True)
    console.print("Ask them again, with any SQL of Snowflake's:\n")
    python = _as_typed(Path(sys.executable))
    query = f'{python} -m pipeline sandbox --data {_as_typed(folder)} --query "{QUERY}"'
    console.print(f"  {query}", soft_wrap=True)


def _as_typed(path: Path) -> str:
    """A path as one would type it in a shell here. A virtual environment need not be on PATH."""
    if path.is_relative_to(Path.cwd()):
        return quote(str(path.relative_to(Path.cwd())))
    if path.is_relative_to(Path.home()):
        return f"~/{quote(str(path.relative_to(Path.home())))}"
    return quote(str(path))

"""The one place where ``pipeline`` names the stages: their entry points, and who is linked to whom.

Names are text and are imported in the process that runs them, so no process carries the libraries
of another stage.
"""

from __future__ import annotations

import importlib
from typing import Any

# What ``ps`` shows of each process begins so.
TITLE = "azure-collector"

STAGES = {
    "fetch": "stages.fetch.stage:Fetch",
    "execute": "stages.execute.stage:Execute",
    "batch": "stages.batch.process:Batch",
    "load": "stages.load.stage:Load",
}

# Processes that another stands by for, because their libraries take seconds to import.
STANDBYS = ("load",)

# Links between kinds of stage; ``execute`` stands for each of its processes.
LINKS = (
    ("fetch", "execute"),  # work and tokens there, "executed" back
    ("execute", "batch"),  # rows
    ("batch", "load"),  # a batch is sealed
    ("fetch", "batch"),  # a batch is sealed, and whose rows it holds; "flush" there
    ("fetch", "load"),  # receipts
)

# Commands that stand on one stage's dependency, owned by that stage.
COMMANDS = {
    "open_sender": "stages.fetch.queue:QueueSender",
    "test_connection": "stages.fetch.connection_checks:test_connection",
    "check_access": "stages.fetch.access_checks:check_access",
    "dead_letter_list": "stages.fetch.dead_letter_commands:list_letters",
    "dead_letter_show": "stages.fetch.dead_letter_commands:show_letter",
    "dead_letter_replay": "stages.fetch.dead_letter_commands:replay_letters",
    "dead_letter_purge": "stages.fetch.dead_letter_commands:purge_letters",
    "connect_snowflake": "stages.load.session:connect",
    "test_snowflake": "stages.load.commands:test_snowflake",
    "init_snowflake": "stages.load.commands:init_snowflake",
    "prune": "stages.load.commands:prune",
}


def resolve(entry: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def title_of(name: str) -> str:
    """What ``ps`` shows of a stage's process, e.g. ``azure-collector: execute 1``."""
    return f"{TITLE}: {name.replace('-', ' ')}"


def kind_of(name: str) -> str:
    """Kind of stage of a process: ``execute`` for ``execute-1``."""
    return name.partition("-")[0]


def processes(execute_processes: int) -> list[str]:
    """Names of all stage processes, in the order of the data."""
    executes = [f"execute-{index}" for index in range(execute_processes)]
    return ["fetch", *executes, "batch", "load"]


def links(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of processes that have a link between them."""
    return [
        (a, b)
        for kind_a, kind_b in LINKS
        for a in names
        for b in names
        if kind_of(a) == kind_a and kind_of(b) == kind_b
    ]

"""``azure-collector validate-config`` and ``show-config``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

import msgspec

from pipeline.config import Config, load
from pipeline.config.rules import PARTS
from pipeline.config.settings import SETTINGS
from pipeline.errors import EXIT_CONFIG, EXIT_DONE, ConfigError

# The profile that starts a sandbox, and so needs no accounts.
SANDBOX_PROFILE = "local"
# Where a setting with no value came from.
NOWHERE = "not set"


def validate_config(
    profile: str | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    *,
    needs: Iterable[str] | None = None,
    out: TextIO | None = None,
) -> int:
    """Say every problem of the settings, or that there is none. Nothing is connected to.

    Args:
        profile, overrides, environ, env_file: as :func:`pipeline.config.load`.
        needs: the same; if not given all parts, or none with the profile that brings a sandbox.
        out: where to; standard output if not given.

    Returns:
        0, or 2 if there is a problem.
    """
    out = out or sys.stdout
    brings_sandbox = profile == SANDBOX_PROFILE
    if needs is None:
        needs = () if brings_sandbox else PARTS
    try:
        config = load(
            profile,
            overrides,
            environ,
            env_file,
            resolve_secrets=False,
            needs=needs,
        )
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=out)
        noun = "problem" if len(error.problems) == 1 else "problems"
        print(f"{len(error.problems)} {noun}", file=out)
        return EXIT_CONFIG
    for warning in config.warnings:
        print(f"warning: {warning}", file=out)
    print(_what_is_fine(config), file=out)
    if brings_sandbox:
        print("ok: the sandbox stands in for Azure and Snowflake", file=out)
    return EXIT_DONE


def _what_is_fine(config: Config) -> str:
    by_source: dict[str, int] = {}
    for source in config.sources.values():
        by_source[source] = by_source.get(source, 0) + 1
    counts = ", ".join(f"{count} from {source}" for source, count in by_source.items())
    text = f"ok: {len(config.sources)} settings ({counts})"
    references = config.vault_references()
    if references:
        text += f"\nok: {len(references)} to be read from {config.azure_keyvault_url}: "
        text += ", ".join(f"{name} (kv:{secret})" for name, secret in references.items())
    return text


def show_config(config: Config, *, as_json: bool = False, out: TextIO | None = None) -> int:
    """Show every setting, its value (secrets masked) and where it came from.

    Args:
        config: the settings; ``kv:`` secrets need not be read.
        as_json: one JSON object by setting name, each with ``value`` and ``source``.
        out: where to; standard output if not given.

    Returns:
        0.
    """
    out = out or sys.stdout
    rows = [
        (setting.name, config.shown(setting.name), config.sources.get(setting.name, NOWHERE))
        for setting in SETTINGS
    ]
    if as_json:
        values = {
            name: {"value": value or None, "source": source if source != NOWHERE else None}
            for name, value, source in rows
        }
        print(msgspec.json.format(msgspec.json.encode(values), indent=2).decode(), file=out)
    elif out.isatty():
        _show_table(rows, config.profile, out)
    else:
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for name, value, source in rows:
            print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}", file=out)
    return EXIT_DONE


def _show_table(rows: list[tuple[str, str, str]], profile: str | None, out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"Settings, profile {profile}" if profile else "Settings")
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value, source in rows:
        style = "dim" if source in (NOWHERE, "default") else ""
        # Text, because a value in brackets would be taken for markup.
        table.add_row(*(Text(cell, style=style) for cell in (name, value, source)))
    Console(file=out).print(table)

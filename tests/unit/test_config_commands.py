"""``validate-config`` and ``show-config``."""

from __future__ import annotations

import io
import json
import os
import pty
import select
from pathlib import Path

from pipeline.commands.config_commands import show_config, validate_config
from pipeline.config import load
from pipeline.config.settings import SETTINGS
from pipeline.errors import EXIT_CONFIG, EXIT_DONE

ENVIRON = {
    "AZURE_QUEUE_NAME": "urgent,requests",
    "AZURE_QUEUE_CONNECTION_STRING": "AccountName=a;AccountKey=c2VjcmV0LWtleQ==",
    "SNOWFLAKE_ACCOUNT": "ORG-ACCOUNT",
    "SNOWFLAKE_USER": "COLLECTOR",
    "SNOWFLAKE_DATABASE": "DB",
    "SNOWFLAKE_SCHEMA": "[red]PUBLIC",
    "SNOWFLAKE_PASSWORD": "hunter2-hunter2",
}
SECRETS = ("c2VjcmV0LWtleQ==", "hunter2-hunter2")


def test_a_good_configuration_says_what_it_found() -> None:
    out = io.StringIO()
    assert validate_config("local", environ=ENVIRON, out=out) == EXIT_DONE
    assert "7 from environment" in out.getvalue()
    assert "profile local" in out.getvalue()


def test_the_profile_with_a_sandbox_needs_no_accounts() -> None:
    out = io.StringIO()
    assert validate_config("local", environ={}, out=out) == EXIT_DONE
    assert "sandbox stands in" in out.getvalue()


def test_a_bad_one_says_every_problem() -> None:
    out = io.StringIO()
    environ = {**ENVIRON, "BATCH_SIZE": "x", "AZURE_QUEUE_NAME": ""}
    assert validate_config(environ=environ, out=out) == EXIT_CONFIG
    first, second, count = out.getvalue().splitlines()
    assert first.startswith("BATCH_SIZE: got 'x' (environment); takes")
    assert second.startswith("AZURE_QUEUE_NAME: not set")
    assert count == "2 problems"


def test_an_unknown_profile_is_a_problem_like_others() -> None:
    out = io.StringIO()
    assert validate_config("none", environ=ENVIRON, out=out) == EXIT_CONFIG
    assert "high-throughput, local, low-memory, standard" in out.getvalue()


def test_warnings_are_said_and_stop_nothing() -> None:
    out = io.StringIO()
    assert validate_config(environ={**ENVIRON, "SNOWFLAKE_ROL": "x"}, out=out) == EXIT_DONE
    assert "warning: SNOWFLAKE_ROL" in out.getvalue()


def test_every_setting_is_shown_with_its_origin_and_no_secret() -> None:
    out = io.StringIO()
    assert show_config(load("local", environ=ENVIRON), out=out) == EXIT_DONE
    shown = {line.split()[0]: line for line in out.getvalue().splitlines()}
    assert list(shown) == [setting.name for setting in SETTINGS]
    assert shown["OPS_PORT"].split()[1:] == ["0", "profile", "local"]
    assert shown["AZURE_QUEUE_NAME"].split()[1:] == ["urgent,requests", "environment"]
    assert shown["SNOWFLAKE_PASSWORD"].split()[1:] == ["***", "environment"]
    assert shown["SNOWFLAKE_ROLE"].split()[1:] == ["not", "set"]
    assert not [secret for secret in SECRETS if secret in out.getvalue()]


def test_for_programs_it_is_json() -> None:
    out = io.StringIO()
    show_config(load(environ=ENVIRON), as_json=True, out=out)
    shown = json.loads(out.getvalue())
    assert shown["BATCH_SIZE"] == {"value": "1000", "source": "default"}
    assert shown["SNOWFLAKE_ROLE"] == {"value": None, "source": None}
    assert shown["SNOWFLAKE_PASSWORD"] == {"value": "***", "source": "environment"}
    assert not [secret for secret in SECRETS if secret in out.getvalue()]


def _all_of(screen: io.FileIO) -> str:
    """What was written to a terminal; one read gives no more than a part of it."""
    shown = b""
    while select.select([screen], [], [], 0)[0]:
        shown += os.read(screen.fileno(), 1 << 16)
    return shown.decode()


def test_on_a_terminal_it_is_a_table_and_values_are_no_markup(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal, open(ours, "rb", buffering=0) as screen:
        show_config(load(environ={**ENVIRON, "SPOOL_DIR": str(tmp_path)}), out=terminal)
        terminal.flush()
        shown = _all_of(screen)
    assert "Settings" in shown
    assert "[red]PUBLIC" in shown
    assert not [secret for secret in SECRETS if secret in shown]

"""The command line: what is a command, what is usage, what ends with which code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import __version__, cli
from pipeline.errors import EXIT_CONFIG, EXIT_DONE
from tests.contract import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from the machine the tests run on, and no .env file."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("AZURE_", "SNOWFLAKE_")):
            monkeypatch.delenv(name)


def usage_error(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["run"]),
        (["--until-empty"], ["run", "--until-empty"]),
        (["--profile", "local"], ["run", "--profile", "local"]),
        (["run"], ["run"]),
        (["send", "x.json"], ["send", "x.json"]),
        (["--version"], ["--version"]),
        (["-h"], ["-h"]),
    ],
)
def test_run_is_the_default_command(given: list[str], meant: list[str]) -> None:
    assert cli._with_command(given) == meant


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error("--help") == EXIT_DONE
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert command in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage_error(command, "--help") == EXIT_DONE
    assert f"azure-collector {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error("--version") == EXIT_DONE
    assert capsys.readouterr().out == f"azure-collector {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["colect"],
        ["--untill-empty"],
        ["run", "file.json"],
        ["send"],
        ["sandbox", "--buckets", "maybe"],
        ["run", "--set", "BATCH_SIZE"],
        ["run", "--set", "=5"],
    ],
)
def test_bad_usage_ends_with_2_and_says_why(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage_error(*arguments) == EXIT_CONFIG
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip()


def test_a_setting_without_its_value_is_not_repeated_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert usage_error("run", "--set", "SNOWFLAKE_PASSWORD:s3same") == EXIT_CONFIG
    assert "NAME=value" in capsys.readouterr().err


def test_missing_settings_end_with_2_and_are_all_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["run"]) == EXIT_CONFIG
    err = capsys.readouterr().err
    for name in ("AZURE_QUEUE_NAME", "SNOWFLAKE_ACCOUNT", "SNOWFLAKE_DATABASE"):
        assert name in err


def test_set_is_stronger_than_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "7")
    assert cli.main(["show-config", "--set", "batch_size=9", "--json"]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "command line" in out
    assert "environment" not in out


def test_a_reader_that_goes_away_is_no_failure_with_a_traceback() -> None:
    command = f"{sys.executable} -m pipeline examples | head -c 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    assert len(done.stdout) == 1


def test_as_a_module_and_with_an_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"azure-collector {__version__}\n")

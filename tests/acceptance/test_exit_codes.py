"""What a user gets who got something wrong: the exit code, every problem at once, what to check."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.sandbox.runner import Sandbox
from tests.acceptance.command import (
    CLOSED_PORT,
    OTHER_KEY,
    START_LIMIT_S,
    Ended,
    command,
    environment,
    with_endpoint,
    with_key,
)
from tests.acceptance.stores import queue, request
from tests.contract import COMMANDS

READS_SETTINGS = (
    "run",
    "test-connection",
    "test-snowflake",
    "validate-config",
    "send",
    "init-snowflake",
    "prune",
)
QUEUE = "AZURE_QUEUE_CONNECTION_STRING"


@pytest.fixture(scope="module", autouse=True)
def never_answered(
    shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[Ended]]:
    """A run whose queue and Snowflake take connections and never say a word, as behind a firewall.

    Begun before the other tests, because it takes its time.
    """
    settings = dict(shared_sandbox.settings, SPOOL_DIR=str(tmp_path_factory.mktemp("spool")))
    with socket.socket() as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        away = _away(settings, int(listener.getsockname()[1]))
        changes = away["queue"] | away["Snowflake"]
        yield pool.submit(command, ["--until-empty"], {**settings, **changes})


def _away(settings: dict[str, str], port: int) -> dict[str, dict[str, str]]:
    endpoint = f"http://127.0.0.1:{port}"
    return {
        "queue": {QUEUE: with_endpoint(settings[QUEUE], endpoint)},
        "ARM": {"AZURE_ARM_ENDPOINT": endpoint},
        "Snowflake": {"SNOWFLAKE_PORT": str(port)},
    }


def by_dependency(ended: Ended) -> dict[str, str]:
    """What was told of each dependency, a line each."""
    lines = ended.err.removeprefix("azure-collector: ").splitlines()
    return {line.partition(":")[0]: line for line in lines}


# ── usage and settings: 2 ────────────────────────────────────────────────────────────────────────


def test_every_command_explains_itself(tmp_path: Path) -> None:
    ended = command(["--help"], {}, cwd=tmp_path)
    assert ended.code == 0
    assert [name for name in COMMANDS if name not in ended.out] == []
    for name in COMMANDS:
        ended = command([name, "--help"], {}, cwd=tmp_path)
        assert ended.code == 0
        assert ended.out.startswith(f"usage: azure-collector {name}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collect"], "invalid choice: 'collect'"),
        (["--until-emty"], "--until-emty"),
        (["run", "now"], "now"),
        (["--profile"], "--profile: expected one argument"),
        (["send"], "FILE"),
        (["--set", "BATCH_SIZE"], "--set takes NAME=value"),
        (["sandbox", "--buckets", "some"], "--buckets"),
        (["sandbox", "--query", "SELECT 1"], "--data DIR"),
        (["examples", "compte"], "did you mean compute?"),
    ],
)
def test_bad_usage(arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = command(arguments, {}, cwd=tmp_path)
    ended.assert_ended(2, said)
    assert ended.out == ""


def test_an_unknown_profile_names_those_there_are(settings: dict[str, str]) -> None:
    ended = command(["--profile", "fast"], settings)
    ended.assert_ended(2, "--profile: got 'fast'", "high-throughput, local, low-memory, standard")


@pytest.mark.parametrize("name", READS_SETTINGS)
def test_settings_that_are_missing_are_all_named_at_once(name: str, tmp_path: Path) -> None:
    arguments = [name, "-"] if name == "send" else [name]
    ended = command(arguments, {}, cwd=tmp_path)
    assert ended.code == 2
    only_snowflake = name == "prune" or "snowflake" in name
    wanted = set() if only_snowflake else {"AZURE_QUEUE_NAME", QUEUE}
    if name not in ("send", "test-connection"):
        wanted |= {f"SNOWFLAKE_{part}" for part in ("ACCOUNT", "USER", "DATABASE", "SCHEMA")}
    assert {name for name in wanted if f"{name}: not set" not in ended.said} == set()


def test_settings_that_are_wrong_are_all_named_at_once_and_where_they_came_from(
    settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("VISIBILITY_TIMEOUT=soon\nMAX_RETRIES=-1\n")
    del settings["VISIBILITY_TIMEOUT"]  # the environment would come before the file
    wrong = {
        "BATCH_SIZE": "many",
        "AZURE_CLOUD": "mars",
        "AZURE_QUEUE_NAME": "Not_A_Queue",
        QUEUE: "AccountKey=a2V5LW9mLW1pbmU=",
    }
    ended = command(
        ["--set", "NUM_THREADS=0", "--set", "BATCH_SZE=7"],
        {**settings, **wrong},
        cwd=tmp_path,
    )
    assert ended.code == 2
    for name, got, source in [
        ("BATCH_SIZE", "'many'", "environment"),
        ("AZURE_CLOUD", "'mars'", "environment"),
        ("AZURE_QUEUE_NAME", "'Not_A_Queue'", "environment"),
        ("VISIBILITY_TIMEOUT", "'soon'", ".env"),
        ("MAX_RETRIES", "'-1'", ".env"),
        ("NUM_THREADS", "'0'", "command line"),
    ]:
        assert re.search(rf"^.*{name}: got {got} \({source}\); takes", ended.err, re.M), name
    assert QUEUE in ended.err
    assert "BATCH_SZE: not a setting (command line); did you mean BATCH_SIZE?" in ended.err


# ── what is not there at the start: 3 ────────────────────────────────────────────────────────────


def test_all_that_refuse_connections_are_told_at_once(settings: dict[str, str]) -> None:
    away = _away(settings, CLOSED_PORT)
    changes = away["queue"] | away["ARM"] | away["Snowflake"]
    ended = command(["--until-empty"], {**settings, **changes})
    assert ended.code == 3
    told = by_dependency(ended)
    assert told.keys() == {"ARM", "Snowflake", "queue"}
    for what, check in [("queue", QUEUE), ("ARM", "ENDPOINT"), ("Snowflake", "SNOWFLAKE_HOST")]:
        assert "refused" in told[what]
        assert check in told[what]
    assert ended.seconds < START_LIMIT_S


def test_one_that_refuses_connections_is_told_alone(settings: dict[str, str]) -> None:
    ended = command(["--until-empty"], {**settings, **_away(settings, CLOSED_PORT)["ARM"]})
    assert ended.code == 3
    assert by_dependency(ended).keys() == {"ARM"}


def test_what_never_answers_is_told_at_once_within_the_limit(never_answered: Future[Ended]) -> None:
    ended = never_answered.result()
    assert ended.code == 3
    assert by_dependency(ended).keys() == {"Snowflake", "queue"}
    assert ended.seconds < START_LIMIT_S


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SNOWFLAKE_PASSWORD": "wr0ng-password"}, ("Incorrect username", "SNOWFLAKE_USER")),
        ({"SNOWFLAKE_ROLE": "NONE"}, ("Role 'NONE'", "SNOWFLAKE_ROLE", "GRANT ROLE")),
        ({"SNOWFLAKE_DATABASE": "NONE"}, ("no database NONE", "SNOWFLAKE_DATABASE")),
        ({"SNOWFLAKE_SCHEMA": "NONE"}, ("no schema AZURE.NONE", "CREATE SCHEMA AZURE.NONE")),
        ({"SNOWFLAKE_WAREHOUSE": "NONE"}, ("no warehouse NONE", "SNOWFLAKE_WAREHOUSE")),
        ({"AZURE_QUEUE_NAME": "absent"}, ("no queue absent", "AZURE_QUEUE_NAME")),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_with_what_to_check(
    changes: dict[str, str], said: tuple[str, ...], settings: dict[str, str]
) -> None:
    ended = command(["--until-empty"], {**settings, **changes})
    ended.assert_ended(3, *said)
    assert ended.seconds < START_LIMIT_S


@pytest.mark.soak
def test_a_role_that_may_read_only_is_told_before_anything_is_collected(
    settings: dict[str, str],
) -> None:
    assert command(["init-snowflake"], settings).code == 0
    ended = command(["--until-empty"], {**settings, "SNOWFLAKE_ROLE": "SANDBOX_READER"})
    ended.assert_ended(
        3,
        "Insufficient privileges to operate on table 'RESOURCES'",
        "azure-collector test-snowflake says which",
    )


def test_a_wrong_account_key_is_told_from_a_queue_that_is_not_there(
    settings: dict[str, str],
) -> None:
    ended = command(["--until-empty"], {**settings, QUEUE: with_key(settings[QUEUE], OTHER_KEY)})
    ended.assert_ended(3, "403 AuthenticationFailed", "check the account key")


def test_a_spool_that_cannot_be_written_is_a_wrong_setting(settings: dict[str, str]) -> None:
    ended = command(["--until-empty"], {**settings, "SPOOL_DIR": "/proc/spool"})
    ended.assert_ended(2, "SPOOL_DIR: /proc/spool cannot be used")


# ── done: 0 ──────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_queue_is_done_at_once(settings: dict[str, str]) -> None:
    ended = command(["--until-empty"], settings)
    assert (ended.code, ended.err) == (0, "")
    assert ended.seconds < 25
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["action"] for line in lines if "stream" not in line][-2:] == ["stopped", "summary"]
    assert {line["level"] for line in lines} == {"INFO"}


def test_what_it_collects_it_says_in_its_summary_without_secrets(settings: dict[str, str]) -> None:
    with queue(settings) as client:
        client.send_message(json.dumps({"api_requests": [request("/subscriptions")]}))
    ended = command(["--until-empty"], {**settings, "LOG_LEVEL": "DEBUG"})
    assert (ended.code, ended.err) == (0, "")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    [summary] = [line for line in lines if line["action"] == "summary"]
    assert (summary["messages"], summary["complete"]) == (1, 1)


# ── told to stop before anything stands: 0 ───────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_settings_are_read_is_a_drain_of_nothing(
    shared_sandbox: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / ".env")  # which is read for as long as somebody may write to it
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline"],
        env=environment(shared_sandbox.settings), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with (tmp_path / ".env").open("w"):
            process.send_signal(number)
            out, _ = process.communicate(timeout=START_LIMIT_S)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")

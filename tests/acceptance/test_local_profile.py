"""``--profile local``: one command, and the whole job has happened on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.folders import cache_folder
from pipeline.message_format.services import SERVICES
from pipeline.sandbox import azurite
from pipeline.sandbox.node import find_node
from pipeline.sandbox.runner import QUEUE, Sandbox
from tests.acceptance.command import Ended, assert_no_secret, command, environment
from tests.acceptance.stores import queue
from tests.integration.azurite_server import running_azurite

# A run that has nothing to download, on a machine that has other tests to do.
RUN_LIMIT_S = 60.0
TERMINAL_LIMIT_S = 60.0
SUBSCRIPTIONS = 3
MESSAGES = SUBSCRIPTIONS * len(SERVICES)
# Columns that came later.
SINCE = ("SOURCE", "CACHED")
RESOURCES = """
    ROW_KEY MESSAGE_ID CORRELATION_ID REQUEST_INDEX SERVICE API_VERSION SUBSCRIPTION_ID
    RESOURCE_GROUP RESOURCE_ID RESOURCE_TYPE NAME LOCATION BODY BODY_HASH ENQUEUED_AT COLLECTED_AT
    BATCH_ID
"""
REQUESTS = """
    MESSAGE_ID REQUEST_INDEX CORRELATION_ID SERVICE METHOD API_VERSION URL SUBSCRIPTION_ID OUTCOME
    STATUS_CODE ERROR_CODE ERROR_MESSAGE PAGES ROWS ATTEMPTS LATENCY_MS AZURE_REQUEST_ID
    DEQUEUE_COUNT STARTED_AT COMPLETED_AT BATCH_ID
"""
# Where an operator's own shell points, made up.
PRODUCTION = {
    "AZURE_QUEUE_NAME": "production",
    "AZURE_QUEUE_CONNECTION_STRING": "AccountName=prod;AccountKey=cHJvZHVjdGlvbi1rZXk=",
    "AZURE_ARM_ENDPOINT": "https://arm.invalid",
    "AZURE_CREDENTIAL": "client-secret",
    "SNOWFLAKE_ACCOUNT": "PROD-ACCOUNT",
    "SNOWFLAKE_PASSWORD": "pr0duction-passw0rd",
    "SNOWFLAKE_HOST": "snowflake.invalid",
}  # fmt: skip


class Home:
    """A user who has run nothing yet, but for Azurite's download."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "a cache [of one's own]"
        self.project = folder / "project"
        self.cache.mkdir()
        self.project.mkdir()
        azurite.install(find_node(azurite.NODE_MAJOR))
        name = f"azurite-{azurite.VERSION}"
        (self.cache / name).symlink_to(cache_folder() / name)
        self.variables = {"AZURE_COLLECTOR_CACHE": str(self.cache)}

    def run(self) -> Ended:
        ended = command(["--profile", "local"], self.variables, cwd=self.project)
        assert ended.code == 0, ended.said
        return ended

    @property
    def data(self) -> Path:
        return self.cache / "local"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(home: Home) -> Ended:
    return home.run()


@pytest.fixture
def database(first: Ended) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file that the first run named, opened as the user would."""
    found = re.search(r"^The tables stay in the DuckDB file (.*)$", first.out, re.MULTILINE)
    assert found, first.out
    with duckdb.connect(found[1], read_only=True) as connection:
        connection.execute("USE COLLECTOR")
        yield connection


def columns(database: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in database.execute(f'DESCRIBE "{table}"').fetchall()}


def test_a_run_ends_in_time_with_what_it_collected(first: Ended) -> None:
    assert first.seconds < RUN_LIMIT_S
    assert first.err == ""
    assert f"Sent {MESSAGES} example messages" in first.out
    assert "In RESOURCES now" in first.out
    assert re.search(r"microsoft\.compute/virtualmachines +│ +300 │", first.out)
    assert "Not used in a local run" not in first.out


def test_the_tables_have_the_columns_of_the_contract(database: duckdb.DuckDBPyConnection) -> None:
    resources = columns(database, "RESOURCES")
    assert list(resources) == [*RESOURCES.split(), *SINCE]
    assert list(columns(database, "REQUESTS")) == [*REQUESTS.split(), *SINCE, "BODY_HASH"]
    assert list(columns(database, "RESOURCES_LATEST")) == [*RESOURCES.split(), *SINCE]
    assert resources["BODY"] == "JSON"
    assert resources["COLLECTED_AT"] == "TIMESTAMP WITH TIME ZONE"


def test_rows_are_unique_and_bodies_query_as_json(database: duckdb.DuckDBPyConnection) -> None:
    rows, keys, nulls = database.execute(
        'SELECT COUNT(*), COUNT(DISTINCT ROW_KEY), COUNT(*) - COUNT(BODY) FROM "RESOURCES"'
    ).fetchall()[0]
    assert rows == keys > 1_000
    assert nulls == 0
    sizes = database.execute(
        "SELECT DISTINCT BODY->>'$.properties.hardwareProfile.vmSize' FROM \"RESOURCES\""
        " WHERE SERVICE = 'compute' AND lower(RESOURCE_TYPE) = 'microsoft.compute/virtualmachines'"
    ).fetchall()
    assert sizes
    assert all(size.startswith("Standard_") for (size,) in sizes)


def test_every_request_of_every_message_is_complete(database: duckdb.DuckDBPyConnection) -> None:
    outcomes = database.execute('SELECT OUTCOME, COUNT(*) FROM "REQUESTS" GROUP BY 1').fetchall()
    assert outcomes == [("complete", MESSAGES)]
    asked = Counter(s for (s,) in database.execute('SELECT SERVICE FROM "REQUESTS"').fetchall())
    assert asked == Counter(dict.fromkeys(SERVICES, SUBSCRIPTIONS))
    said, there = database.execute(
        'SELECT (SELECT SUM("ROWS") FROM "REQUESTS"), (SELECT COUNT(*) FROM "RESOURCES")'
    ).fetchall()[0]
    assert said == there


def test_the_queue_is_empty_afterwards(first: Ended, home: Home) -> None:
    with running_azurite(home.data / "queue") as server:
        settings = {
            "AZURE_QUEUE_CONNECTION_STRING": server.connection_string,
            "AZURE_QUEUE_NAME": QUEUE,
        }
        for suffix in ("", "-poison"):
            with queue(settings, suffix) as client:
                assert client.get_queue_properties().approximate_message_count == 0


def test_the_command_it_prints_shows_rows(first: Ended, home: Home) -> None:
    printed = first.out.rstrip().splitlines()[-1].strip()
    assert "-m pipeline sandbox --data" in printed
    shown = subprocess.run(
        ["sh", "-c", printed],
        env=environment(home.variables),
        cwd=home.project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "VM_SIZE" in shown.stdout
    assert shown.stdout.count("Standard_") == 5
    assert first.out.count("Standard_") == 5


def test_a_query_that_is_wrong_is_told_and_changes_nothing(first: Ended, home: Home) -> None:
    arguments = ["sandbox", "--data", str(home.data), "--query", "SELECT NO_COLUMN FROM RESOURCES"]
    ended = command(arguments, home.variables)
    ended.assert_ended(3, "NO_COLUMN")
    assert "Traceback" not in ended.said


def test_while_a_sandbox_holds_the_folder_a_run_is_refused(home: Home, first: Ended) -> None:
    with Sandbox(home.data, parts=("queue",)):
        ended = command(["--profile", "local"], home.variables, cwd=home.project)
    ended.assert_ended(3, f"{home.data} is in use by another sandbox")


@pytest.fixture(scope="module")
def second(home: Home, first: Ended) -> str:
    """What a terminal got of a second run, in an environment that points at production."""
    (home.project / ".env").write_text("SNOWFLAKE_USER=PRODUCTION_USER\n")
    try:
        shown, code = on_a_terminal({**home.variables, **PRODUCTION}, home.project)
    finally:
        (home.project / ".env").unlink()
    assert code == 0, shown
    assert_no_secret(shown, PRODUCTION)
    return shown


def test_on_a_terminal_there_is_a_live_line_and_a_table_at_the_end(second: str) -> None:
    assert "starting the stages" in second
    for live in ("messages ", "calls ", "throttled scopes ", "rows loaded ", "batches "):
        assert live in second
    summary = second[second.index("This run") :]
    assert re.search(rf"messages +│ {MESSAGES} ", summary)
    assert re.search(rf"complete +│ {MESSAGES} ", summary)
    assert re.search(r"restarts +│ 0 ", summary)
    assert '{"time"' not in second
    # What is there to be copied is one line, however narrow the terminal is.
    last = second.rstrip().splitlines()[-1]
    assert "sandbox --data" in last
    assert last.strip().endswith('LIMIT 5"')


def test_settings_of_ones_own_production_are_not_used_and_that_is_said(second: str) -> None:
    (said,) = re.findall(r"its own: ([A-Z_,\s]+)\nSent", second)
    assert re.split(r",\s+", said.strip()) == sorted([*PRODUCTION, "SNOWFLAKE_USER"])


def test_a_second_run_adds_to_the_first(second: str, home: Home) -> None:
    with duckdb.connect(str(home.data / "snowflake" / "AZURE.db"), read_only=True) as database:
        database.execute("USE COLLECTOR")
        rows, keys = database.execute(
            'SELECT COUNT(*), COUNT(DISTINCT ROW_KEY) FROM "RESOURCES"'
        ).fetchall()[0]
        ledger = database.execute('SELECT OUTCOME, COUNT(*) FROM "REQUESTS" GROUP BY 1').fetchall()
        resources, latest = database.execute(
            'SELECT (SELECT COUNT(DISTINCT RESOURCE_ID) FROM "RESOURCES"),'
            ' (SELECT COUNT(*) FROM "RESOURCES_LATEST")'
        ).fetchall()[0]
    assert rows == keys
    assert ledger == [("complete", 2 * MESSAGES)]
    assert latest == resources < rows


def on_a_terminal(variables: dict[str, str], folder: Path) -> tuple[str, int]:
    """Run the command with a terminal; what that showed without its control codes, and the code."""
    env = environment({**variables, "TERM": "xterm", "COLUMNS": "100"})
    del env["LOG_FORMAT"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "--profile", "local"],
        env=env,
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        # A run that hangs is ended, so that reading ends too.
        limit = threading.Timer(TERMINAL_LIMIT_S, process.kill)
        limit.start()
        shown = b""
        # Reading fails once nobody has the other side open.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)
        process.wait()
        limit.cancel()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    return plain.replace("\r\n", "\n"), process.returncode


def test_settings_that_are_wrong_are_told_in_a_local_run_too(home: Home, first: Ended) -> None:
    ended = command(
        ["--profile", "local", "--set", "BATCH_SIZE=0", "--set", "NUM_THREADS=none"],
        home.variables,
        cwd=home.project,
    )
    ended.assert_ended(2, "BATCH_SIZE: got '0'", "NUM_THREADS: got 'none'")


def test_its_log_is_json_where_that_is_asked_for(home: Home, first: Ended) -> None:
    assert '"action":"summary"' in first.out
    (line,) = [line for line in first.out.splitlines() if '"action":"summary"' in line]
    assert json.loads(line)["messages"] == MESSAGES

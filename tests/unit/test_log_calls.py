"""What the source logs: each call has an action, and none is handed a secret."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from pipeline.config.settings import SETTINGS
from tests.log_calls import LogCall, calls_in, log_calls

SNAKE_CASE = re.compile(r"[a-z]+(_[a-z]+)*")
# Names that hold a secret, and beginnings of names that hold something about one.
SECRETS = {setting.attribute for setting in SETTINGS if setting.secret}
SECRET_NAMES = re.compile(
    r"(^|_)(password|passphrase|secret|secrets|token|private_key|account_key|connection_string"
    r"|authorization|pop_receipt)$"
)
# The sink of the audit log hands on the action that it was given.
HANDS_ON = "pipeline/audit.py:"
PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)


def test_every_call_binds_an_action_in_snake_case() -> None:
    bare = [
        f"{call.place}: {call.action}"
        for call in log_calls()
        if not (call.action and SNAKE_CASE.fullmatch(call.action))
    ]
    assert [place for place in bare if not place.startswith(HANDS_ON)] == []
    assert len(bare) <= 1
    assert len(log_calls()) > 60


def secrets_in(call: LogCall) -> list[str]:
    """Names of secrets in what a call is given, in an f-string or not."""
    names = [
        node.id if isinstance(node, ast.Name) else node.attr
        for given in call.given
        for node in ast.walk(given)
        if isinstance(node, ast.Name | ast.Attribute)
    ]
    return [name for name in names if name in SECRETS or SECRET_NAMES.search(name)]


def test_no_call_is_handed_a_secret() -> None:
    assert {call.place: found for call in log_calls() if (found := secrets_in(call))} == {}


@pytest.mark.parametrize(
    "source",
    [
        'log.bind(action="x").info(f"key {config.snowflake_password}")',
        'log.bind(action="x", who=token).info("hello")',
        'log.bind(action="x").error("{}", self._config.azure_queue_connection_string)',
        'said = log.bind(action="x", key=private_key)\nsaid.warning("hello")',
        'audit.tell("x", "hello", secret=client_secret)',
    ],
)
def test_a_secret_in_a_call_would_be_seen(source: str) -> None:
    [call] = calls_in(source, "made.py")
    assert secrets_in(call) != []
    assert call.action == "x"


@pytest.mark.parametrize(
    "source",
    ['log.info("hello")', 'log.bind(message_id="m").info("x")', 'log.bind(action=f"{x}").info("")'],
)
def test_a_call_without_an_action_would_be_seen(source: str) -> None:
    [call] = calls_in(source, "made.py")
    assert call.action is None


def documented() -> dict[str, set[str]]:
    """Levels of each action, as the page has them."""
    levels: dict[str, set[str]] = {}
    section = PAGE.read_text().partition("## Actions\n")[2].partition("\n## ")[0]
    for action, said in ROW.findall(section):
        assert action not in levels, f"{action} stands twice on the page"
        levels[action] = {word.strip() for word in said.split(",")}
    return levels


def test_the_page_names_every_action_with_its_levels_and_no_other() -> None:
    logged: defaultdict[str, set[str]] = defaultdict(set)
    for call in log_calls():
        if call.action is not None:
            logged[call.action] |= call.levels or {"any"}
    # Written without a call: the counts of lines that were not.
    logged["suppressed"] = {"WARNING", "ERROR", "CRITICAL"}
    assert documented() == logged

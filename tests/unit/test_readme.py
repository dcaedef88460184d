"""The README says what the program does: its settings, its commands, its links."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.cli import _parser
from pipeline.config.sources import profile_names
from pipeline.config.table import markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
# A home folder, but for the one of "you" in an example.
HOME_PATH = re.compile(r"(?<![\w.$}:/-])/(?:home/|Users/|root/)(?!you/)\w+")
TEXT_SUFFIXES = {
    "", ".cfg", ".conf", ".ini", ".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yml",
}  # fmt: skip


def block(name: str) -> str:
    """The shell command under a marker, which stands there once."""
    found = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```\n", README, re.DOTALL)
    assert len(found) == 1, f"{name}: {len(found)} times"
    return str(found[0])


def section(title: str) -> str:
    """The text under a heading of the second level."""
    (_, rest) = README.split(f"\n## {title}\n")
    return rest.split("\n## ")[0]


def commands() -> dict[str, argparse.ArgumentParser]:
    """The program's commands, each with its parser."""
    (choices,) = [
        action.choices
        for action in _parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(choices)


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Long options of a command and of its actions, but for ``--help``."""
    found = {name for action in parser._actions for name in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {name for below in action.choices.values() for name in options(below)}
    return {name for name in found if name.startswith("--")} - {"--help"}


def test_its_settings_are_the_programs() -> None:
    start, end = "<!-- settings: python -m pipeline.config.table -->\n", "\n<!-- end of settings"
    assert README.count(start) == 1
    assert README.split(start)[1].split(end)[0] == markdown()


def test_its_table_of_commands_is_the_programs() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", section("Commands"), re.MULTILINE)
    named = {row.split()[0] for row in rows if not row.startswith("--")}
    assert named == set(commands())


def test_every_option_of_its_table_is_one_of_its_command() -> None:
    for row in re.findall(r"^\| `([^`]+)` \|", section("Commands"), re.MULTILINE):
        name = "run" if row.startswith("--") else row.split()[0]
        assert set(re.findall(r"--[a-z-]+", row)) <= options(commands()[name]), row


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_in_the_pages_is_one_the_program_takes(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE))
    inline = "\n".join(re.findall(r"`([^`\n]+)`", text))
    # Upper-case words stand for one's own values.
    lines = re.findall(
        r"^.*?(?:azure-collector|python -m pipeline) (.*)$", f"{blocks}\n{inline}", re.MULTILINE
    )
    for line in lines:
        words = re.sub(r"\s*(#|>|\|).*", "", line).split()
        if words and words[0] in commands():
            known = options(commands()[words[0]])
            assert {word for word in words if word.startswith("--")} <= known, line
        elif words and words[0].startswith("--"):
            assert {word for word in words if word.startswith("--")} <= options(commands()["run"])
    assert lines or page != "README.md"


def test_its_profiles_are_the_programs() -> None:
    (sentence,) = re.findall(r"Profiles: (.*?)\.\n", section("Settings"), re.DOTALL)
    assert sorted(re.findall(r"`([^`]+)`", sentence)) == profile_names()


@pytest.mark.parametrize(
    ("name", "runs"), [("run", "--profile local"), ("tests", "pytest -m alone")]
)
def test_each_of_the_two_commands_stands_there_once_and_is_complete(name: str, runs: str) -> None:
    command = block(name)
    assert "python3 -m venv" in command
    assert "pip install" in command
    assert "-c constraints.txt" in command
    assert command.endswith(runs)
    assert README.count(f"<!-- command: {name} -->") == 1


def test_there_are_no_other_marked_commands() -> None:
    assert re.findall(r"<!-- command: (\w+) -->", README) == ["run", "tests"]


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / page).read_text("utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (folder / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_be_filled_in(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert not re.findall(r"\b(?:TO BE FILLED|TODO|FIXME|XXX|TBD)\b", text)


def test_no_file_but_a_test_names_what_lies_beside_the_project() -> None:
    naming = [path for path in project_files() if "../shared" in text_of(path)]
    assert [path for path in naming if path.parts[0] != "tests"] == []


def test_no_file_names_a_path_of_a_development_machine() -> None:
    here = str(ROOT)
    for path in project_files():
        text = text_of(path)
        assert not HOME_PATH.findall(text), path
        assert here not in text, path


def project_files() -> list[Path]:
    """What git tracks, or would; relative to the project's root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = [Path(name) for name in listed.stdout.splitlines()]
    here = Path(__file__).relative_to(ROOT)
    return [p for p in names if p.suffix in TEXT_SUFFIXES and p != here and (ROOT / p).is_file()]


def text_of(path: Path) -> str:
    return (ROOT / path).read_text("utf-8")

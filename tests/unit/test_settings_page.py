"""docs/settings.md is what the code says: each setting, its limits, what profiles make of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.config.page import PROFILES, page
from pipeline.config.settings import BY_NAME, SETTINGS
from pipeline.config.sources import profile_names

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")
(HEAD, *SECTIONS) = PAGE.split("\n## ")
ROWS = re.compile(r"^\| `([A-Z_]+)` \|(.*)\|$", re.MULTILINE)


def profile_rows() -> dict[str, list[str]]:
    """Cells of the table of profiles, by setting: the default, then one for each profile."""
    (section,) = [text for text in SECTIONS if text.startswith("Profiles side by side")]
    return {
        name: [cell.strip() for cell in cells.split("|")] for name, cells in ROWS.findall(section)
    }


def test_it_is_what_the_command_prints() -> None:
    assert page() + "\n" == PAGE, "python -m pipeline.config.page > docs/settings.md"


def test_every_setting_has_one_row_and_nothing_else_does() -> None:
    sections = [text for text in SECTIONS if not text.startswith(("Profiles", "Not settings"))]
    named = [name for text in sections for name, _ in ROWS.findall(text)]
    assert sorted(named) == sorted(setting.name for setting in SETTINGS)


def test_every_profile_has_a_column() -> None:
    assert sorted(PROFILES) == profile_names()


@pytest.mark.parametrize(("column", "profile"), [*enumerate(PROFILES, start=1)])
def test_a_profiles_column_is_what_a_run_with_it_gets(column: int, profile: str) -> None:
    config = load(profile, {}, {}, needs=(), resolve_secrets=False)
    said = {name: cells[column].strip("`") for name, cells in profile_rows().items()}
    told = {name for name, source in config.sources.items() if source == f"profile {profile}"}
    assert {name for name, text in said.items() if text} == told
    for name in told:
        assert getattr(config, name.lower()) == BY_NAME[name].parse(said[name]), name

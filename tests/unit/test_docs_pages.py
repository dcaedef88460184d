"""What the pages name is there: commands and options, settings, files, headings, metrics, texts.

Whether the commands do what the pages show is :mod:`tests.acceptance.test_docs_commands`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_environment_variables

import pipeline
from pipeline import errors, tables
from pipeline.cli import _parser
from pipeline.config import load
from pipeline.config.settings import BY_NAME
from pipeline.folders import CACHE_VARIABLE, STATE_VARIABLE
from pipeline.identity.clouds import CLOUDS
from pipeline.metrics.catalogue import METRICS
from stages.load import migrations, schema
from stages.load.grants import reader_grants
from stages.load.privileges import on_tables
from tests.docs_pages import (
    PAGES,
    ROOT,
    assigned_names,
    blocks,
    codes,
    inline_code,
    program_calls,
    text_of,
)
from tests.said_in_code import is_said

OPERATIONS, SECURITY = "docs/operations.md", "docs/security.md"
# Variables that are no settings: the platform's, and folders that are named before settings are.
HEARD = {"HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "TMPDIR", CACHE_VARIABLE, STATE_VARIABLE}
# What OpenTelemetry's SDK reads.
OTEL = {
    name
    for module in (environment_variables, sdk_environment_variables)
    for name in vars(module)
    if name.startswith("OTEL_")
}
# Names in upper case that are Azure's, Snowflake's or Kubernetes' own.
FOREIGN = {
    "AUTO_RESUME", "AUTO_SUSPEND", "QUERY_HISTORY", "QUERY_TAG", "RSA_PUBLIC_KEY", "PARSE_JSON",
    "TRY_PARSE_JSON", "SCM_RIGHTS",
}  # fmt: skip
# Stands for a setting of one's own.
ANY_NAME = "NAME"
TOPS = ("pipeline", "stages", "tests", "docs", "bench", "deploy", ".ci")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command, ``dead-letter list`` and its like by both words."""
    found: dict[str, argparse.ArgumentParser] = {}

    def add(parser: argparse.ArgumentParser, words: str) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, below in action.choices.items():
                    found[f"{words}{name}"] = below
                    add(below, f"{words}{name} ")

    add(_parser(), "")
    return found


PARSERS = parsers()


# ── commands and settings ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_is_one_that_the_program_takes(page: str) -> None:
    for words in program_calls(page):
        plain = [word for word in words if not word.startswith("-")]
        if not words or words[0] in ("--help", "--version"):
            continue
        name = "run" if words[0].startswith("-") else plain[0]
        if " ".join(plain[:2]) in PARSERS:
            name = " ".join(plain[:2])
        assert name in PARSERS, f"{page}: {words}"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        taken = {text for action in PARSERS[name]._actions for text in action.option_strings}
        assert given <= taken, f"{page}: {words}"


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_that_is_given_a_value_is_a_setting_or_used_in_the_page(page: str) -> None:
    text = text_of(page)
    for name in assigned_names(page):
        known = name in BY_NAME or name in HEARD or name in FOREIGN or name == ANY_NAME
        assert known or f"${name}" in text, f"{page}: {name}="


@pytest.mark.parametrize("page", PAGES)
def test_every_name_in_upper_case_is_one_of_ours(page: str) -> None:
    columns = {name for table in schema.COLUMNS.values() for name in table.names}
    known = {*BY_NAME, *HEARD, *OTEL, *FOREIGN, *schema.OBJECTS, *columns, migrations.RECORD}
    known |= {*tables.REQUESTS.names, *columns_of_views()}
    for code in inline_code(page):
        if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", code):
            assert code in known, f"{page}: {code}"


def columns_of_views() -> set[str]:
    return set(re.findall(r'AS "([A-Z_]+)"', migrations.script()))


def test_a_setting_in_a_page_has_a_value_that_it_takes(tmp_path: Path) -> None:
    key = tmp_path / "key.p8"
    key.touch()
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "sh" and all("=" in line for line in block.lines):
                given = dict(line.split("=", 1) for line in block.lines)
                if "SNOWFLAKE_PRIVATE_KEY_FILE" in given:
                    given["SNOWFLAKE_PRIVATE_KEY_FILE"] = str(key)
                load(None, given, {}, needs=(), resolve_secrets=False)


# ── files, links, headings ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: str) -> None:
    for target, _, anchor in links(page):
        file = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), f"{page}: {target}#{anchor}"


def links(page: str) -> Iterator[tuple[str, str, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" not in target:
            yield target.partition("#")


def anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    for code in inline_code(page):
        # A folder, with its slash, may be one that is made in a run.
        if re.fullmatch(r"[\w.-]+(/[\w.*-]+)+", code) and code.split("/")[0] in TOPS:
            assert list(ROOT.glob(code)), f"{page}: {code}"


def test_the_map_leads_to_every_page() -> None:
    mapped = {target for target, _, _ in links("docs/README.md")}
    there = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert there - {"README.md"} <= mapped


def test_the_changelog_begins_with_this_version() -> None:
    (first, *_) = re.findall(r"^## \[?([\w.]+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert first in (pipeline.__version__, "Unreleased")


# ── what the program says ────────────────────────────────────────────────────────────────────────


def symptoms() -> list[str]:
    """All that the page for the person on call quotes as seen: exact texts, actions, metrics."""
    found: list[str] = []
    for paragraph in re.split(r"\n(?=\n|- \*\*|\|)", text_of(OPERATIONS)):
        if "**Seen**" in paragraph:
            found += codes(paragraph)
    for table in re.findall(r"^\| (?:text|reason) \|.*?(?=\n\n)", text_of(OPERATIONS), re.M | re.S):
        for row in table.splitlines()[2:]:
            found += codes(row.split(" | ")[0])
    return found


def test_every_symptom_is_something_that_the_program_says() -> None:
    found = symptoms()
    assert len(found) > 60
    metrics = {metric.full_name for metric in METRICS}
    told = {*metrics, *schema.OBJECTS, *schema.COLUMNS["RESOURCES"].names, *tables.REQUESTS.names}
    missing = [one for one in found if one not in told and not is_said(one)]
    assert missing == []


def test_a_text_that_nobody_says_is_found_out() -> None:
    assert is_said("a load failed and is tried again in … s: …")
    assert not is_said("a load failed and is never tried again")
    assert not is_said("queue … is a teapot")


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_is_in_the_catalogue(page: str) -> None:
    named = set(re.findall(r"azure_collector_\w+", text_of(page)))
    shapes = {m.full_name + end for m in METRICS for end in ("", "_sum", "_count", "_bucket")}
    assert named <= shapes


def test_the_exit_codes_are_the_programs() -> None:
    told = re.findall(r"^\| (\d) \|", text_of(OPERATIONS), re.MULTILINE)
    known = [getattr(errors, name) for name in dir(errors) if name.startswith("EXIT_")]
    assert sorted(map(int, told)) == sorted(known)


# ── security ─────────────────────────────────────────────────────────────────────────────────────


def test_the_grants_to_load_are_those_that_are_tried() -> None:
    config = load(None, {}, {}, needs=(), resolve_secrets=False)
    found = re.findall(r"GRANT ([A-Z, ]+) ON TABLE \S+?\.(\w+) TO", text_of(SECURITY))
    told = {table: set(kinds.split(", ")) for kinds, table in found}
    assert told == {table: set(kinds) for table, kinds in on_tables(config).items()}


def test_the_grants_to_read_are_those_that_are_granted() -> None:
    for statement in reader_grants("ANALYST", "CLOUD", "AZURE"):
        assert f"{statement};" in text_of(SECURITY)


def test_the_hosts_are_those_of_the_clouds() -> None:
    text = text_of(SECURITY)
    for cloud in CLOUDS.values():
        hosts = [cloud.authority, *(api.origin for api in cloud.apis.values())]
        for host in hosts:
            assert f"`{host.removeprefix('https://')}`" in text
        assert f"queue.{cloud.storage_suffix}`" in text
        assert f"{cloud.vault_suffix}`" in text


# ── which commands are run ───────────────────────────────────────────────────────────────────────


def test_the_sandbox_part_of_the_quickstart_is_run_whole() -> None:
    found = [block for block in blocks("docs/quickstart.md") if block.kind == "console"]
    headings = [block.heading for block in found]
    first, last = headings.index("In the sandbox"), headings.index("Ask the tables")
    assert [block.heading for block in found[first : last + 1] if not block.is_run] == []
    assert all(not block.is_run for block in found[last + 1 :])
    assert sum(len([*block.typed()]) for block in found[first : last + 1]) >= 15


def test_what_is_not_run_says_why() -> None:
    reasons = {b.not_run for page in PAGES for b in blocks(page) if b.kind == "console"}
    assert all(reason == "" or reason.startswith(("needs ", "CI ")) for reason in reasons)

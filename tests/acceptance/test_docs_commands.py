"""The commands that the pages tell a reader to type are typed here, and print what is shown.

Which blocks those are: :mod:`tests.docs_pages`. They are typed into one shell, page after page, as
by one reader who tries everything: the quickstart as far as a collector runs, the other pages on
that collector, then the quickstart to its end. Only the page for developers, who change the
project, has a shell of its own in a copy of it.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.acceptance.command import ROOT
from tests.acceptance.docs_shell import Shell, shell
from tests.docs_pages import PAGES, Block, Typed, blocks, is_shown

QUICKSTART = "docs/quickstart.md"
DEVELOPERS = "docs/adding-a-service.md"
# What the developer's commands need of it.
COPIED = ("pipeline", "stages")
# The heading of the quickstart before which the other pages are read.
STOP = "Stop it"
OPS_PORT = "8080"


def test_what_is_typed_prints_what_is_shown(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = {"OPS_PORT": port, "NUM_PROCESSES": "1", "LOAD_STANDBY": "false"}
    # Where the pages say 8080 a free port is taken, for other tests' sake.
    with shell(tmp_path, variables, {OPS_PORT: port}) as reader:
        for block in in_order():
            check(reader, block)


def test_a_service_is_added_as_the_page_tells(tmp_path: Path) -> None:
    project = tmp_path / "home"
    project.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, project / name)
    with shell(tmp_path, {}, {}, project) as developer:
        for block in run(DEVELOPERS):
            check(developer, block)


def in_order() -> list[Block]:
    """Every block that the reader tries, in the reader's order."""
    quickstart = run(QUICKSTART)
    at = [block.heading for block in quickstart].index(STOP)
    others = [b for page in PAGES if page not in (QUICKSTART, DEVELOPERS) for b in run(page)]
    return [*quickstart[:at], *others, *quickstart[at:]]


def run(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.is_run]


def check(one: Shell, block: Block) -> None:
    """Type all of a block."""
    for typed in block.typed():
        printed, code = one.type(typed.text)
        where = f"{block.page}, line {typed.line}: {typed.text}"
        assert code == 0, "\n".join([where, *printed])
        assert missing(typed, printed) == [], "\n".join([where, *printed])


def missing(typed: Typed, printed: list[str]) -> list[str]:
    """Lines that are shown and were not printed, or not in this order."""
    left = iter(printed)
    return [shown for shown in typed.shown if not any(is_shown(shown, line) for line in left)]


def test_what_is_not_printed_is_found_out() -> None:
    typed = Typed("true", ("ok: … settings", "second"), 1)
    assert missing(typed, ["ok: 50 settings", "between", "second"]) == []
    assert missing(typed, ["second", "ok: 50 settings"]) == ["second"]
    assert missing(typed, ["FAILED: 50 settings", "second"]) == ["ok: … settings", "second"]

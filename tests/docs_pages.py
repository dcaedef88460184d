"""The pages of the documentation as tests read them: their blocks, commands and what is shown.

Which blocks are run is one rule:

- ```` ```console ```` is what a person types, each command after ``$ ``, its further lines after
  ``> ``, and below it what is printed. It is run, and what is printed has to be what is shown.
- ``<!-- not run: WHY -->`` on the line above a block says why it is not. It is still parsed.
- Any other block (``sh``, ``sql``, ``json`` …) is to be read, and parsed where it holds commands.

In what is shown, ``…`` stands for any text, and lines may be left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"))
    if path.is_file()
)
SHELLS = ("console", "sh", "bash")

_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_PROGRAM = re.compile(r"(?:^|[\s/`|;(&])(?:azure-collector|python3? -m pipeline)(?=\s|$)")
_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
# What ends the words of one command in a shell.
_ENDS = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "#", ")", ");", "do", "done"})


@dataclass(frozen=True)
class Typed:
    """One command of a console block.

    Attributes:
        text: as a shell takes it, over several lines if it is so long.
        shown: lines below it.
        line: of the page, from 1.
    """

    text: str
    shown: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: relative to the project, e.g. ``docs/quickstart.md``.
        kind: the word behind the fence, or "".
        lines: between the fences, without what they are indented by.
        line: of the page that the first of them is, from 1.
        heading: the nearest above it.
        not_run: why it is not run, or "".
    """

    page: str
    kind: str
    lines: tuple[str, ...]
    line: int
    heading: str
    not_run: str

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return self.kind == "console" and not self.not_run

    def typed(self) -> Iterator[Typed]:
        """The commands of a console block, each with what is shown below it."""
        found: list[tuple[list[str], list[str], int]] = []
        for number, line in enumerate(self.lines, start=self.line):
            if line.startswith("$ "):
                found.append(([line[2:]], [], number))
            elif not found:
                raise ValueError(f"{self.page}, line {number}: a console block begins with `$ `")
            elif line.startswith("> ") or line == ">":
                found[-1][0].append(line[2:])
            elif line:
                found[-1][1].append(line)
        for command, shown, number in found:
            yield Typed("\n".join(command), tuple(shown), number)


def text_of(page: str) -> str:
    """The page."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    found: list[Block] = []
    heading = kind = not_run = above = ""
    inside: list[str] | None = None
    first = indent = 0
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        fence = re.fullmatch(r"( *)```(\w*)", line)
        if inside is None:
            if fence is not None:
                inside, first, indent, kind = [], number + 1, len(fence[1]), fence[2]
                marked = _NOT_RUN.fullmatch(above.strip())
                not_run = marked[1] if marked else ""
            elif line.startswith("#"):
                heading = line.lstrip("#").strip()
            above = line
        elif fence is not None and not fence[2]:
            found.append(Block(page, kind, tuple(inside), first, heading, not_run))
            inside = None
        else:
            inside.append(line[indent:])
    if inside is not None:
        raise ValueError(f"{page}: a block that begins on line {first} does not end")
    return found


def shell_lines(page: str) -> Iterator[str]:
    """Every command line of a page: of its shell blocks and of its text."""
    for block in blocks(page):
        if block.kind == "console":
            yield from (typed.text for typed in block.typed())
        elif block.kind in SHELLS:
            yield from "\n".join(block.lines).replace("\\\n", " ").splitlines()
    yield from inline_code(page)


def inline_code(page: str) -> list[str]:
    """What stands in backticks outside of blocks, on one line each."""
    return codes(re.sub(r"^ *```.*?^ *```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE))


def codes(text: str) -> list[str]:
    """What stands in one or two backticks of this text; it may go over a line's end."""
    return [" ".join(code.split()) for _, code in _CODE.findall(text)]


def program_calls(page: str) -> Iterator[list[str]]:
    """The words behind every ``azure-collector`` of a page, up to the command's end."""
    for line in shell_lines(page):
        for found in _PROGRAM.finditer(line):
            yield _words(line[found.end() :])


def _words(rest: str) -> list[str]:
    # In a text in double backticks, single ones end a command.
    lexer = shlex.shlex(rest.partition("`")[0], posix=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    try:
        for word in lexer:
            if word in _ENDS:
                break
            words.append(word.rstrip(";)"))
            if word.endswith((";", ")")):
                break
    except ValueError:  # a quote that ends on another line
        return words
    return words


def assigned_names(page: str) -> set[str]:
    """Variables that the page's shell lines and settings give a value, as ``NAME=…``."""
    names: set[str] = set()
    for line in shell_lines(page):
        for word in re.split(r"[\s;]+", line):
            if found := _ASSIGNMENT.match(word):
                names.add(found[0][:-1])
    return names


def is_shown(shown: str, printed: str) -> bool:
    """Whether a printed line is what the page shows, ``…`` standing for any text."""
    parts = [re.escape(part) for part in " ".join(shown.split()).split("…")]
    return re.fullmatch(".*".join(parts), " ".join(printed.split())) is not None

"""What the program can say: the texts in its code, with ``…`` where a value is put in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A value that is put into a text: {}, {:.1f}, {name}; and what stands for one in a page.
_BLANK = re.compile(r"\{[^{}\s]*\}")
GAP = "…"


@cache
def texts() -> tuple[str, ...]:
    """Every text of the program's code and of its SQL, on one line each."""
    found = [
        text
        for top in ("pipeline", "stages")
        for path in sorted((ROOT / top).rglob("*.py"))
        for text in _texts_of(path)
    ]
    return tuple(" ".join(text.split()) for text in found)


def is_said(quoted: str) -> bool:
    """Whether one text of the code has all of these words, in their order, ``…`` for any others."""
    parts = [" ".join(part.split()) for part in quoted.split(GAP)]
    wanted = re.compile(".*".join(re.escape(part) for part in parts if part))
    return any(wanted.search(text) for text in texts())


def _texts_of(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node) for node in _documentation(tree)}
    within = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation | within
        ):
            yield _BLANK.sub(GAP, node.value)


def _documentation(tree: ast.Module) -> Iterator[ast.Constant]:
    """Docstrings: what stands there is not said."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value

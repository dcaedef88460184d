"""What the source logs: every call of ``log`` and of the audit log in pipeline/ and stages/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The sandbox stands in for others' services and logs nothing.
SOURCES = sorted(
    path
    for top in ("pipeline", "stages")
    for path in (ROOT / top).rglob("*.py")
    if "sandbox" not in path.parts
)
LEVELS = ("trace", "debug", "info", "success", "warning", "error", "critical", "exception")
AUDIT = ("tell", "tell_first")


@dataclass(frozen=True)
class LogCall:
    """One call.

    Attributes:
        place: file and line.
        levels: in upper case, those that it may have; none if that is for others to say.
        action: that it binds; None if there is none, or none that is a constant.
        given: all that is handed to it and to its ``bind``.
        stream: ``log`` or ``audit``.
    """

    place: str
    levels: frozenset[str]
    action: str | None
    given: tuple[ast.expr, ...]
    stream: str


@cache
def log_calls() -> tuple[LogCall, ...]:
    """Every one of the source."""
    return tuple(
        call for path in SOURCES for call in calls_in(path.read_text(), str(path.relative_to(ROOT)))
    )


def calls_in(source: str, name: str) -> Iterator[LogCall]:
    """Every one of a file."""
    tree = ast.parse(source)
    constants = _constants(tree)
    bound = _bound(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        place = f"{name}:{node.lineno}"
        method = node.func.attr
        if method in AUDIT and ast.unparse(node.func.value) in ("audit", "self._audit"):
            given = (*node.args, *(word.value for word in node.keywords))
            said = [word.value for word in node.keywords if word.arg == "level"]
            levels = _levels(said[0], tree) if said else frozenset({"INFO"})
            action = _text(node.args[0], constants) if node.args else None
            yield LogCall(place, levels, action, given, "audit")
        elif method in (*LEVELS, "log") and (chain := _chain(node.func.value, bound)) is not None:
            words = [word for call in chain for word in call.keywords]
            actions = [word.value for word in words if word.arg == "action"]
            levels = frozenset({method.upper()})
            if method == "log":
                levels = _levels(node.args[0], tree)
            given = (
                *node.args,
                *(word.value for word in [*words, *node.keywords]),
                *(one for call in chain for one in call.args),
            )
            action = _text(actions[-1], constants) if actions else None
            yield LogCall(place, levels, action, given, "log")


def _chain(node: ast.expr, bound: dict[str, ast.expr]) -> list[ast.Call] | None:
    """The calls between ``log`` and what is called on it, in their order; None if it is no log."""
    if isinstance(node, ast.Name) and node.id == "log":
        return []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        before = _chain(node.func.value, bound)
        return None if before is None else [*before, node]
    if (value := bound.get(ast.unparse(node))) is not None:
        return _chain(value, {})
    return None


def _bound(tree: ast.AST) -> dict[str, ast.expr]:
    """Names that a log with something bound to it is kept under."""
    return {
        ast.unparse(node.targets[0]): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _chain(node.value, {}) is not None
    }


def _constants(tree: ast.Module) -> dict[str, str]:
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _levels(node: ast.expr, tree: ast.Module) -> frozenset[str]:
    """Levels that are named in what is given, or in what a variable was set to."""
    given: list[ast.expr] = [node]
    if isinstance(node, ast.Name):
        given = [
            one.value
            for one in ast.walk(tree)
            if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == node.id
        ]
    named = {
        one.value
        for value in given
        for one in ast.walk(value)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }
    return frozenset(name for name in named if name.lower() in LEVELS)


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None

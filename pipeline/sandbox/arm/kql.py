"""A small part of the Kusto query language: what collectors ask Resource Graph.

A table, then any of ``where``, ``project``, ``limit``/``take``, ``order by``/``sort by``,
``count`` and ``summarize count() by``. What is beyond it is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

STEPS_MAX = 50
CONDITIONS_MAX = 50

Row = dict[str, Any]

_QUOTED = r"'[^']*'|\"[^\"]*\""
_COLUMN = r"[A-Za-z_][\w.]*(?:\[(?:'[^']*'|\"[^\"]*\")\])*"
_PIPE = re.compile(rf"(?:{_QUOTED}|[^|'\"])+")
_AND = re.compile(r"\s+and\s+(?=(?:[^'\"]|'[^']*'|\"[^\"]*\")*$)", re.IGNORECASE)
_COMPARE = re.compile(
    rf"(?:tostring|tolower)?\(?\s*({_COLUMN})\s*\)?\s*"
    rf"(=~|==|!=|!~|contains|startswith|has)\s*({_QUOTED}|true|false|-?\d+)",
    re.IGNORECASE,
)
_AMONG = re.compile(rf"({_COLUMN})\s+(in~?)\s*\(([^)]*)\)", re.IGNORECASE)
_EMPTY = re.compile(rf"(isnotempty|isempty)\(\s*({_COLUMN})\s*\)", re.IGNORECASE)
_PROJECTED = re.compile(
    rf"(?:([A-Za-z_]\w*)\s*=\s*)?(?:tostring\(\s*)?({_COLUMN})\s*\)?", re.IGNORECASE
)
_ORDERED = re.compile(rf"({_COLUMN})(?:\s+(asc|desc))?", re.IGNORECASE)
_SUMMARIZED = re.compile(r"(?:(\w+)\s*=\s*)?count\(\)\s+by\s+(.+)", re.IGNORECASE | re.DOTALL)


class QueryError(ValueError):
    """A query that is not understood; the text says which part."""


class Condition(msgspec.Struct, frozen=True):
    """One comparison: column, operator in lower case, texts compared with."""

    column: str
    operator: str
    values: tuple[str, ...]

    def holds(self, row: Row) -> bool:
        """Whether a row fulfils it."""
        value = look_up(row, self.column)
        if self.operator in {"isempty", "isnotempty"}:
            return (value in (None, "", [], {})) == (self.operator == "isempty")
        text = _text(value)
        if self.operator in {"==", "!=", "in"}:
            return (text in self.values) != (self.operator == "!=")
        text, wanted = text.lower(), [each.lower() for each in self.values]
        if self.operator in {"=~", "!~", "in~"}:
            return (text in wanted) != (self.operator == "!~")
        if self.operator == "startswith":
            return text.startswith(wanted[0])
        return wanted[0] in text


class Query(msgspec.Struct, frozen=True):
    """A query taken apart.

    Attributes:
        table: in lower case.
        conditions: those that stand before any other step; all must hold.
        steps: the others, in their order: a verb and what makes rows of rows.
        has_id: whether the rows still have the column ``id``, without which there is no paging.
    """

    table: str
    conditions: tuple[Condition, ...]
    steps: tuple[tuple[str, Callable[[list[Row]], list[Row]]], ...]
    has_id: bool


def parse(text: str) -> Query:
    """Take a query apart.

    Raises:
        QueryError: it has a part beyond what is understood here.
    """
    parts = [part.strip() for part in _PIPE.findall(text) if part.strip()]
    if not parts or len(parts) > STEPS_MAX:
        raise QueryError(f"a query has 1 to {STEPS_MAX} parts joined by '|', got {len(parts)}")
    table = "resources"
    if re.fullmatch(r"\w+", parts[0]) and parts[0].lower() != "count":
        table = parts.pop(0).lower()
    conditions: list[Condition] = []
    steps: list[tuple[str, Callable[[list[Row]], list[Row]]]] = []
    has_id = True
    for part in parts:
        verb, _, rest = part.partition(" ")
        verb, rest = verb.lower(), rest.strip()
        if verb == "where":
            found = [_condition(piece.strip()) for piece in _AND.split(rest)]
            if len(conditions) + len(found) > CONDITIONS_MAX:
                raise QueryError(f"at most {CONDITIONS_MAX} conditions are taken")
            if steps:
                steps.append(("where", _filter(found)))
            else:
                conditions.extend(found)
            continue
        step, keeps_id = _step(verb, rest, part)
        steps.append((verb, step))
        has_id = has_id and keeps_id
    return Query(table, tuple(conditions), tuple(steps), has_id)


def look_up(row: Row, column: str) -> Any:
    """The value at a dotted path, names in any case; ``None`` if there is none."""
    value: Any = row
    for name in re.findall(r"[\w-]+", column):
        if not isinstance(value, dict):
            return None
        if name in value:
            value = value[name]
            continue
        lower = name.lower()
        value = next((each for key, each in value.items() if key.lower() == lower), None)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _rank(value: Any) -> tuple[float, str]:
    """Numbers before texts, each in their own order."""
    if isinstance(value, int | float):
        return value, ""
    return float("inf"), _text(value)


def _condition(text: str) -> Condition:
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if (found := _COMPARE.fullmatch(text)) is not None:
        return Condition(found[1], found[2].lower(), (found[3].strip("'\""),))
    if (found := _AMONG.fullmatch(text)) is not None:
        values = [value.strip().strip("'\"") for value in found[3].split(",")]
        return Condition(found[1], found[2].lower(), tuple(values))
    if (found := _EMPTY.fullmatch(text)) is not None:
        return Condition(found[2], found[1].lower(), ())
    raise QueryError(f"condition not understood: {text!r}")


def _filter(conditions: list[Condition]) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [row for row in rows if all(each.holds(row) for each in conditions)]


def _step(verb: str, rest: str, part: str) -> tuple[Callable[[list[Row]], list[Row]], bool]:
    if verb in {"limit", "take"} and rest.isdecimal() and len(rest) < 10:
        count = int(rest)
        return (lambda rows: rows[:count]), True
    if verb == "project":
        columns = _columns(rest)
        return (
            lambda rows: [{name: look_up(row, at) for name, at in columns} for row in rows]
        ), any(name.lower() == "id" for name, _ in columns)
    if verb in {"order", "sort"} and rest.lower().startswith("by "):
        return _sorter(rest[3:]), True
    if verb == "count" and not rest:
        return (lambda rows: [{"Count": len(rows)}]), False
    if verb == "summarize" and (found := _SUMMARIZED.fullmatch(rest)) is not None:
        return _counter(found[1] or "count_", _columns(found[2])), False
    raise QueryError(f"not understood: {part!r}")


def _columns(text: str) -> list[tuple[str, str]]:
    columns = []
    for piece in text.split(","):
        found = _PROJECTED.fullmatch(piece.strip())
        if found is None:
            raise QueryError(f"column not understood: {piece.strip()!r}")
        columns.append((found[1] or re.sub(r"\W+", "_", found[2]).strip("_"), found[2]))
    return columns


def _sorter(text: str) -> Callable[[list[Row]], list[Row]]:
    keys = []
    for piece in text.split(","):
        found = _ORDERED.fullmatch(piece.strip())
        if found is None:
            raise QueryError(f"order not understood: {piece.strip()!r}")
        # Kusto sorts downwards unless told otherwise.
        keys.append((found[1], (found[2] or "desc").lower() == "desc"))

    def sort(rows: list[Row]) -> list[Row]:
        for column, downwards in reversed(keys):
            rows = sorted(rows, key=lambda row: _rank(look_up(row, column)), reverse=downwards)
        return rows

    return sort


def _counter(name: str, columns: list[tuple[str, str]]) -> Callable[[list[Row]], list[Row]]:
    def count(rows: list[Row]) -> list[Row]:
        counts: dict[tuple[str, ...], int] = {}
        for row in rows:
            key = tuple(_text(look_up(row, at)) for _, at in columns)
            counts[key] = counts.get(key, 0) + 1
        names = [column for column, _ in columns]
        return [
            {**dict(zip(names, key, strict=True)), name: number} for key, number in counts.items()
        ]

    return count

"""What a request keeps of each resource: ``select``, a JMESPath expression.

https://jmespath.org/specification.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.parser import Parser

from pipeline.errors import BadMessage
from pipeline.message_format.excerpts import excerpt, short_name

MAX_SELECT_CHARS = 2_048
# Expressions within one another; one that is written by hand has about 6.
MAX_SELECT_DEPTH = 64
# Of what an expression became; longer ones are read each time.
CACHED_EXPRESSIONS = 256
CACHED_CHARS = 512

BAD_SELECT = "bad select"


class _Parser(Parser):
    # The library's own cache holds large expressions as gladly as small ones.
    _CACHE: dict[str, Any] = {}  # noqa: RUF012 - as the library declares it
    _MAX_SIZE = 0


def check_select(expression: str, method: str, where: str) -> None:
    """See that an expression can be applied.

    Args:
        expression: as the message has it.
        method: of the request.
        where: place of the request in the message, for the detail.

    Raises:
        BadMessage: it is empty, too long, no JMESPath, nested too deeply, or calls a function that
            there is not; or nothing comes that it could be applied to.
    """
    if method == "HEAD":
        raise BadMessage(BAD_SELECT, f"{where} is a HEAD, whose answer has nothing to select from")
    if not expression.strip():
        raise BadMessage(BAD_SELECT, f"{where}.select is empty; takes a JMESPath expression")
    if len(expression) > MAX_SELECT_CHARS:
        raise BadMessage(
            BAD_SELECT,
            f"{where}.select has {len(expression)} characters; takes up to {MAX_SELECT_CHARS}",
        )
    try:
        syntax_of(expression)
    except BadMessage as error:
        raise BadMessage(error.reason, f"{where}.{error.detail}") from None


def syntax_of(expression: str) -> dict[str, Any]:
    """The syntax tree of an expression, as the library's interpreter takes it.

    Raises:
        BadMessage: its detail starts at ``select``.
    """
    return (_kept if len(expression) <= CACHED_CHARS else _read)(expression)


def _read(expression: str) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = _Parser().parse(expression).parsed
    except JMESPathError as error:
        raise _bad(expression, f"is no JMESPath, {_said(error)}") from None
    except RecursionError:
        raise _bad(expression, f"is nested more than {MAX_SELECT_DEPTH} deep") from None
    except Exception as error:  # noqa: BLE001 - the library's, about what a producer wrote
        raise _bad(expression, f"cannot be read ({excerpt(str(error))})") from None
    for node, depth in _nodes(tree):
        if depth > MAX_SELECT_DEPTH:
            raise _bad(expression, f"is nested more than {MAX_SELECT_DEPTH} deep")
        if node["type"] == "function_expression":
            _check_call(node, expression)
        elif node["type"] == "literal":
            _check_literal(node["value"], expression)
    return tree


_kept = lru_cache(CACHED_EXPRESSIONS)(_read)


def _nodes(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Each node of a tree with its depth, from 1."""
    left = [(tree, 1)]
    while left:
        node, depth = left.pop()
        yield node, depth
        left += [(child, depth + 1) for child in node["children"] if isinstance(child, dict)]


def _check_call(node: dict[str, Any], expression: str) -> None:
    name, count = node["value"], len(node["children"])
    function = Functions.FUNCTION_TABLE.get(name)
    if function is None:
        raise _bad(expression, f"calls {short_name(name)}(), which is no function of JMESPath")
    takes = function["signature"]
    if takes and takes[-1].get("variadic"):
        wrong, least = count < len(takes), "at least "
    else:
        wrong, least = count != len(takes), ""
    if wrong:
        problem = f"calls {name}() with {count} arguments; takes {least}{len(takes)}"
        raise _bad(expression, problem)


def _check_literal(value: Any, expression: str) -> None:
    # The library reads NaN, and 1e999 as infinity: there is no JSON for either.
    try:
        json.dumps(value, allow_nan=False).encode()
        str(value).encode()
    except (ValueError, RecursionError):
        raise _bad(expression, "has a literal that is no JSON") from None


def _said(error: JMESPathError) -> str:
    """What the library says, on one line."""
    if isinstance(error, LexerError):
        return f"{_plain(error.message)} at character {error.lexer_position + 1}"
    if isinstance(error, ParseError):
        if error.token_value is None:
            return "it ends too early"
        return f"{_plain(error.msg)} at character {error.lex_position + 1}"
    return _plain(str(error))


def _plain(text: str) -> str:
    return short_name(text, 120)


def _bad(expression: str, problem: str) -> BadMessage:
    return BadMessage(
        BAD_SELECT, f"select {problem}; takes a JMESPath expression, got {excerpt(expression)}"
    )

"""``select``: a JMESPath expression applied to one resource after another.

What it keeps keeps its digits: numbers are read with the text that they came as. What it may cost
is bounded, because a short expression can ask for very much: ``[@,@]|[@,@]|[@,@]…``.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from pipeline.message_format.selects import syntax_of
from pipeline.undecodable import UNDECODABLE

# What an expression may cost: a node applied costs VISIT_COST; a value made, one for each character
# and value in it. Each resource may cost so much, and so much more for each of its bytes.
BASE_WORK = 200_000
WORK_PER_BYTE = 20
MAX_WORK = 64_000_000
VISIT_COST = 10

_F = TypeVar("_F", bound=Callable[..., Any])


class SelectFailed(Exception):
    """The expression cannot be applied to a resource, or nothing that is JSON comes of it."""


class Selector:
    """Applies one expression.

    Args:
        expression: checked by :func:`pipeline.message_format.selects.check_select`.
    """

    def __init__(self, expression: str) -> None:
        self._syntax = syntax_of(expression)

    def select(self, body: bytes) -> bytes:
        """The JSON text that is kept of a resource; ``null`` where the expression finds nothing.

        Args:
            body: JSON text of the resource.

        Raises:
            SelectFailed: it says why.
        """
        try:
            resource = _decode(body)
        except UNDECODABLE as error:
            raise SelectFailed(f"the resource cannot be read: {error}") from error
        work = _Work(min(BASE_WORK + WORK_PER_BYTE * len(body), MAX_WORK))
        try:
            return _encode(_Interpreter(work).visit(self._syntax, resource))
        except SelectFailed:
            raise
        except JMESPathTypeError as error:
            # Its own words quote the value, which may be the whole resource.
            got = TYPES_MAP.get(error.actual_type, error.actual_type)
            takes = " or ".join(error.expected_types)
            raise SelectFailed(f"{error.function_name}() takes {takes}, got {got}") from error
        except JMESPathError as error:
            raise SelectFailed(str(error)) from error
        except RecursionError as error:
            raise SelectFailed("the resource is nested too deeply") from error
        except Exception as error:
            # The library lets Python's own through, e.g. of floor() of a number past all floats.
            raise SelectFailed(f"{type(error).__name__}: {error}") from error


class _Number(builtins.float):
    """A number that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


# The library knows a value's type by the name of its class.
_Number.__name__ = "float"


def _written(value: object) -> msgspec.Raw:
    if isinstance(value, _Number):
        return msgspec.Raw(value.text.encode())
    raise SelectFailed("what comes of it is no JSON value, but an expression")


_decode = msgspec.json.Decoder(float_hook=_Number).decode
_encode = msgspec.json.Encoder(enc_hook=_written).encode


class _Work:
    """What an expression may still cost."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise SelectFailed("it asks for too much work or too large a value")

    def made(self, value: Any) -> None:
        """A value was made; what it holds twice counts twice, as it is written twice."""
        values = [value]
        while values:
            item = values.pop()
            kind = type(item)
            if kind is str:
                self.spend(1 + len(item))
            elif kind is list:
                self.spend(1 + len(item))
                values += item
            elif kind is dict:
                self.spend(1 + sum(map(len, item)))
                values += item.values()
            else:
                self.spend(1)
                if kind is builtins.float and not math.isfinite(item):
                    raise SelectFailed(f"{item} comes of it, which is no JSON number")


def _takes(*types: list[str]) -> Callable[[_F], _F]:
    return cast("Callable[[_F], _F]", signature(*({"types": each} for each in types)))


class _Functions(Functions):
    """The library's functions, their cost bounded and digits kept."""

    def __init__(self, work: _Work) -> None:
        self._work = work

    def call_function(self, function_name: str, resolved_args: list[Any]) -> Any:
        for argument in resolved_args:
            if isinstance(argument, (str, list, dict)):
                self._work.spend(len(argument))
        result = super().call_function(function_name, resolved_args)
        self._work.made(result)
        return result

    @_takes(["string"], ["array-string"])
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._work.spend(len(separator) * len(array) + sum(map(len, array)))
        return separator.join(array)

    @_takes([])
    def _func_to_string(self, value: Any) -> str:
        return value if isinstance(value, str) else _encode(value).decode()


class _Interpreter(TreeInterpreter):
    """The library's interpreter, its work counted."""

    def __init__(self, work: _Work) -> None:
        super().__init__(Options(custom_functions=_Functions(work)))
        self._work = work

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._work.spend(VISIT_COST)
        return super().visit(node, *args, **kwargs)

    def visit_multi_select_list(self, node: dict[str, Any], value: Any) -> Any:
        return self._made(super().visit_multi_select_list(node, value))

    def visit_multi_select_dict(self, node: dict[str, Any], value: Any) -> Any:
        return self._made(super().visit_multi_select_dict(node, value))

    def visit_flatten(self, node: dict[str, Any], value: Any) -> Any:
        return self._made(super().visit_flatten(node, value))

    def _made(self, value: Any) -> Any:
        self._work.made(value)
        return value

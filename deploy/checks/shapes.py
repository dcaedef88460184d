"""Interfaces of TypeScript declarations: which fields there are, which are needed, of what type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_INTERFACE = re.compile(r"^export interface (\w+)[^{\n]*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
# With the comment before it, whose link ends in the name that the provider itself has.
_FIELD = re.compile(
    r"(?:/\*\*(?P<said>(?:(?!\*/).)*)\*/\s*)?"
    r"^ {4}(?:readonly )?\"?(?P<name>\w+)\"?(?P<optional>\?)?: "
    r"(?P<type>[^;{]*(?:\{[^}]*\})?[^;]*);",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"#(\w+) \w+#\w+\}")
_TYPE_NAME = re.compile(r"\b[A-Z]\w+")


@dataclass(frozen=True)
class Field:
    """A field of an interface.

    Attributes:
        type: as it is written, on one line.
        needed: it has to be there.
    """

    type: str
    needed: bool

    def names_in_type(self) -> list[str]:
        """Types that it is made of, e.g. ``KeyVaultNetworkAcls``."""
        return _TYPE_NAME.findall(self.type)


@dataclass
class Shape:
    """An interface.

    Attributes:
        fields: by the name they have in a file.
    """

    fields: dict[str, Field] = field(default_factory=dict)

    def faults(self, given: set[str]) -> list[str]:
        """What is given and unknown, or needed and not given."""
        unknown = [f"there is no {name}" for name in sorted(given - set(self.fields))]
        needed = {name for name, one in self.fields.items() if one.needed}
        return unknown + [f"{name} is missing" for name in sorted(needed - given)]


def shapes(text: str) -> dict[str, Shape]:
    """All interfaces of a file, by name."""
    found: dict[str, Shape] = {}
    for name, body in _INTERFACE.findall(text):
        shape = Shape()
        for match in _FIELD.finditer(body):
            link = _LINK.search(match["said"] or "")
            said = link[1] if link else match["name"]
            shape.fields[said] = Field(" ".join(match["type"].split()), not match["optional"])
        found[name] = shape
    return found

"""The README's table of settings: ``python -m pipeline.config.table`` prints it."""

from __future__ import annotations

from pipeline.config.kinds import Setting
from pipeline.config.settings import SETTINGS


def markdown() -> str:
    """All settings as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|", *map(_row, SETTINGS)]
    return "\n".join(lines)


def default_said(setting: Setting) -> str:
    """The default as a cell: in words where it depends on the machine, ``-`` if there is none."""
    if setting.default_said:
        return setting.default_said
    return f"`{setting.default}`" if setting.default is not None else "-"


def meaning_said(setting: Setting) -> str:
    """The meaning as a cell, with the unit, when it is needed, and whether it is a secret."""
    meaning = setting.meaning
    if setting.unit:
        meaning += f" ({setting.unit})"
    if setting.needed:
        meaning += f"; needed {setting.needed}"
    if setting.secret:
        meaning += " · secret"
    return cell(meaning)


def cell(text: str) -> str:
    """Text that a table's cell may hold."""
    return text.replace("|", "\\|")


def _row(setting: Setting) -> str:
    default = default_said(setting)
    choices = ", ".join(f"`{choice}`" for choice in setting.choices)
    said = meaning_said(setting)
    if choices:
        said = said.replace(setting.meaning, f"{setting.meaning}: {choices}", 1)
    return f"| `{setting.name}` | {default} | {said} |"


if __name__ == "__main__":
    print(markdown())

"""The README's table of settings: ``python -m pipeline.config.table`` prints it."""

from __future__ import annotations

from pipeline.config.kinds import Setting
from pipeline.config.settings import SETTINGS


def markdown() -> str:
    """All settings as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|", *map(_row, SETTINGS)]
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    default = setting.default_said or ""
    if not default and setting.default is not None:
        default = f"`{setting.default}`"
    meaning = setting.meaning
    if setting.choices:
        meaning += ": " + ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.unit:
        meaning += f" ({setting.unit})"
    if setting.needed:
        meaning += f"; needed {setting.needed}"
    if setting.secret:
        meaning += " · secret"
    return f"| `{setting.name}` | {default or '-'} | {meaning.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(markdown())

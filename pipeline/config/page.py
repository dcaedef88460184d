"""The page of settings: ``python -m pipeline.config.page > docs/settings.md`` writes it.

The README's table says what a setting is for; the page says besides what it takes, with limits, and
what each profile makes of it. Everything in the tables is read from the code.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.config.kinds import Setting
from pipeline.config.settings import SETTINGS
from pipeline.config.sources import gather
from pipeline.config.table import cell, default_said, meaning_said
from pipeline.folders import CACHE_VARIABLE, STATE_VARIABLE

# The columns beside the default, in the order of size; `local` is the sandbox's own.
PROFILES = ("standard", "high-throughput", "low-memory", "local")
# Headings, and what the names of their settings begin with; the last takes what is left.
GROUPS = (("Azure", "AZURE_"), ("Snowflake", "SNOWFLAKE_"), ("The collector itself", ""))
# Numbers from here on are written in groups of three digits.
GROUPED_FROM = 10_000

_HEAD = """\
# Settings

<!-- Written by `python -m pipeline.config.page`: change pipeline/config/, not this page. -->

A value comes from the first of these that has one: `--set NAME=value`, the environment, the file
`.env` in the folder the command is started in, the profile (`--profile NAME`), the default. A value
that is not understood is an error that names the variable, what it got, what it takes and where it
came from. So is an unknown name after `--set`, and one in `.env` that is nearly a setting's; in the
environment, which belongs to everybody, that is a warning. All problems are told at once, with exit
code 2; `azure-collector validate-config` does no more than that. Each setting in force with its
origin, secrets masked, is shown by

```console
$ azure-collector show-config
```

A secret may be written `kv:SECRET-NAME` and is then read from the vault that `AZURE_KEYVAULT_URL`
names.

## Profiles side by side

Only what a profile sets is in its column; all else is the default. Which profile to take, and when
to depart from it: [scaling.md](scaling.md).
"""

_OTHERS = f"""\
## Not settings, but heard

These are read from the environment only.

| variable | meaning |
|---|---|
| `HTTPS_PROXY`, `NO_PROXY` | the way out through a proxy: for Azure Resource Manager, Microsoft Graph, the queue, Entra ID, Key Vault and Snowflake alike; this machine itself is never asked through it |
| `REQUESTS_CA_BUNDLE` | PEM file with the certificates to trust, for the same |
| `{CACHE_VARIABLE}` | folder for downloads and the sandbox's data, in the place of the user's cache folder |
| `{STATE_VARIABLE}` | folder for the spool, in the place of the user's state folder |
| `OTEL_…` | OpenTelemetry's own: [tracing.md](tracing.md) |
| `TMPDIR` | folder for the temporary files of `write_pandas` |
"""  # noqa: E501


def page() -> str:
    """The page as Markdown, without a line end at its end."""
    parts = [_HEAD, _profiles_table(), ""]
    left = list(SETTINGS)
    for title, prefix in GROUPS:
        of_group = [setting for setting in left if setting.name.startswith(prefix)]
        left = [setting for setting in left if setting not in of_group]
        parts += [f"## {title}", "", _settings_table(of_group), ""]
    parts.append(_OTHERS)
    return "\n".join(parts).rstrip("\n")


def _profiles_table() -> str:
    set_by = {profile: _values_of(profile) for profile in PROFILES}
    named = {name for values in set_by.values() for name in values}
    lines = [
        f"| variable | default | {' | '.join(f'`{name}`' for name in PROFILES)} |",
        "|---|---|" + "---|" * len(PROFILES),
    ]
    for setting in SETTINGS:
        if setting.name in named:
            values = (set_by[profile].get(setting.name) for profile in PROFILES)
            cells = " | ".join(f"`{value}`" if value is not None else "" for value in values)
            lines.append(f"| `{setting.name}` | {default_said(setting)} | {cells} |")
    return "\n".join(lines)


def _values_of(profile: str) -> dict[str, str]:
    """What the profile's own file sets, as a user would write it."""
    given = gather(profile, {}, {}, None, {}).given
    return {name: one.text for name, one in given.items() if one.source == f"profile {profile}"}


def _settings_table(settings: Iterable[Setting]) -> str:
    lines = ["| variable | takes | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{s.name}` | {cell(_takes(s))} | {default_said(s)} | {meaning_said(s)} |"
        for s in settings
    ]
    return "\n".join(lines)


def _takes(setting: Setting) -> str:
    if setting.kind == "choice":
        said = ", ".join(f"`{choice}`" for choice in setting.choices)
        if setting.aliases:
            said += "; also " + ", ".join(f"`{alias}`" for alias, _ in setting.aliases)
        return said
    if setting.kind == "text":
        return "text, or `kv:SECRET-NAME`" if setting.secret and not setting.opens_vault else "text"
    if setting.kind == "whole":
        return f"a whole number from {_number(setting.least)} to {_number(setting.most)}"
    if setting.kind == "number":
        return f"a number from {setting.least:g} to {_number(setting.most)}"
    return setting.takes()


def _number(value: float) -> str:
    """A whole number; in groups of three digits if it is long."""
    return f"{value:,.0f}" if value >= GROUPED_FROM else f"{value:.0f}"


if __name__ == "__main__":
    print(page())

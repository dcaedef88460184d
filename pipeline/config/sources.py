"""Where settings come from: command line, environment, ``.env``, profile, default.

A higher layer wins. A sandbox replaces all that says where Azure and Snowflake are. What a layer
holds and should not (a name that is nearly ours, a line of ``.env`` that is no assignment) is a
problem with its place; a value is never quoted from here.
"""

from __future__ import annotations

import difflib
import io
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from dotenv.parser import parse_stream

from pipeline.config.settings import BY_NAME

# How alike two names are (difflib's ratio) before one is taken for a slip of the other.
NEAR_MISS_RATIO = 0.85
# `.env` files are small; past this it is another file.
ENV_FILE_MAX_BYTES = 1 << 20
# In the environment, which is everybody's, only names that start like ours are looked at.
OUR_PREFIXES = (
    "AZURE_QUEUE_",
    "AZURE_KEYVAULT_",
    "AZURE_ARM_",
    "SNOWFLAKE_",
    "BATCH_",
    "SPOOL_",
    "DEDUPE_",
    "RETENTION_",
    "VISIBILITY_",
    "OPS_",
    "AUDIT_L",
    "ARM_",
    "NUM_PROC",
    "NUM_THR",
    "MAX_RETR",
    "MAX_IN_",
    "MAX_DEQ",
)
# Names of other programs' variables that look like slips of ours and are not: azure-identity's and
# the Snowflake connector's own.
OTHERS = frozenset(
    {
        "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        "AZURE_FEDERATED_TOKEN",
        "AZURE_USERNAME",
        "AZURE_PASSWORD",
        "AZURE_SUBSCRIPTION_ID",
        "SNOWFLAKE_HOME",
        "SNOWFLAKE_CONNECTIONS",
    }
)

# What a sandbox stands in for.
SERVICE_PREFIXES = ("AZURE_", "SNOWFLAKE_")

PROFILES = resources.files("pipeline") / "profiles"


@dataclass(frozen=True)
class Given:
    """Text of one value and the layer it came from."""

    text: str
    source: str


@dataclass
class Layers:
    """What all layers gave.

    Attributes:
        given: the winning text of each setting; unset ones are missing.
        problems: what makes the configuration unusable.
        warnings: what is probably a slip.
    """

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, str], source: str) -> None:
        """Lay these values over what is there. An empty value leaves what is there."""
        for name, text in values.items():
            if name in BY_NAME and text.strip():
                self.given[name] = Given(_trimmed(name, text), source)

    def replace_services(self, sandbox: Mapping[str, str]) -> None:
        """Leave out every account, address and credential, and take the sandbox's."""
        for name in [name for name in self.given if name.startswith(SERVICE_PREFIXES)]:
            del self.given[name]
        for name in BY_NAME:
            default = BY_NAME[name].default_text()
            if name.startswith(SERVICE_PREFIXES) and default is not None:
                self.given[name] = Given(default, "default")
        self.add(sandbox, "sandbox")


def _trimmed(name: str, text: str) -> str:
    # A line end clings to secrets that were read from a file; spaces may belong to a password.
    return text.strip("\r\n") if BY_NAME[name].secret else text.strip()


def gather(
    profile: str | None,
    overrides: Mapping[str, str],
    environ: Mapping[str, str],
    env_file: Path | None,
    sandbox: Mapping[str, str],
) -> Layers:
    """Read every layer, the lowest first. Nothing is checked but names."""
    layers = Layers()
    for setting in BY_NAME.values():
        if (text := setting.default_text()) is not None:
            layers.given[setting.name] = Given(text, "default")
    if profile is not None:
        source = f"profile {profile}"
        values = _profile_values(profile, layers)
        _refuse_unknown(values, source, layers)
        layers.add(values, source)
    if env_file is not None:
        values = _env_file_values(env_file, layers)
        layers.problems += _slips(values, str(env_file.name))
        layers.add(values, ".env")
    ours = [name for name in environ if name.startswith(OUR_PREFIXES)]
    layers.warnings += _slips(ours, "environment")
    layers.add(environ, "environment")
    _refuse_unknown(overrides, "command line", layers)
    layers.add(overrides, "command line")
    if sandbox:
        layers.replace_services(sandbox)
    return layers


def profile_names() -> list[str]:
    """The profiles there are."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in PROFILES.iterdir()
        if file.name.endswith(".toml")
    )


def _profile_values(profile: str, layers: Layers) -> dict[str, str]:
    if profile not in profile_names():
        layers.problems.append(
            f"--profile: got {profile!r} (command line); takes one of {', '.join(profile_names())}"
        )
        return {}
    text = (PROFILES / f"{profile}.toml").read_text("utf-8")
    values: dict[str, str] = {}
    for name, value in tomllib.loads(text).items():
        values[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return values


def _env_file_values(env_file: Path, layers: Layers) -> dict[str, str]:
    try:
        with env_file.open("rb") as file:
            raw = file.read(ENV_FILE_MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        layers.problems.append(f"{env_file}: cannot be read: {why}; takes NAME=value lines")
        return {}
    if len(raw) > ENV_FILE_MAX_BYTES:
        layers.problems.append(f"{env_file}: larger than {ENV_FILE_MAX_BYTES} bytes")
        return {}
    values: dict[str, str] = {}
    # Values are taken as they stand: ${NAME} in a password is part of the password.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            line = binding.original.line
            layers.problems.append(f"{env_file}, line {line}: not a NAME=value line")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def _near_miss(name: str) -> str | None:
    if name in BY_NAME or name in OTHERS:
        return None
    close = difflib.get_close_matches(name.upper(), BY_NAME, n=1, cutoff=NEAR_MISS_RATIO)
    return close[0] if close else None


def _slips(names: Iterable[str], source: str) -> list[str]:
    found = ((name, _near_miss(name)) for name in sorted(names))
    return [
        f"{name}: not a setting ({source}); did you mean {meant}?" for name, meant in found if meant
    ]


def _refuse_unknown(names: Iterable[str], source: str, layers: Layers) -> None:
    for name in names:
        if name not in BY_NAME:
            close = difflib.get_close_matches(name.upper(), BY_NAME, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            layers.problems.append(f"{name}: not a setting ({source}){hint}")

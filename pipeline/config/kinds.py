"""What a setting is, and how the text of a value becomes its type.

The settings themselves are in :mod:`pipeline.config.settings`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

# What a setting's value is once it is read.
Value = str | int | float | bool | Path | tuple[str, ...]

_HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,251}[0-9A-Za-z])?")

# Names of Key Vault secrets: learn.microsoft.com, "Key Vault object identifiers".
KEYVAULT_PREFIX = "kv:"
KEYVAULT_SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")

# Azure Queue Storage: 3 to 63 characters, a lower-case letter or digit at each end, no two hyphens
# in a row. The poison queue's name has to fit as well.
QUEUE_NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9])*")
QUEUE_NAME_MIN_CHARS = 3
QUEUE_NAME_MAX_CHARS = 63
POISON_SUFFIX = "-poison"

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: the variable, upper case.
        kind: ``text``, ``whole``, ``number``, ``flag``, ``choice``, ``path``, ``url``,
            ``https``, ``authority``, ``host``, ``queues``.
        meaning: one line for the documentation.
        default: text as a user would write it, a function that gives it, or None for unset.
        default_said: the default in words, when it depends on the machine or another setting.
        unit: unit of a number, e.g. ``seconds``.
        least, most: limits of a number, both included.
        choices: values of a ``choice``.
        aliases: other spellings of a choice, as Azure or Snowflake call it.
        secret: shown nowhere, and may be ``kv:SECRET-NAME``.
        opens_vault: part of the identity that opens the vault, so it cannot come from there.
        needed: in words, when the setting has to be given.
    """

    name: str
    kind: str
    meaning: str
    _: KW_ONLY
    default: str | Callable[[], str] | None = None
    default_said: str = ""
    unit: str = ""
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    secret: bool = False
    opens_vault: bool = False
    needed: str = ""

    @property
    def attribute(self) -> str:
        """Name of the field of :class:`pipeline.config.Config`."""
        return self.name.lower()

    def default_text(self) -> str | None:
        """The default on this machine, as a user would write it; None if it is unset."""
        return self.default() if callable(self.default) else self.default

    def takes(self) -> str:
        """What the setting takes, in words."""
        if self.kind in ("whole", "number"):
            number = "a whole number" if self.kind == "whole" else "a number"
            unit = f" of {self.unit}" if self.unit else ""
            return f"{number}{unit} from {self.least:.15g} to {self.most:.15g}"
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "text":
            said = self.meaning.replace("`", "")
            return said if not self.secret or self.opens_vault else f"{said}, or kv:SECRET-NAME"
        return _TAKES[self.kind]

    def parse(self, text: str) -> Value:
        """The value of this text.

        Raises:
            ValueError: the text is not what the setting takes; the message says what it takes.
        """
        return _PARSERS[self.kind](self, text)


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────

_TAKES = {
    "flag": "true or false",
    "path": "a path",
    "url": "an https:// address (http:// only to this machine) without user, query or fragment",
    "https": "an https:// address without user, query or fragment",
    "authority": "an https:// address without user, query or fragment",
    "host": "a host name or an IP address, without scheme or port",
    "queues": (
        f"a queue name, or several separated by commas: {QUEUE_NAME_MIN_CHARS} to "
        f"{QUEUE_NAME_MAX_CHARS - len(POISON_SUFFIX)} lower-case letters, digits and single "
        f"hyphens, so that NAME{POISON_SUFFIX} is a queue name too"
    ),
}


def _text(setting: Setting, text: str) -> str:
    # A key is several lines by nature; nothing else is.
    if not setting.secret and not text.isprintable():
        raise ValueError(f"one line of printable text: {setting.takes()}")
    return text


def _whole(setting: Setting, text: str) -> int:
    if not _WHOLE.fullmatch(text) or not setting.least <= int(text) <= setting.most:
        raise ValueError(setting.takes())
    return int(text)


def _number(setting: Setting, text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not setting.least <= float(text) <= setting.most:
        raise ValueError(setting.takes())
    return float(text)


def _flag(setting: Setting, text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(setting.takes())
    return word in _TRUE


def _choice(setting: Setting, text: str) -> str:
    spellings = {choice.lower(): choice for choice in setting.choices}
    spellings.update(setting.aliases)
    if text.lower() not in spellings:
        raise ValueError(setting.takes())
    return spellings[text.lower()]


def _path(setting: Setting, text: str) -> Path:
    if not text.isprintable():
        raise ValueError(setting.takes())
    return Path(text).expanduser()


def is_loopback(host: str) -> bool:
    """Whether this host, without brackets or port, never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def split_url(text: str) -> SplitResult:
    """Take an address apart.

    Raises:
        ValueError: it is no address with a scheme, a host and, if any, a port of 1 to 65535.
    """
    parts = urlsplit(text)
    if not is_host(parts.hostname or "") or parts.port == 0:
        raise ValueError("not an address")
    return parts


def is_host(text: str) -> bool:
    """Whether this is a host name or an IP address, without brackets or port."""
    if _HOST.fullmatch(text):
        return ".." not in text
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _url(setting: Setting, text: str) -> str:
    try:
        parts = split_url(text)
    except ValueError:
        raise ValueError(setting.takes()) from None
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not text.isprintable() or any(sign in text for sign in "@?#\\ "):
        raise ValueError(setting.takes())
    return text.rstrip("/")


def _https(setting: Setting, text: str) -> str:
    url = _url(setting, text)
    if split_url(url).scheme != "https":
        raise ValueError(setting.takes())
    return url


def _authority(setting: Setting, text: str) -> str:
    # azure-identity takes a bare host too.
    return _https(setting, text if "://" in text else f"https://{text}")


def _host(setting: Setting, text: str) -> str:
    if not is_host(text):
        raise ValueError(setting.takes())
    return text


def _queues(setting: Setting, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    longest = QUEUE_NAME_MAX_CHARS - len(POISON_SUFFIX)
    for name in names:
        if not QUEUE_NAME_MIN_CHARS <= len(name) <= longest or not QUEUE_NAME.fullmatch(name):
            raise ValueError(setting.takes())
    if len(set(names)) != len(names):
        raise ValueError("each queue once")
    if set(names) & {name + POISON_SUFFIX for name in names}:
        raise ValueError("no queue that is the poison queue of another one")
    return names


_PARSERS: dict[str, Callable[[Setting, str], Value]] = {
    "text": _text,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "choice": _choice,
    "path": _path,
    "url": _url,
    "https": _https,
    "authority": _authority,
    "host": _host,
    "queues": _queues,
}

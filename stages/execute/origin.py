"""Which links may be followed with a token: only those to the configured ARM origin, exactly.

Comparing by prefix leaked tokens in a well-known client (``management.azure.com.attacker``), so
scheme, host and port are compared as parsed, and anything that parsers disagree on is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin, urlsplit

# Nothing in a link that a parser could drop or read differently.
_SUSPECT = re.compile(r"[\x00-\x20\x7f\\]")
_DEFAULT_PORTS = {"https": 443, "http": 80}
# Of a followed link. ARM's skip tokens are long, but bounded by what its front ends take.
MAX_LINK_CHARS = 32_768


class ForeignLink(Exception):
    """A link that leads, or could lead, away from the configured origin."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of the configured ARM endpoint.

    Args:
        scheme: ``https``, or ``http`` to loopback.
        host: lower-cased name or address.
        port: explicit.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """The origin of an absolute URL.

        Raises:
            ForeignLink: it has none that every parser would agree on.
        """
        _refuse_suspect(url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ForeignLink(f"the link cannot be parsed: {error}") from error
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise ForeignLink("the link has no https origin")
        if "@" in parts.netloc:
            raise ForeignLink("the link holds user info")
        if not parts.netloc.isascii():  # lower() makes a "k" of the Kelvin sign
            raise ForeignLink("the link's host is not ASCII")
        return cls(parts.scheme, host, port if port is not None else _DEFAULT_PORTS[parts.scheme])

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _DEFAULT_PORTS[self.scheme] == self.port
        return f"{self.scheme}://{host}" + ("" if default else f":{self.port}")

    def follow(self, target: str, link: str) -> str:
        """Path and query of a link found in the answer to ``target``.

        Args:
            target: path and query that was asked.
            link: absolute, or relative to the target.

        Raises:
            ForeignLink: it leads to another origin, or holds what parsers disagree on.
        """
        if len(link) > MAX_LINK_CHARS:
            raise ForeignLink(f"the link has {len(link)} characters; at most {MAX_LINK_CHARS}")
        # Blanks in a skip token are sloppy, but harmless once escaped.
        link = link.strip().replace(" ", "%20")
        absolute = self._absolute(target, link)
        found = Origin.parse(absolute)
        if found != self:
            raise ForeignLink(f"the link leads to {found}, not {self}")
        parts = urlsplit(absolute)
        path = parts.path or "/"
        return f"{path}?{parts.query}" if parts.query else path

    def _absolute(self, target: str, link: str) -> str:
        _refuse_suspect(link)  # urljoin() drops tabs and line breaks
        try:
            parts = urlsplit(link)
            if (parts.scheme or link.startswith("//")) and not parts.netloc:
                # Browsers take the host of https:///host/… and ///host/… from the path.
                raise ForeignLink("the link has a scheme or // and no host")
            return urljoin(str(self) + target, link)
        except ValueError as error:
            raise ForeignLink(f"the link cannot be parsed: {error}") from error


def _refuse_suspect(link: str) -> None:
    if _SUSPECT.search(link):
        raise ForeignLink("the link holds a blank, a control character or a backslash")

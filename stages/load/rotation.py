"""Secrets that came from Key Vault are read from it again when Snowflake refuses a login by them.

So a key, token or password can be rotated while the collector runs: put the new one into Snowflake
and into the vault, in either order, and take the old one away.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from pipeline import config as settings
from pipeline.config import Config
from pipeline.errors import CollectorError
from pipeline.logs import log

PREFIX = "SNOWFLAKE_"
# A vault counts what it is asked, and refused logins come again and again.
READ_AGAIN_EVERY_S = 10.0

_ACTION = "secrets_read_again"


class Rotation:
    """The newest secrets that this process has read, for all of its logins.

    Attributes:
        proven: a login has succeeded: the settings as such are good.
    """

    def __init__(self) -> None:
        self.proven = False
        self._lock = threading.Lock()
        self._read: dict[tuple[str | None, str], str] = {}
        self._asked_s: float | None = None

    def newest(self, config: Config) -> Config:
        """These settings, with what was read since they were made."""
        changed: dict[str, Any] = {}
        for name, secret in config.came_from_vault(PREFIX).items():
            value = self._read.get((config.azure_keyvault_url, secret))
            if value is not None:
                changed[name.lower()] = value
        return replace(config, **changed) if changed else config

    def read_again(self, config: Config, now_s: float) -> Config | None:
        """Ask the vault for newer secrets than those that were refused.

        Args:
            config: what the refused login was made of.
            now_s: monotonic clock.

        Returns:
            Settings with at least one other secret; None if there is none, or none to be had now.
        """
        references = config.came_from_vault(PREFIX)
        if not references:
            return None
        with self._lock:
            known = self.newest(config)
            if known != config:  # another login has asked meanwhile
                return known
            if self._asked_s is not None and now_s - self._asked_s < READ_AGAIN_EVERY_S:
                return None
            self._asked_s = now_s
            try:
                fresh = settings.read_again(config, PREFIX)
            except CollectorError as error:
                log.bind(action=_ACTION).warning(
                    "Snowflake refused the login, and its secrets cannot be read again: {}", error
                )
                return None
            for name, secret in references.items():
                value = str(getattr(fresh, name.lower()))
                self._read[config.azure_keyvault_url, secret] = value
        if fresh == config:
            log.bind(action=_ACTION).warning(
                "Snowflake refused the login, and the vault holds no newer secret"
            )
            return None
        log.bind(action=_ACTION, settings=sorted(references)).info(
            "Snowflake refused the login; there is a newer secret in the vault, and it is tried"
        )
        return fresh


# One for the process: whoever logs in next, for whatever, takes what the last one has read.
ROTATION = Rotation()

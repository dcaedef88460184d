"""The folders a user's programs may write to without being told: one for cache, one for state.

``AZURE_COLLECTOR_CACHE`` and ``AZURE_COLLECTOR_STATE`` name others, for a host where the home
folder is small, read-only or shared.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "azure-collector"
CACHE_VARIABLE = "AZURE_COLLECTOR_CACHE"
STATE_VARIABLE = "AZURE_COLLECTOR_STATE"
PRIVATE_MODE = 0o700


def cache_folder() -> Path:
    """What can be had again: downloads and the sandbox's data. Not created here."""
    return _named(CACHE_VARIABLE) or platformdirs.user_cache_path(APP_NAME, appauthor=False)


def state_folder() -> Path:
    """What must outlive a run, such as the spool. Not created here."""
    return _named(STATE_VARIABLE) or platformdirs.user_state_path(APP_NAME, appauthor=False)


def private_folder(path: Path) -> Path:
    """Create a folder, if it is not there, that only its owner may enter.

    Args:
        path: the folder; its parents are created too. One that exists keeps its mode.

    Returns:
        The same path, absolute.

    Raises:
        OSError: it cannot be created, or something else has its name.
    """
    path = path.absolute()
    path.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
    return path


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else None

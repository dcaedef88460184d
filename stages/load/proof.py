"""Whether warehouse, tables and rights were found good a moment ago, so that they need no new look.

All of it takes some ten statements, each a way to Snowflake and back. A process that takes over
from one that has died has rows waiting.
"""

from __future__ import annotations

import hashlib

import pipeline
from pipeline.config import Config
from stages.load import migrations
from stages.load.note import Noted

# What was checked, or has served a load, so long ago is taken to be as it was. If it is not, a load
# is refused, and then everything is looked at.
PROOF_LIMIT_S = 600.0

_SETTINGS = (
    "snowflake_account",
    "snowflake_host",
    "snowflake_port",
    "snowflake_user",
    "snowflake_role",
    "snowflake_warehouse",
    "snowflake_database",
    "snowflake_schema",
    "write_mode",
)


def fingerprint(config: Config) -> str:
    """What is checked depends on these settings, this program and its schema."""
    parts = [pipeline.__version__, migrations.script()]
    parts += [f"{name}={getattr(config, name)}" for name in _SETTINGS]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def holds(noted: Noted, wanted: str, now_s: float) -> bool:
    """Whether what is noted makes a check unnecessary.

    Args:
        noted: what a process before, or this one, has noted.
        wanted: :func:`fingerprint` of the settings in force.
        now_s: seconds since 1970. The future proves nothing.
    """
    return noted.checked == wanted and 0.0 <= now_s - noted.proven_s <= PROOF_LIMIT_S

"""Names that users rely on, as the documentation gives them."""

from __future__ import annotations

COMMANDS = (
    "run",
    "test-connection",
    "test-snowflake",
    "validate-config",
    "show-config",
    "send",
    "validate-message",
    "examples",
    "dead-letter",
    "init-snowflake",
    "sandbox",
)
# What test-snowflake prints when all is well, in its order.
SNOWFLAKE_CHECKS = (
    "network",
    "login",
    "warehouse",
    "database and schema",
    "scratch table",
    "tables",
    "grants to load",
)

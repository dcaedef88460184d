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
    "prune",
    "sandbox",
)
# What test-snowflake prints when all is well, in its order.
SNOWFLAKE_CHECKS = (
    "network",
    "login",
    "role",
    "warehouse",
    "database",
    "schema",
    "temporary table",
    "temporary stage",
    "write_pandas",
    "merge",
    "tables",
    "create table",
    "create view",
    "grants RESOURCES",
    "grants REQUESTS",
    "grants REJECTED_ROWS",
    "grants migrations",
    "load",
)

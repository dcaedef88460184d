"""The rows of :mod:`pipeline.config.settings` about Snowflake: where it is and how to log in."""

from __future__ import annotations

from pipeline.config.kinds import Setting

SNOWFLAKE: tuple[Setting, ...] = (
    Setting(
        "SNOWFLAKE_ACCOUNT",
        "text",
        "account identifier, e.g. `ORGANISATION-ACCOUNT`",
        needed="to load",
    ),
    Setting(
        "SNOWFLAKE_USER",
        "text",
        "user",
        needed="to load, unless SNOWFLAKE_AUTHENTICATOR is workload_identity",
    ),
    Setting("SNOWFLAKE_ROLE", "text", "role that loads", default_said="the user's"),
    Setting(
        "SNOWFLAKE_WAREHOUSE",
        "text",
        "warehouse that runs COPY and MERGE",
        default_said="the user's",
    ),
    Setting("SNOWFLAKE_DATABASE", "text", "database of the tables", needed="to load"),
    Setting("SNOWFLAKE_SCHEMA", "text", "schema of the tables", needed="to load"),
    Setting(
        "SNOWFLAKE_AUTHENTICATOR",
        "choice",
        "how the collector proves who it is to Snowflake",
        choices=(
            "key_pair",
            "password",
            "oauth",
            "oauth_client_credentials",
            "workload_identity",
            "programmatic_access_token",
        ),
        aliases=(("snowflake_jwt", "key_pair"), ("snowflake", "password")),
        default_said="`key_pair` if a key is given, else `password`",
    ),
    Setting(
        "SNOWFLAKE_PRIVATE_KEY_FILE",
        "path",
        "PEM file with the private key",
        needed="when SNOWFLAKE_AUTHENTICATOR is key_pair, unless SNOWFLAKE_PRIVATE_KEY is given",
    ),
    Setting("SNOWFLAKE_PRIVATE_KEY", "text", "the private key itself, PEM", secret=True),
    Setting(
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "text", "passphrase of the private key", secret=True
    ),
    Setting(
        "SNOWFLAKE_PASSWORD",
        "text",
        "password; Snowflake is ending these for service users",
        secret=True,
        needed="when SNOWFLAKE_AUTHENTICATOR is password",
    ),
    Setting(
        "SNOWFLAKE_TOKEN",
        "text",
        "OAuth or programmatic access token, or the workload's own",
        secret=True,
        needed="when SNOWFLAKE_AUTHENTICATOR is oauth or programmatic_access_token",
    ),
    Setting(
        "SNOWFLAKE_OAUTH_CLIENT_ID",
        "text",
        "client that the identity provider knows the collector by",
        needed="when SNOWFLAKE_AUTHENTICATOR is oauth_client_credentials",
    ),
    Setting(
        "SNOWFLAKE_OAUTH_CLIENT_SECRET",
        "text",
        "that client's secret",
        secret=True,
        needed="when SNOWFLAKE_AUTHENTICATOR is oauth_client_credentials",
    ),
    Setting(
        "SNOWFLAKE_OAUTH_TOKEN_URL",
        "url",
        "where the identity provider issues tokens, "
        "e.g. `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`",
        needed="when SNOWFLAKE_AUTHENTICATOR is oauth_client_credentials",
    ),
    Setting(
        "SNOWFLAKE_OAUTH_SCOPE",
        "text",
        "scope asked for, e.g. `api://APPLICATION/.default`",
        default_said="`session:role:ROLE` if SNOWFLAKE_ROLE is given",
    ),
    Setting(
        "SNOWFLAKE_HOST",
        "host",
        "host, for private links and the sandbox",
        default_said="the account's",
    ),
    Setting(
        "SNOWFLAKE_PORT",
        "whole",
        "port, for private links and the sandbox",
        least=1,
        most=65535,
        default_said="the account's",
    ),
    Setting(
        "SNOWFLAKE_PROTOCOL",
        "choice",
        "`http` only to this machine, for the sandbox",
        choices=("https", "http"),
        default_said="the account's",
    ),
)

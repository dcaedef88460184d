"""The settings that prove who the collector is, as the connector wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from pipeline.config import Config
from pipeline.errors import ConfigError
from stages.load import workload


def login_arguments(config: Config) -> dict[str, Any]:
    """Arguments of ``snowflake.connector.connect`` for SNOWFLAKE_AUTHENTICATOR.

    A key file is read and a token is asked for at each login, so that a new one is taken.

    Raises:
        ConfigError: a secret is missing, or the private key cannot be used.
        DependencyError: as :func:`stages.load.oauth.access_token`.
    """
    match config.snowflake_authenticator:
        case "key_pair":
            return {"authenticator": "SNOWFLAKE_JWT", "private_key": _private_key(config)}
        case "oauth":
            return {"authenticator": "OAUTH", "token": config.required("snowflake_token")}
        case "oauth_client_credentials":
            from stages.load.oauth import access_token  # with an HTTP client, for this one

            return {"authenticator": "OAUTH", "token": access_token(config)}
        case "programmatic_access_token":
            token = config.required("snowflake_token")
            return {"authenticator": "PROGRAMMATIC_ACCESS_TOKEN", "token": token}
        case "workload_identity":
            return _workload_identity(config)
        case _:
            return {"authenticator": "SNOWFLAKE", "password": config.required("snowflake_password")}


def _workload_identity(config: Config) -> dict[str, Any]:
    if config.snowflake_token:  # a token of a provider that the connector does not know itself
        provider = {"workload_identity_provider": "OIDC", "token": config.snowflake_token}
    else:
        workload.bound()
        provider = {"workload_identity_provider": "AZURE"}
    return {"authenticator": "WORKLOAD_IDENTITY", **provider}


def _private_key(config: Config) -> bytes:
    """The private key as unencrypted PKCS #8 DER, which never leaves this process."""
    if config.snowflake_private_key:
        name, where = "SNOWFLAKE_PRIVATE_KEY", "its value"
        # A PEM that went through an environment file or a vault may hold \n as two characters.
        pem = config.snowflake_private_key.replace("\\n", "\n").encode()
    else:
        name, where = "SNOWFLAKE_PRIVATE_KEY_FILE", config.required("snowflake_private_key_file")
        try:
            pem = Path(where).read_bytes()
        except OSError as error:
            raise ConfigError(
                [f"{name}: got {where}: {error.strerror}; takes a PEM file"]
            ) from None
    phrase = config.snowflake_private_key_passphrase
    try:
        key = serialization.load_pem_private_key(pem, phrase.encode() if phrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Not chained: a parser's error may quote the key.
        problem = f"{name}: {where} is not a private key that can be read: {_reason(error)}"
        raise ConfigError([problem]) from None
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, TypeError) and "not given" in text:
        return "it is encrypted; set SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"
    if isinstance(error, TypeError):
        return "it is not encrypted; unset SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"
    if "password" in text.lower() or "decrypt" in text.lower():
        return "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE does not open it"
    return "takes PEM, unencrypted or with SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"

"""The settings in force: read from every layer, checked as a whole, each with its origin.

::

    command line > environment > .env > profile > default

:func:`load` gives a :class:`Config` or names every problem at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.kinds import KEYVAULT_PREFIX
from pipeline.config.rules import PARTS, Draft, check_rules
from pipeline.config.settings import BY_NAME
from pipeline.config.sources import Given, gather
from pipeline.errors import ConfigError
from pipeline.logs import add_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"
# Where a setting came from that was read from the vault, before the secret's name.
VAULT_SOURCE = "Key Vault secret "
# Fields of a connection string that are secrets by themselves.
_SECRET_PARTS = ("accountkey=", "sharedaccesssignature=")


@dataclass(frozen=True, kw_only=True, repr=False)
class Config:
    """Every setting, by its name in lower case. Unset ones are None.

    It can be pickled, and neither ``repr`` nor ``str`` shows a secret. Meanings, units and limits
    are in :mod:`pipeline.config.settings`.

    Attributes:
        profile: the profile in force, or None.
        sources: where each setting that has a value came from, by its name in upper case:
            ``command line``, ``environment``, ``.env``, ``profile NAME``, ``default``, ``sandbox``
            or ``Key Vault secret NAME``.
        warnings: what is probably a slip and stops nothing.
    """

    azure_queue_name: tuple[str, ...]
    azure_queue_connection_string: str | None
    azure_queue_account_url: str | None
    azure_keyvault_url: str | None
    azure_cloud: str
    azure_arm_endpoint: str | None
    azure_graph_endpoint: str | None
    azure_credential: str
    azure_access_token: str | None
    azure_graph_access_token: str | None
    azure_tenant_id: str | None
    azure_client_id: str | None
    azure_client_secret: str | None
    azure_client_certificate_path: Path | None
    azure_client_certificate_password: str | None
    azure_federated_token_file: Path | None
    azure_authority_host: str | None
    snowflake_account: str | None
    snowflake_user: str | None
    snowflake_role: str | None
    snowflake_warehouse: str | None
    snowflake_database: str | None
    snowflake_schema: str | None
    snowflake_authenticator: str
    snowflake_private_key_file: Path | None
    snowflake_private_key: str | None
    snowflake_private_key_passphrase: str | None
    snowflake_password: str | None
    snowflake_token: str | None
    snowflake_oauth_client_id: str | None
    snowflake_oauth_client_secret: str | None
    snowflake_oauth_token_url: str | None
    snowflake_oauth_scope: str | None
    snowflake_host: str | None
    snowflake_port: int | None
    snowflake_protocol: str | None
    batch_size: int
    batch_bytes: int
    batch_timeout: float
    loads_per_minute: int
    num_processes: int
    num_threads: int
    max_retries: int
    initial_retry_delay: float
    max_backoff: float
    max_wait: float
    max_in_flight: int
    request_timeout: float
    arm_connect_timeout: float
    arm_read_timeout: float
    max_response_bytes: int
    cache_ttl: float
    allow_writes: bool
    visibility_timeout: int
    max_dequeue_count: int
    dedupe_window: int
    write_mode: str
    retention_days: int
    spool_dir: Path
    spool_bytes: int
    heartbeat_limit: float
    load_standby: bool
    drain_timeout: float
    ops_host: str
    ops_port: int
    ops_token: str | None
    log_level: str
    log_format: str
    audit_log: Path | None

    profile: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    warnings: tuple[str, ...] = ()

    @property
    def put_off_until(self) -> int:
        """Deliveries up to which a message may go back only because Azure asks for a long wait.

        Each time costs it a delivery. The last two are for what may go wrong.
        """
        return self.max_dequeue_count - 2

    def required(self, name: str) -> str:
        """The text of a setting that this part of the collector cannot do without.

        Args:
            name: e.g. ``snowflake_account``.

        Raises:
            ConfigError: it is unset.
        """
        value = getattr(self, name)
        if value is None:
            setting = BY_NAME[name.upper()]
            raise ConfigError([f"{setting.name}: not set; takes {setting.takes()}"])
        return str(value)

    def shown(self, name: str) -> str:
        """The value of a setting for people; secrets are masked, unset ones are empty.

        Args:
            name: the setting, upper case.
        """
        value = getattr(self, BY_NAME[name].attribute)
        if value is None or value == ():
            return ""
        if BY_NAME[name].secret and not str(value).startswith(KEYVAULT_PREFIX):
            return MASK
        if isinstance(value, tuple):
            return ",".join(value)
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:.15g}" if isinstance(value, float) else str(value)

    def secrets(self) -> list[str]:
        """Every secret in force, and the secret parts of connection strings: what logs mask."""
        return list(_secrets(self))

    def vault_references(self) -> dict[str, str]:
        """The settings still to be read from the vault, each with its secret's name."""
        return {
            setting.name: value.removeprefix(KEYVAULT_PREFIX)
            for setting in BY_NAME.values()
            if setting.secret
            and (value := getattr(self, setting.attribute)) is not None
            and value.startswith(KEYVAULT_PREFIX)
        }

    def came_from_vault(self, prefix: str) -> dict[str, str]:
        """The settings that were read from the vault, each with its secret's name.

        Args:
            prefix: of the settings' names, e.g. ``SNOWFLAKE_``.
        """
        return {
            name: source.removeprefix(VAULT_SOURCE)
            for name, source in self.sources.items()
            if name.startswith(prefix) and source.startswith(VAULT_SOURCE)
        }

    def __repr__(self) -> str:
        values = ", ".join(
            f"{setting.attribute}={shown}"
            for setting in BY_NAME.values()
            if (shown := self.shown(setting.name))
        )
        return f"Config(profile={self.profile}, {values})"


def _secrets(config: Config) -> Iterator[str]:
    for setting in BY_NAME.values():
        value = getattr(config, setting.attribute)
        if not setting.secret or value is None or value.startswith(KEYVAULT_PREFIX):
            continue
        yield value
        if setting.name == "AZURE_QUEUE_CONNECTION_STRING":
            for part in value.split(";"):
                if part.lower().startswith(_SECRET_PARTS):
                    yield part.partition("=")[2]


def load(
    profile: str | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    resolve_secrets: bool = True,
    needs: Iterable[str] = PARTS,
    sandbox: Mapping[str, str] | None = None,
) -> Config:
    """Read and check the settings.

    Args:
        profile: name of a profile in the package, or None.
        overrides: settings of the command line, by upper-case name.
        environ: the environment; None means this process's.
        env_file: a ``.env`` file; one that does not exist is empty.
        resolve_secrets: read ``kv:`` secrets from the vault. If not, they stay ``kv:NAME``.
        needs: parts that will be used, of ``queue``, ``arm`` and ``snowflake``; only their
            settings are required, while every value that is given is checked.
        sandbox: settings of a sandbox that stands in for Azure and Snowflake: every ``AZURE_``
            and ``SNOWFLAKE_`` setting of the other layers is left out, so that none of one's own
            accounts is used by mistake.

    Raises:
        ConfigError: every problem at once.
        Unreachable, Unauthorised, NotThere: a ``kv:`` secret could not be read.
    """
    environ = os.environ if environ is None else environ
    layers = gather(profile, overrides or {}, environ, env_file, sandbox or {})
    draft = Draft(layers.given, frozenset(needs), problems=layers.problems)
    config = _checked(draft, profile, layers.warnings)
    for secret in config.secrets():
        add_secret(secret)
    return resolved(config) if resolve_secrets else config


def resolved(config: Config) -> Config:
    """The same settings with every ``kv:`` secret read from the vault.

    Raises:
        ConfigError: what the vault holds is not what the setting takes.
        Unreachable, Unauthorised, NotThere: a secret could not be read.
    """
    wanted = config.vault_references()
    if not wanted:
        return config
    from pipeline.identity.vault import read_secrets

    found = read_secrets(config, sorted(set(wanted.values())))
    given = {
        name: Given(found[secret], f"{VAULT_SOURCE}{secret}") for name, secret in wanted.items()
    }
    beside = {name: given_ for name in _BESIDE_SECRETS if (given_ := _given_again(config, name))}
    draft = Draft({**beside, **given}, frozenset())
    _check(draft)
    values: dict[str, Any] = {BY_NAME[name].attribute: one.text for name, one in given.items()}
    sources = {**config.sources, **{name: one.source for name, one in given.items()}}
    result = replace(config, **values, sources=sources)
    for secret in result.secrets():
        add_secret(secret)
    return result


def read_again(config: Config, prefix: str) -> Config:
    """The same settings with the secrets that came from the vault read from it once more.

    Args:
        config: one that :func:`resolved` gave.
        prefix: of the settings' names, e.g. ``SNOWFLAKE_``.

    Raises: as :func:`resolved`.
    """
    references = {
        BY_NAME[name].attribute: f"{KEYVAULT_PREFIX}{secret}"
        for name, secret in config.came_from_vault(prefix).items()
    }
    changed: dict[str, Any] = dict(references)
    return resolved(replace(config, **changed))


# Settings that rules about secrets look at.
_BESIDE_SECRETS = ("AZURE_QUEUE_ACCOUNT_URL",)


def _given_again(config: Config, name: str) -> Given | None:
    value = getattr(config, BY_NAME[name].attribute)
    return None if value is None else Given(str(value), config.sources.get(name, ""))


def _check(draft: Draft, warnings: Iterable[str] = ()) -> None:
    for name in BY_NAME:
        draft.parse(name)
    check_rules(draft)
    if draft.problems:
        # A slip in a name explains a setting that is missing.
        raise ConfigError([*draft.problems, *warnings])


def _checked(draft: Draft, profile: str | None, warnings: list[str]) -> Config:
    _check(draft, warnings)
    values: dict[str, Any] = {
        setting.attribute: draft.values.get(setting.name) for setting in BY_NAME.values()
    }
    values["azure_queue_name"] = values["azure_queue_name"] or ()
    return Config(
        **values,
        profile=profile,
        sources={"SNOWFLAKE_AUTHENTICATOR": "default"}
        | {name: given.source for name, given in draft.given.items()},
        warnings=(*warnings, *draft.warnings),
    )

"""``test-connection``: Key Vault, queue, poison queue, token and one call of ARM, each by itself.

Each check runs in a thread of its own and has until one common deadline, so that the command ends
in time whatever hangs. One that needs another's result begins as soon as that one has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

import msgspec
from azure.core.exceptions import AzureError

from pipeline.checks import Check, timed
from pipeline.config import Config, resolved
from pipeline.errors import (
    EXIT_DEPENDENCY,
    EXIT_DONE,
    CollectorError,
    DependencyError,
    NotThere,
    Unauthorised,
    Unreachable,
)
from pipeline.identity import credential, endpoint, scope
from pipeline.messages import ARM
from pipeline.undecodable import UNDECODABLE
from stages.fetch.arm_get import WHAT, ArmReader, error_code
from stages.fetch.queue import open_queue, poison_name, queue_error

# The whole command ends within this time.
TOTAL_S = 26.0
ARM_CONNECT_TIMEOUT_S = 5.0
ARM_READ_TIMEOUT_S = 10.0
# Every identity may list the subscriptions that it sees.
ARM_TARGET = "/subscriptions?api-version=2022-12-01"

# The one secret that a later check waits for.
_QUEUE_SECRET = "AZURE_QUEUE_CONNECTION_STRING"  # noqa: S105 - a name

THROTTLED = 429
FIRST_SERVER_ERROR = 500


def test_connection(
    config: Config,
    show: Callable[[str], None] = print,
) -> int:
    """Try everything the collector needs but Snowflake, and show each result with its time.

    Args:
        config: settings of ``queue`` and ``arm``; ``kv:`` secrets may be unread, so that a vault
            that fails is one result among others.
        show: takes one line of output, or two with a hint.

    Returns:
        0 if all passed, else 3.
    """
    checks = []
    for check in run_checks(config):
        show(check.line())
        checks.append(check)
    return EXIT_DONE if all(check.ok for check in checks) else EXIT_DEPENDENCY


def run_checks(config: Config, total_s: float = TOTAL_S) -> list[Check]:
    """Run every check.

    Args:
        config: see :func:`test_connection`.
        total_s: seconds for all of them.

    Returns:
        Results; a check that needs another one's comes after it.
    """
    deadline_s = time.monotonic() + total_s
    tokens: list[str] = []
    opened: list[Config] = []
    probes: dict[str, Callable[[], str]] = {}
    after: dict[str, str] = {WHAT: "token"}
    if config.azure_keyvault_url is not None:
        probes["Key Vault"] = partial(_vault, config, opened)
    probes["token"] = partial(_token, config, tokens)
    for queue in config.azure_queue_name:
        for probe, name in ((_queue, queue), (_poison, poison_name(queue))):
            probes[f"queue {name}"] = partial(_opened, probe, config, opened, queue)
            if _QUEUE_SECRET in config.vault_references():
                after[f"queue {name}"] = "Key Vault"
    probes[WHAT] = partial(_arm, config, tokens)
    return _bounded(probes, after, deadline_s)


def _opened(
    probe: Callable[[Config, str], str], config: Config, opened: list[Config], queue: str
) -> str:
    """Probe with the settings that the vault completed, if there are any."""
    return probe(opened[0] if opened else config, queue)


def _bounded(
    probes: dict[str, Callable[[], str]], after: dict[str, str], deadline_s: float
) -> list[Check]:
    """Run these side by side until the deadline; who is not done by then has failed.

    Args:
        probes: by name.
        after: of some, the probe that has to end first.
        deadline_s: monotonic seconds.
    """
    start_s = time.monotonic()
    done: dict[str, Check] = {}
    bugs: list[BaseException] = []
    ended = {name: threading.Event() for name in probes}

    def run(name: str, probe: Callable[[], str]) -> None:
        try:
            if name in after:
                ended[after[name]].wait(max(0.0, deadline_s - time.monotonic()))
            done[name] = timed(name, probe)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            bugs.append(error)
        finally:
            ended[name].set()

    # Daemons, because a check that hangs must not keep the program.
    threads = [
        threading.Thread(target=run, args=item, name=item[0], daemon=True)
        for item in probes.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    if bugs:
        raise bugs[0]
    elapsed_s = time.monotonic() - start_s
    late = f"no result in {elapsed_s:.0f} s"
    return [
        done.get(name) or Check(name, False, late, "check network, firewall and proxy", elapsed_s)
        for name in probes
    ]


# ── one check each ───────────────────────────────────────────────────────────────────────────────


def _vault(config: Config, opened: list[Config]) -> str:
    from pipeline.identity.vault import probe, read_secrets

    host = urlsplit(config.required("azure_keyvault_url")).netloc
    if wanted := config.vault_references():
        opened.append(resolved(config))
        return f"{host}: {_count(len(set(wanted.values())), 'secret')} read"
    prefix = "Key Vault secret "
    names = {s.removeprefix(prefix) for s in config.sources.values() if s.startswith(prefix)}
    if names:
        read_secrets(config, sorted(names))
        return f"{host}: {_count(len(names), 'secret')} read"
    probe(config)
    return f"{host} answers and lets this identity read secrets"


def _queue(config: Config, name: str) -> str:
    if _QUEUE_SECRET in config.vault_references():
        raise CollectorError(f"not tried: {_QUEUE_SECRET} could not be read from Key Vault")
    with open_queue(config, name) as client:
        try:
            waiting = client.peek_messages(max_messages=1)
        except AzureError as error:
            raise queue_error(error, name) from error
        host = urlsplit(client.url).netloc
    return f"{host}: it is there and may be read, {'not empty' if waiting else 'nothing visible'}"


def _poison(config: Config, name: str) -> str:
    try:
        return _queue(config, poison_name(name))
    except NotThere:
        return "not there yet; the collector makes it when it starts"


def _token(config: Config, tokens: list[str]) -> str:
    with closing(credential(config)) as identity:
        token = identity.get_token(scope(config, ARM))
    tokens.append(token.token)
    minutes = max(0, int(token.expires_on - time.time())) // 60
    return f"{config.azure_credential} identity, good for {minutes} min"


class _Subscriptions(msgspec.Struct):
    value: list[msgspec.Raw]


def _arm(config: Config, tokens: list[str]) -> str:
    origin = endpoint(config, ARM)
    host = urlsplit(origin).netloc
    if not tokens:
        raise CollectorError("not tried: there is no token")
    arm = ArmReader(
        origin, connect_timeout_s=ARM_CONNECT_TIMEOUT_S, read_timeout_s=ARM_READ_TIMEOUT_S
    )
    with closing(arm):
        status, body = arm.get(ARM_TARGET, tokens[0])
    if status != 200:
        raise _arm_error(host, status, body)
    try:
        seen = len(msgspec.json.decode(body, type=_Subscriptions).value)
    except UNDECODABLE as error:
        raise NotThere(
            WHAT, f"{host} does not answer as ARM does", "check AZURE_ARM_ENDPOINT"
        ) from error
    if not seen:
        return f"{host} answers; this identity sees no subscription (give it the role Reader)"
    return f"{host} answers; {_count(seen, 'subscription')} on the first page"


def _arm_error(host: str, status: int, body: bytes) -> DependencyError:
    text = f"{host} answered {status} {error_code(body)}".rstrip()
    if status == 401:
        return Unauthorised(
            WHAT, text, "the token is refused: check AZURE_CLOUD and the identity's tenant"
        )
    if status == 403:
        return Unauthorised(
            WHAT, text, "give the identity the role Reader on the subscriptions to collect"
        )
    if status == THROTTLED or status >= FIRST_SERVER_ERROR:
        return Unreachable(WHAT, text, "try again later")
    return NotThere(WHAT, text, "check AZURE_ARM_ENDPOINT")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

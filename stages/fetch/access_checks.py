"""``plan --check-access``: what the identity may do in each subscription, as ARM tells it.

Source: https://learn.microsoft.com/rest/api/authorization/permissions; the list of a subscription
has the form of the one of a resource group.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice

import msgspec

from pipeline.config import Config
from pipeline.errors import DependencyError
from pipeline.identity import credential, endpoint, scope
from pipeline.messages import ARM
from pipeline.permissions import Access, Need, Permission, grants
from pipeline.undecodable import UNDECODABLE
from stages.fetch.arm_get import ArmReader, error_code

# Subscriptions asked at a time, and at most.
THREADS = 8
MAX_ASKED = 200
# No call begins after this time.
TOTAL_S = 60.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
TARGET = "/subscriptions/{}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"

FORBIDDEN = 403
NO_SUBSCRIPTION = "SubscriptionNotFound"
_HINTS = {
    401: "the token is refused: check AZURE_CLOUD and the identity's tenant",
    FORBIDDEN: "it has no role there",
    429: "try again later",
}


class _Answer(msgspec.Struct, rename="camel"):
    value: list[Permission]
    next_link: str | None = None


def check_access(
    config: Config, needs: Mapping[str, Collection[Need]], total_s: float = TOTAL_S
) -> list[Access]:
    """Ask ARM for the identity's permissions in each subscription: one GET each.

    Args:
        config: settings of ``arm``.
        needs: by subscription id, what the requests there need; the first :data:`MAX_ASKED` are
            asked.
        total_s: seconds after which no call begins.

    Returns:
        What was found, in the order of ``needs``; subscriptions that are refused are among it.

    Raises:
        DependencyError: no token could be got, or ARM was not reached at all.
    """
    deadline_s = time.monotonic() + total_s
    with closing(credential(config)) as identity:
        token = identity.get_token(scope(config, ARM)).token
    asked = dict(islice(needs.items(), MAX_ASKED))
    arm = ArmReader(
        endpoint(config, ARM),
        connect_timeout_s=CONNECT_TIMEOUT_S,
        read_timeout_s=READ_TIMEOUT_S,
        connections=THREADS,
    )
    with closing(arm):
        # The first one alone: an ARM that is not reached is found out once.
        found = [_access(arm, token, *item) for item in islice(asked.items(), 1)]
        rest = islice(asked.items(), 1, None)
        with ThreadPoolExecutor(THREADS, "access") as pool:
            found += pool.map(partial(_in_time, arm, token, deadline_s), rest)
    return found


def _in_time(
    arm: ArmReader, token: str, deadline_s: float, item: tuple[str, Collection[Need]]
) -> Access:
    if time.monotonic() >= deadline_s:
        return Access(item[0], "not known", "not asked in time")
    try:
        return _access(arm, token, *item)
    except DependencyError as error:
        return Access(item[0], "not known", error.problem)


def _access(arm: ArmReader, token: str, subscription_id: str, needs: Collection[Need]) -> Access:
    """What is found in one subscription.

    Raises:
        Unreachable: no answer came.
    """
    status, body = arm.get(TARGET.format(subscription_id), token)
    if status != 200:
        return _refused(subscription_id, arm.host, status, error_code(body))
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except UNDECODABLE:
        return Access(subscription_id, "not known", f"{arm.host} does not answer as ARM does")
    missing = sorted({need[0] for need in needs if not grants(answer.value, need)})
    if not missing:
        return Access(subscription_id, "granted")
    if answer.next_link:
        return Access(
            subscription_id, "not known", "not on the first page of its permissions", missing
        )
    return Access(subscription_id, "missing", "", missing)


def _refused(subscription_id: str, host: str, status: int, code: str) -> Access:
    said = f"{host} answered {status} {code}".rstrip()
    hint = _HINTS.get(status, "")
    if code == NO_SUBSCRIPTION:
        hint = "there is none, or it is hidden from this identity"
    hidden = status == FORBIDDEN or code == NO_SUBSCRIPTION
    detail = f"{said}: {hint}" if hint else said
    return Access(subscription_id, "not seen" if hidden else "not known", detail)

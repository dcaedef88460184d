"""Resource Graph's quotas in windows: who has how much left, and how an answer tells it."""

from __future__ import annotations

from collections import OrderedDict

from pipeline.sandbox.arm import arm_errors
from pipeline.sandbox.arm.buckets import Quota
from pipeline.sandbox.arm.wire import Answer

# Callers with a quota; past it the one that came first is forgotten, which gives it a whole one.
CALLERS_MAX = 50_000


class GraphQuota:
    """A quota for each caller.

    Args:
        limit: requests in a window.
        window_s: length of the window, seconds.
        enforced: whether requests over it are refused; without that they are told it is spent.
    """

    def __init__(self, limit: int, window_s: float, *, enforced: bool) -> None:
        self._limit = limit
        self._window_s = window_s
        self._enforced = enforced
        self._quotas: OrderedDict[tuple[str, ...], Quota] = OrderedDict()

    def draw(
        self, caller: tuple[str, ...], now_s: float
    ) -> tuple[tuple[tuple[str, str], ...], Answer | None]:
        """Use one of a caller's requests.

        Args:
            caller: whose quota, e.g. principal and subscription.
            now_s: any monotonic clock.

        Returns:
            Headers that tell what is left, and the refusal if nothing was.
        """
        quota = self._quotas.get(caller)
        if quota is None:
            quota = self._quotas[caller] = Quota(self._limit, self._window_s, now_s)
            if len(self._quotas) > CALLERS_MAX:
                self._quotas.popitem(last=False)
        taken = quota.take(now_s) or not self._enforced
        after_s = quota.resets_after_s(now_s)
        headers = (
            ("x-ms-user-quota-remaining", str(quota.remaining)),
            ("x-ms-user-quota-resets-after", _clock(after_s)),
        )
        return headers, None if taken else arm_errors.rate_limited(after_s).with_headers(*headers)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"

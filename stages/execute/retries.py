"""How often a call is tried again, after which wait, and until when. Pure but for the jitter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.execute.client import Answer
from stages.execute.steps import Limits
from stages.execute.waits import backoff_s, retry_after_s


@dataclass(frozen=True, slots=True)
class RetryWait:
    """What comes before the next try.

    Attributes:
        wait_s: seconds to wait.
        asked_s: seconds that Azure asked for; 0 if it asked for none.
        over: there is no next try: the retries, or the time, are used up.
    """

    wait_s: float
    asked_s: float
    over: bool


class Retries:
    """The retries of one request.

    Args:
        limits: what bounds it.

    Attributes:
        count: retries of the current call.
    """

    def __init__(self, limits: Limits) -> None:
        self.count = 0
        self._limits = limits
        # From the first call on: what stands in line for its scope has not begun.
        self._deadline_s = math.inf

    def begin(self, now_s: float) -> None:
        """The first call is being made."""
        self._deadline_s = now_s + self._limits.request_timeout_s

    def late(self, now_s: float) -> bool:
        """The request's total time is over by then."""
        return now_s >= self._deadline_s

    def next(self, answer: Answer | None, now_s: float) -> RetryWait:
        """A call went wrong.

        Args:
            answer: to it, or None.
            now_s: monotonic seconds.
        """
        self.count += 1
        asked_s = retry_after_s(answer.headers) if answer is not None else None
        wait_s = backoff_s(
            self._limits.initial_retry_delay_s, self.count, self._limits.max_backoff_s
        )
        if asked_s is not None:
            throttled = answer is not None and answer.status == 429
            wait_s = asked_s if throttled and asked_s > 0.0 else max(asked_s, wait_s)
        over = self.count > self._limits.max_retries or self.late(now_s + wait_s)
        return RetryWait(wait_s, asked_s or 0.0, over)

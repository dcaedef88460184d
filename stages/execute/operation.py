"""Long operations: a 202, then polling until the end, then the result.

``Azure-AsyncOperation`` names a status to poll, ``Location`` a result that answers 202 until it is
there. Pure: it says what to ask next, and when.
https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from pipeline.undecodable import UNDECODABLE
from stages.execute.client import Answer
from stages.execute.rows import BrokenBody, error_of
from stages.execute.waits import retry_after_s

# Between two polls when the answer does not say, at least, and at most.
POLL_DEFAULT_S = 5.0
POLL_MIN_S = 0.2
POLL_MAX_S = 60.0

_FAILED = ("failed", "canceled", "cancelled")


class OperationFailed(Exception):
    """The operation ended without success."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask this target after so many seconds."""

    target: str
    after_s: float


class _Status(msgspec.Struct):
    status: str = ""


_status = msgspec.json.Decoder(_Status)


class Operation:
    """A long operation under way.

    Args:
        status_target: the status to poll, or None to poll the result itself.
        result_target: where the result will be, or None when the last status is the result.
    """

    def __init__(self, status_target: str | None, result_target: str | None) -> None:
        self._status_target = status_target
        self._result_target = result_target
        self._begun = False

    @classmethod
    def begun(
        cls, method: str, target: str, headers: Mapping[str, str], follow: Callable[[str], str]
    ) -> Operation | None:
        """The operation that a 202 announces; None when it names nothing to poll.

        Args:
            method: of the call that was answered 202.
            target: of that call: a GET is asked again for its result.
            headers: of the 202.
            follow: the target of a link.

        Raises:
            ForeignLink: it names another origin.
        """
        status = headers.get("azure-asyncoperation")
        location = headers.get("location")
        if not status and not location:
            return None
        result = follow(location) if location else None
        if result is None and method == "GET":
            result = target
        return cls(follow(status) if status else None, result)

    def next(self, answer: Answer, follow: Callable[[str], str]) -> Poll | None:
        """What to ask after this answer; None when it is the result.

        Raises:
            OperationFailed: it ended as ``Failed`` or ``Canceled``.
            BrokenBody: the status is not JSON.
        """
        wait_s = retry_after_s(answer.headers)
        wait_s = POLL_DEFAULT_S if wait_s is None else max(POLL_MIN_S, min(POLL_MAX_S, wait_s))
        if not self._begun:
            self._begun = True
            return Poll(self._status_target or self._result_target or "", wait_s)
        if self._status_target is None:
            return self._next_result(answer, follow, wait_s)
        if link := answer.headers.get("azure-asyncoperation"):
            self._status_target = follow(link)
        if answer.status == 202 and not answer.body.strip():  # it need not say more
            return Poll(self._status_target, wait_s)
        try:
            state = _status.decode(answer.body)
        except UNDECODABLE as error:
            raise BrokenBody(f"status of a long operation: {error}") from error
        ended = state.status.lower()
        if ended in _FAILED:
            code, message = error_of(answer.body)
            raise OperationFailed(code or f"Operation{state.status}", message or ended)
        if ended != "succeeded":
            return Poll(self._status_target, wait_s)
        self._status_target = None
        return Poll(self._result_target, 0.0) if self._result_target is not None else None

    def _next_result(
        self, answer: Answer, follow: Callable[[str], str], wait_s: float
    ) -> Poll | None:
        if answer.status != 202:
            return None
        if link := answer.headers.get("location"):
            self._result_target = follow(link)
        return Poll(self._result_target or "", wait_s)

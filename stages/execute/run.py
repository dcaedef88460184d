"""One request from its first call to its outcome: retries, pages, long operations.

Pure but for the clock that is handed in: it says what to call next and when, and others call. Its
rows are given out only with the outcome ``complete``.
"""

from __future__ import annotations

import hashlib
import math
import random

import msgspec

from pipeline.arm_limits import Scope, scope_of
from pipeline.message_format.read_actions import is_read
from pipeline.messages import LeaseRef, Outcome, PlannedRequest, RequestKey
from stages.execute.client import Answer, ExchangeFailed
from stages.execute.held import HeldRows, HoldSpace, NoRoom
from stages.execute.operation import Operation, OperationFailed
from stages.execute.origin import ForeignLink, Origin
from stages.execute.rows import (
    BodyTooLarge,
    BrokenBody,
    Page,
    ResultTruncated,
    RowMaker,
    error_of,
    parse_page,
)
from stages.execute.steps import (
    Again,
    Call,
    Done,
    FreshToken,
    HeldBack,
    Limits,
    PutOff,
    Refusal,
    Step,
)
from stages.execute.targets import is_list, operation_of
from stages.execute.waits import backoff_s, retry_after_s

# Pages of one list; more is taken for a loop that its links hide.
MAX_PAGES = 20_000
# A request whose rows find no room begins anew after this, doubling each time, with jitter.
NO_ROOM_FIRST_S = 2.0
NO_ROOM_MAX_S = 60.0
# Of an error message in the ledger.
MAX_ERROR_CHARS = 2_000

_RETRYABLE_STATUS = frozenset({408, 500, 502, 503, 504})
_SCOPE_THROTTLED = frozenset(
    {"SubscriptionRequestsThrottled", "TenantRequestsThrottled", "RateLimiting"}
)


class RequestRun:
    """A request under way.

    Args:
        lease: its message.
        planned: the request.
        origin: the configured ARM endpoint.
        limits: what bounds it.
        space: where its rows are held.
        alone: no other call is made beside this request's.
        priority: 0 is high, 1 normal, 2 low.

    Attributes:
        refusal: what the last answer asked of other calls too; None if it refused nothing.
    """

    def __init__(
        self,
        lease: LeaseRef,
        planned: PlannedRequest,
        origin: Origin,
        limits: Limits,
        space: HoldSpace,
        alone: bool = False,
        priority: int = 1,
    ) -> None:
        self.lease = lease
        self.planned = planned
        self.alone = alone
        self.priority = priority
        self.refusal: Refusal | None = None
        self._origin = origin
        self._limits = limits
        self._graph = (
            planned.method == "POST"
            and "/providers/microsoft.resourcegraph/resources" in planned.target.lower()
        )
        key = RequestKey(
            planned.index,
            planned.service,
            planned.method,
            planned.api_version,
            planned.subscription_id,
        )
        self._held = HeldRows(lease, key, space)
        # What may not be done twice is tried again only while it cannot have been done.
        self._repeatable = planned.method != "POST" or is_read(planned.target.partition("?")[0])
        self._lists = planned.method == "GET" and is_list(planned.target)
        self._held_back = 0
        self._begin()

    def _begin(self) -> None:
        planned = self.planned
        self.call = Call(planned.method, planned.target, planned.headers, planned.body)
        # From the first call on: what stands in line for its scope has not begun.
        self._deadline_s = math.inf
        self._first_call_us: int | None = None
        self._rows = RowMaker(self.lease.message_id, planned)
        self._operation: Operation | None = None
        self._visited: set[bytes] = set()
        self._retries = 0
        self._attempts = 0
        self._pages = 0
        self._fresh_token_tried = False
        self._azure_request_id: str | None = None

    def scope(self) -> Scope:
        """What Azure counts the next call by."""
        return scope_of(self.call.method, self.call.target, self.planned.subscription_id)

    @property
    def begun(self) -> bool:
        """A call of it was made."""
        return self._first_call_us is not None

    @property
    def may_be_put_off(self) -> bool:
        """It may begin anew, and its message has deliveries left for that."""
        repeatable = self._repeatable or not self._pages
        return repeatable and self.lease.dequeue_count <= self._limits.put_off_until

    @property
    def message(self) -> int:
        """Which message it is of."""
        return self.lease.lease_id

    @property
    def operation(self) -> str:
        """What the next call's provider may count it by."""
        return operation_of(self.call.method, self.call.target)

    def calling(self, now_s: float, now_us: int) -> None:
        """The next call is being made."""
        self.refusal = None
        self._attempts += 1
        if self._first_call_us is None:
            self._first_call_us = now_us
            self._deadline_s = now_s + self._limits.request_timeout_s

    # ── what came back ───────────────────────────────────────────────────────────────────────

    def answered(self, answer: Answer, now_s: float, now_us: int) -> Step:
        """Go on from an answer."""
        self._azure_request_id = answer.headers.get("x-ms-request-id") or self._azure_request_id
        status = answer.status
        try:
            if 200 <= status < 300:
                self._fresh_token_tried = False
                return self._succeeded(answer, now_s, now_us)
        except NoRoom as error:
            return self._hold_back(str(error))
        except BrokenBody as error:
            return self._retry("BrokenBody", str(error), answer, now_s, now_us)
        except (BodyTooLarge, ForeignLink, OperationFailed, ResultTruncated) as error:
            code = getattr(error, "code", type(error).__name__)
            return self._done("failed", now_us, status, code, str(error))
        return self._refused(answer, now_s, now_us)

    def _refused(self, answer: Answer, now_s: float, now_us: int) -> Step:
        status = answer.status
        code, message = error_of(answer.body)
        if status == 401 and not self._fresh_token_tried:
            self._fresh_token_tried = True
            return FreshToken()
        if status == 429 or status in _RETRYABLE_STATUS:
            return self._retry(code or f"Http{status}", message, answer, now_s, now_us)
        if 300 <= status < 400:
            # Without its query, which in a link to storage is a key.
            where = answer.headers.get("location", "nowhere").partition("?")[0]
            return self._done(
                "failed", now_us, status, "Redirected", f"not followed with a token: {where}"
            )
        outcome = "rejected" if status < 500 else "failed"
        if status in (401, 403):
            outcome = "forbidden"
        elif status == 404:
            # A page or a result that is gone does not mean that the resource is.
            outcome = "not_found" if self.call.target == self.planned.target else "failed"
        return self._done(outcome, now_us, status, code or f"Http{status}", message)

    def unanswered(self, error: ExchangeFailed, now_s: float, now_us: int) -> Step:
        """Go on from a call without a whole answer."""
        if not error.retryable or (error.sent and not self._call_repeatable):
            return self._done("failed", now_us, None, error.code, error.problem)
        return self._retry(error.code, error.problem, None, now_s, now_us)

    def give_up(self, outcome: str, code: str, message: str, now_us: int) -> Done:
        """End the request from outside, e.g. because there is no token."""
        return self._done(outcome, now_us, None, code, message)

    def time_is_up(self, now_us: int) -> Done:
        """End the request because its total time is over."""
        text = f"no outcome within {self._limits.request_timeout_s:.0f} s"
        if self.refusal is not None:
            return self._done("throttled", now_us, 429, "RequestTimeout", text + "; throttled")
        return self._done("failed", now_us, None, "RequestTimeout", text)

    def out_of_time(self, now_s: float) -> bool:
        """The request's total time is over."""
        return now_s >= self._deadline_s

    # ── how it goes on ───────────────────────────────────────────────────────────────────────

    def _succeeded(self, answer: Answer, now_s: float, now_us: int) -> Step:
        if self._operation is None and answer.status == 202:
            self._operation = Operation.begun(
                self.call.method, self.call.target, answer.headers, self._follow
            )
            if self._operation is None:
                # Accepted is not done, and there is nowhere to ask how it went.
                return self._done(
                    "failed", now_us, answer.status, "NothingToPoll", "202 without a link to poll"
                )
        if self._operation is not None:
            polled = self._operation.next(answer, self._follow)
            if polled is not None:
                self.call = Call("GET", polled.target, self.planned.headers, None)
                self._retries = 0
                if now_s + polled.after_s >= self._deadline_s:
                    return self._done(
                        "failed", now_us, answer.status, "OperationTimeout",
                        f"still running after {self._limits.request_timeout_s:.0f} s",
                    )  # fmt: skip
                return Again(polled.after_s)
            self._operation = None
        if self._lists and answer.status == 200 and not answer.body.strip():
            # A list of nothing says so. Results of operations are empty at times.
            raise BrokenBody("a list without a body")
        page = parse_page(answer.body, graph=self._graph, posted=self.call.method == "POST")
        # An answer that may not be asked for again stays in memory if the disk does not take it.
        self._held.add(self._rows.rows(page, now_us), keep=not self._repeatable)
        self._pages += 1
        self._retries = 0
        following = self._next_page(page)
        if following is None:
            return self._done("complete", now_us, answer.status, None, None)
        if self._pages >= MAX_PAGES:
            return self._done(
                "failed", now_us, answer.status, "TooManyPages", f"more than {MAX_PAGES} pages"
            )
        mark = _mark(following)
        if mark in self._visited or following == self.call:
            return self._done(
                "failed", now_us, answer.status, "PagingLoop", f"page {self._pages} leads back"
            )
        self._visited.add(mark)
        self.call = following
        return Again()

    def _next_page(self, page: Page) -> Call | None:
        if self._graph:
            if page.skip_token is None:
                return None
            body = _with_skip_token(self.planned.body or b"{}", page.skip_token)
            return Call("POST", self.planned.target, self.planned.headers, body)
        if page.next_link is None:
            return None
        following = self._follow(page.next_link)
        if page.asked_again:
            return Call("POST", following, self.planned.headers, self.planned.body)
        return Call("GET", following, self.planned.headers, None)

    def _follow(self, link: str) -> str:
        return self._origin.follow(self.call.target, link)

    @property
    def _call_repeatable(self) -> bool:
        return self._repeatable or self.call.method != "POST"

    def _retry(
        self, code: str, message: str | None, answer: Answer | None, now_s: float, now_us: int
    ) -> Step:
        status = answer.status if answer is not None else None
        throttled = status == 429
        self._retries += 1
        asked_s = retry_after_s(answer.headers) if answer is not None else None
        wait_s = backoff_s(
            self._limits.initial_retry_delay_s, self._retries, self._limits.max_backoff_s
        )
        if asked_s is not None:
            wait_s = asked_s if throttled and asked_s > 0.0 else max(asked_s, wait_s)
        if throttled:
            self.refusal = Refusal(wait_s, code in _SCOPE_THROTTLED)
        if asked_s is not None and asked_s > self._limits.max_wait_s and self.may_be_put_off:
            return PutOff(asked_s)
        late = now_s + wait_s >= self._deadline_s
        unclear = answer is not None and not throttled and not self._call_repeatable
        if self._retries > self._limits.max_retries or late or unclear:
            return self._done("throttled" if throttled else "failed", now_us, status, code, message)
        # One that was refused stands in line with those that its refusal holds up.
        return Again(0.0 if throttled else wait_s)

    def _hold_back(self, problem: str) -> HeldBack:
        """Begin anew later: what is held so far makes room for requests that need less.

        A full disk is not the request's fault: nothing of it counts against a limit.
        """
        self._held.discard()
        self._begin()
        self._held_back += 1
        # Bounded, and each time long enough for others to end meanwhile.
        longest_s = min(NO_ROOM_MAX_S, NO_ROOM_FIRST_S * 2.0 ** min(10, self._held_back - 1))
        return HeldBack(random.uniform(longest_s / 2, longest_s), problem)

    def _done(
        self,
        outcome: str,
        now_us: int,
        status: int | None,
        code: str | None,
        message: str | None,
    ) -> Done:
        if outcome != "complete":
            self._held.discard()
        began_us = self._first_call_us if self._first_call_us is not None else now_us
        ledger = Outcome(
            outcome=outcome,
            url=str(self._origin) + self.planned.target,
            status_code=status,
            error_code=code,
            error_message=message[:MAX_ERROR_CHARS] if message else message,
            pages=self._pages,
            rows=self._rows.count if outcome == "complete" else 0,
            attempts=self._attempts,
            latency_ms=(now_us - began_us) // 1000,
            azure_request_id=self._azure_request_id,
            started_at_us=began_us,
            completed_at_us=now_us,
        )
        return Done(ledger, self._held.complete(ledger))

    def close(self) -> None:
        """Let go of held rows."""
        self._held.discard()


def _mark(call: Call) -> bytes:
    # Links are long, and lists have many pages.
    return hashlib.blake2b(call.target.encode() + b"\n" + (call.body or b"")).digest()[:16]


def _with_skip_token(body: bytes, skip_token: str) -> bytes:
    """The Resource Graph query's body, asking for the page after this token."""
    whole = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    options = msgspec.json.decode(
        whole.get("options") or b"null", type=dict[str, msgspec.Raw] | None
    )
    options = options or {}
    options["$skipToken"] = msgspec.Raw(msgspec.json.encode(skip_token))
    whole["options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(whole)

"""One request from its first call to its outcome: retries, pages, long operations.

Pure but for the clock that is handed in: it says what to call next and when, and others call. Its
rows are given out only with the outcome ``complete``.
"""

from __future__ import annotations

from collections.abc import Hashable

from pipeline.arm_limits import Scope, scope_of
from pipeline.message_format.read_actions import is_read
from pipeline.messages import LeaseRef, Outcome, PlannedRequest, RequestKey
from stages.execute.client import Answer, ExchangeFailed
from stages.execute.held import HeldRows, HoldSpace, NoRoom
from stages.execute.operation import Operation, OperationFailed
from stages.execute.origin import ForeignLink, Origin
from stages.execute.paging import Paging, PagingFailed, is_graph_query
from stages.execute.recorded import Recorded, RecordedPage, Recording
from stages.execute.refusals import is_retryable, outcome_of, throttles_scope
from stages.execute.retries import Retries
from stages.execute.rows import (
    BodyTooLarge,
    BrokenBody,
    ResultTruncated,
    RowMaker,
    error_of,
    parse_page,
)
from stages.execute.selecting import SelectFailed
from stages.execute.sources import FALL_BACK_STATUS, from_graph, is_covered, source_of
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
from stages.execute.targets import lists, operation_of
from stages.execute.waits import no_room_wait_s

# Of an error message in the ledger.
MAX_ERROR_CHARS = 2_000

# What no other try mends.
_ENDED = (BodyTooLarge, ForeignLink, OperationFailed, PagingFailed, ResultTruncated, SelectFailed)


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
        recording: what others get of its answer who ask the same; None if it asks for itself.
        shares: it may wait for another's answer, and others for its.
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
        self.recording: Recording | None = None
        self.shares = planned.method == "GET" and not alone
        self._share_key: Hashable | None = None
        self._origin = origin
        self._limits = limits
        self._held = HeldRows(lease, RequestKey.of(planned), space)
        # What may not be done twice is tried again only while it cannot have been done.
        self._repeatable = planned.method != "POST" or is_read(
            planned.target.partition("?")[0], planned.audience
        )
        self._graph_query = is_graph_query(planned)
        self._held_back = 0
        self._known: Recorded | None = None
        self._retries = Retries(limits)
        # From the first call on: what stands in line for its scope has not begun.
        self.first_call_s: float | None = None
        self._first_call_us: int | None = None
        self._attempts = 0
        self._begin(planned.prefer_graph and is_covered(planned.target))

    def _begin(self, by_graph: bool = False) -> None:
        planned = self.planned
        target = from_graph(planned.target) if by_graph else planned.target
        self.call = Call(planned.method, target, planned.headers, planned.body)
        self._by_graph = by_graph
        self._rows = RowMaker(self.lease.message_id, planned)
        self._paging = Paging(planned, self._origin)
        self._operation: Operation | None = None
        self._retries.count = 0
        self._fresh_token_tried = False
        self._azure_request_id: str | None = None
        self._source: str | None = None

    def _begin_anew(self, by_graph: bool = False) -> None:
        self._held.discard()
        if self.recording is not None:
            self.recording.drop()
        self._begin(by_graph)

    def scope(self) -> Scope:
        """What Azure counts the next call by."""
        call, planned = self.call, self.planned
        return scope_of(call.method, call.target, planned.subscription_id, planned.audience)

    @property
    def begun(self) -> bool:
        """A call of it was made."""
        return self._first_call_us is not None

    @property
    def share_key(self) -> Hashable | None:
        """The same for those that ask the same; None for one that asks for itself."""
        if not self.shares:
            return None
        if self._share_key is None:
            planned = self.planned
            headers = tuple(sorted(planned.headers.items()))
            self._share_key = planned.audience, planned.target, planned.prefer_graph, headers
        return self._share_key

    @property
    def may_be_put_off(self) -> bool:
        """It may begin anew, and its message has deliveries left for that."""
        repeatable = self._repeatable or not self._paging.pages
        return repeatable and self.lease.dequeue_count <= self._limits.put_off_until

    @property
    def message(self) -> int:
        """Which message it is of."""
        return self.lease.lease_id

    @property
    def operation(self) -> str:
        """What the next call's provider may count it by."""
        found = operation_of(self.call.method, self.call.target, self.planned.audience)
        return f"{found} by resource-graph" if self._by_graph else found

    def calling(self, now_s: float, now_us: int) -> None:
        """The next call is being made."""
        self.refusal = None
        self._attempts += 1
        if self._first_call_us is None:
            self._first_call_us = now_us
            self.first_call_s = now_s
            self._retries.begin(now_s)

    # ── an answer that others share ──────────────────────────────────────────────────────────────

    def ask_if_changed(self, known: Recorded) -> None:
        """Ask for the answer only if it is not this one any more."""
        if not any(name.lower().startswith("if-") for name in self.planned.headers):
            self._known = known
            headers = {**self.planned.headers, "If-None-Match": known.etag or ""}
            self.call = Call(self.call.method, self.call.target, headers, None)

    def replay(self, recorded: Recorded, now_us: int) -> Step:
        """End with the answer to another request that asked the same."""
        self._azure_request_id = recorded.azure_request_id
        self._source = recorded.source
        try:
            for page in recorded.pages:
                self._add(page, cached=True)
        except NoRoom as error:
            return self._hold_back(str(error))
        except (BodyTooLarge, SelectFailed) as error:
            # What this request keeps of it: whoever asked may keep something else.
            return self._ended(error, now_us, recorded.status)
        self._paging.pages = len(recorded.pages)
        return self._done(
            recorded.outcome, now_us, recorded.status, recorded.error_code,
            recorded.error_message, cached=True,
        )  # fmt: skip

    def _add(self, page: RecordedPage, *, cached: bool = False, etag: str | None = None) -> None:
        """Hold a page's rows, and record it."""
        rows = self._rows.rows(page.page, page.collected_at_us, page.source, cached=cached)
        # An answer that may not be asked for again stays in memory if the disk does not take it.
        self._held.add(rows, keep=not self._repeatable)
        if self.recording is not None:
            self.recording.add(page, etag)

    # ── what came back ───────────────────────────────────────────────────────────────────────

    def answered(self, answer: Answer, now_s: float, now_us: int) -> Step:
        """Go on from an answer."""
        headers, status = answer.headers, answer.status
        self._attempts += answer.sends - 1
        request_id = headers.get("x-ms-request-id") or headers.get("request-id")
        self._azure_request_id = request_id or self._azure_request_id
        self._source = source_of(
            self.planned.audience, self.call.target, headers, graph_query=self._graph_query
        )
        try:
            if 200 <= status < 300:
                self._fresh_token_tried = False
                return self._succeeded(answer, now_s, now_us)
            if status == 304 and self._known is not None:
                return self._unchanged(self._known, now_us)
        except NoRoom as error:
            return self._hold_back(str(error))
        except BrokenBody as error:
            return self._retry("BrokenBody", str(error), answer, now_s, now_us)
        except _ENDED as error:
            return self._ended(error, now_us, status)
        return self._refused(answer, now_s, now_us)

    def _refused(self, answer: Answer, now_s: float, now_us: int) -> Step:
        status = answer.status
        code, message = error_of(answer.body)
        if status == 401 and not self._fresh_token_tried:
            self._fresh_token_tried = True
            return FreshToken()
        if self._by_graph and status in FALL_BACK_STATUS:
            self._begin_anew()
            return Again()
        if is_retryable(status):
            return self._retry(code or f"Http{status}", message, answer, now_s, now_us)
        if status == 304:
            text = "nothing came: the request has an If- header of its own"
            return self._done("failed", now_us, status, "NotModified", text)
        if 300 <= status < 400:
            # Without its query, which in a link to storage is a key.
            where = answer.headers.get("location", "nowhere").partition("?")[0]
            text = f"not followed with a token: {where}"
            return self._done("failed", now_us, status, "Redirected", text)
        outcome = outcome_of(status, of_itself=self.call.target == self.planned.target)
        return self._done(outcome, now_us, status, code or f"Http{status}", message)

    def unanswered(self, error: ExchangeFailed, now_s: float, now_us: int) -> Step:
        """Go on from a call without a whole answer."""
        self._attempts += error.sends - 1
        if not error.retryable or (error.sent and not self.call_repeatable):
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
        return self._retries.late(now_s)

    def _ended(self, error: Exception, now_us: int, status: int) -> Done:
        code = getattr(error, "code", type(error).__name__)
        return self._done("failed", now_us, status, code, str(error))

    # ── how it goes on ───────────────────────────────────────────────────────────────────────

    def _succeeded(self, answer: Answer, now_s: float, now_us: int) -> Step:
        if self._operation is None and answer.status == 202:
            self._operation = Operation.begun(
                self.call.method, self.call.target, answer.headers, self._follow
            )
            if self._operation is None:
                # Accepted is not done, and there is nowhere to ask how it went.
                text = "202 without a link to poll"
                return self._done("failed", now_us, answer.status, "NothingToPoll", text)
        if self._operation is not None:
            polled = self._operation.next(answer, self._follow)
            if polled is not None:
                self.call = Call("GET", polled.target, self.planned.headers, None)
                self._retries.count = 0
                if self._retries.late(now_s + polled.after_s):
                    text = f"still running after {self._limits.request_timeout_s:.0f} s"
                    return self._done("failed", now_us, answer.status, "OperationTimeout", text)
                return Again(polled.after_s)
            self._operation = None
        empty = not answer.body or answer.body.isspace()
        if empty and answer.status == 200 and lists(self.planned):
            # A list of nothing says so. Results of operations are empty at times.
            raise BrokenBody("a list without a body")
        posted = self.call.method == "POST"
        page = parse_page(answer.body, graph=self._graph_query, posted=posted)
        read = RecordedPage(page, now_us, self._source or "")
        self._add(read, etag=answer.headers.get("etag"))
        self._retries.count = 0
        following = self._paging.after(page, self.call)
        if following is None:
            return self._done("complete", now_us, answer.status, None, None)
        self.call = following
        return Again()

    def _unchanged(self, known: Recorded, now_us: int) -> Step:
        """What was known is what there is: Azure has just said so."""
        for page in known.pages:
            confirmed = RecordedPage(page.page, now_us, page.source)
            self._add(confirmed, cached=True, etag=known.etag)
        self._source = known.source
        self._paging.pages = len(known.pages)
        return self._done("complete", now_us, 304, None, None, cached=True)

    def _follow(self, link: str) -> str:
        return self._origin.follow(self.call.target, link)

    @property
    def call_repeatable(self) -> bool:
        """The next call may be made twice."""
        return self._repeatable or self.call.method != "POST"

    def _retry(
        self, code: str, message: str | None, answer: Answer | None, now_s: float, now_us: int
    ) -> Step:
        status = answer.status if answer is not None else None
        throttled = status == 429
        wait = self._retries.next(answer, now_s)
        if throttled:
            self.refusal = Refusal(wait.wait_s, throttles_scope(code, by_graph=self._by_graph))
        if wait.asked_s > self._limits.max_wait_s and self.may_be_put_off:
            return PutOff(wait.asked_s)
        unclear = answer is not None and not throttled and not self.call_repeatable
        if wait.over or unclear:
            return self._done("throttled" if throttled else "failed", now_us, status, code, message)
        # One that was refused stands in line with those that its refusal holds up.
        return Again(0.0 if throttled else wait.wait_s)

    def _hold_back(self, problem: str) -> HeldBack:
        """Begin anew later: what is held so far makes room for requests that need less.

        A full disk is not the request's fault: nothing of it counts against a limit.
        """
        self._begin_anew(self._by_graph)
        self._retries = Retries(self._limits)
        self._first_call_us = self.first_call_s = None
        self._attempts = 0
        self._held_back += 1
        return HeldBack(no_room_wait_s(self._held_back), problem)

    def _done(
        self,
        outcome: str,
        now_us: int,
        status: int | None,
        code: str | None,
        message: str | None,
        *,
        cached: bool = False,
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
            pages=self._paging.pages,
            rows=self._rows.count if outcome == "complete" else 0,
            attempts=self._attempts,
            latency_ms=(now_us - began_us) // 1000,
            azure_request_id=self._azure_request_id,
            started_at_us=began_us,
            completed_at_us=now_us,
            source=self._source,
            cached=cached,
            body_hash=self._rows.body_hash if outcome == "complete" else None,
        )
        return Done(ledger, self._held.complete(ledger))

    def close(self) -> None:
        """Let go of held rows."""
        self._held.discard()

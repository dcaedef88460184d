"""From a request to its answer: control, faults, access, throttling, recordings, the tenant."""

from __future__ import annotations

import gzip
import secrets
from collections import OrderedDict
from collections.abc import Sized

import msgspec

from pipeline.sandbox.arm import actions, arm_errors, spoiling
from pipeline.sandbox.arm.access import Access
from pipeline.sandbox.arm.control_api import CONTROL, ControlApi
from pipeline.sandbox.arm.faults import AnyFault, Faults, LongOperation, kind_of
from pipeline.sandbox.arm.graph import GRAPH_PATH, Graph
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.pages import Listing, One, page
from pipeline.sandbox.arm.recordings import Recordings
from pipeline.sandbox.arm.router import Action, Router
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.stats import Stats
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.throttle import Throttle
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer, Delivery, Request

# Shorter bodies grow when compressed.
GZIP_BYTES_MIN = 200


class AnswerCache:
    """Answers to GET by target, the longest unused forgotten first.

    Args:
        limit_bytes: of all bodies together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._answers: OrderedDict[tuple[str, str, bool], Answer] = OrderedDict()

    def get(self, key: tuple[str, str, bool]) -> Answer | None:
        """The answer, now the most recently used."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: tuple[str, str, bool], answer: Answer) -> None:
        """Keep an answer."""
        self._answers[key] = answer
        self._bytes += len(answer.body)
        while self._bytes > self._limit_bytes:
            _, dropped = self._answers.popitem(last=False)
            self._bytes -= len(dropped.body)

    def clear(self) -> None:
        """Forget all."""
        self._answers.clear()
        self._bytes = 0


class Simulator:
    """Everything behind the connections.

    Args:
        settings: how it is set up.
    """

    def __init__(self, settings: Settings) -> None:
        self._start = settings
        self.tenant = Tenant(settings.subscriptions, settings.vms, settings.groups, settings.seed)
        self.router = Router(self.tenant)
        self.stats = Stats(settings.log_requests)
        self.faults = Faults()
        self.recordings = Recordings()
        self.connections: Sized = ()
        self._control = ControlApi(self)
        self._cache = AnswerCache(settings.cache_mb * 2**20)
        self._ids = secrets.token_hex(8)
        self._ids = f"{self._ids[:8]}-{self._ids[8:12]}-4{self._ids[13:16]}-a000-"
        self._count = 0
        self._operations = Operations(self.tenant.guid("operations"))
        self.configure(settings, None if settings.token is None else frozenset([settings.token]))

    def configure(self, settings: Settings, tokens: frozenset[str] | None) -> None:
        """Go on with these settings; buckets are full again."""
        self.settings = settings
        self.tokens = tokens
        self._access = Access(tokens, self.tenant.id)
        self.throttle = Throttle(settings)
        self._graph = Graph(self.tenant, settings)
        if settings.log_requests != self.stats.log.maxlen:
            self.stats.keep(settings.log_requests)
        self._latency = (
            Delivery(delay_s=settings.latency_ms / 1000) if settings.latency_ms else None
        )
        self._cache.clear()

    def reset(self) -> None:
        """As at the start: settings, full buckets, no faults, no recordings, no counts."""
        start = self._start
        self.faults.replace([])
        self.recordings.clear()
        self.stats.reset()
        self._operations = Operations(self.tenant.guid("operations"))
        self.configure(start, None if start.token is None else frozenset([start.token]))

    # -- requests

    def handle(self, request: Request) -> Answer:
        """The answer to a request, and how it is delivered."""
        target = request.target
        if target.startswith(CONTROL):
            return self._control.handle(request)
        stats = self.stats
        if target.startswith("http"):  # the absolute form, as a proxy is asked
            request.target = target = (
                "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
            )
        fault = self.faults.match(request.method, target) if self.faults.active else None
        if fault is None:
            answer = self._finish(request, self._answer(request))
        else:
            answer = self._faulty(fault, request)
        if self._latency is not None:
            answer = self._delayed(answer)
        if stats.log.maxlen:
            stats.record(request.method, target, request.headers, answer.status)
        return answer

    def origin(self, request: Request) -> str:
        """Scheme, host and port as the client called them."""
        scheme = "https" if self.settings.certfile else "http"
        return f"{scheme}://{request.header(b'host') or '127.0.0.1'}"

    def view(self, action: Action) -> Answer:
        """The answer to GET of what may be a view of a resource."""
        return actions.view(self.tenant, action)

    def graph_ids(self, body: bytes) -> list[str | None]:
        """Ids of all rows of a Resource Graph query."""
        return self._graph.ids(body)

    def _faulty(self, fault: AnyFault, request: Request) -> Answer:
        self.stats.faults[kind_of(fault)] += 1
        # Faults in a body are put into its text.
        request.headers.pop(b"accept-encoding", None)
        answer = spoiling.replacement(fault, request.target) or self._answer(request)
        if isinstance(fault, LongOperation) and answer.status < 300:
            result = self._operations.take(answer) or answer
            answer = self._operations.begin(fault, request, result, self.origin(request))
        answer = self._finish(request, answer)
        return spoiling.spoil(fault, answer, request, self.origin(request))

    def _answer(self, request: Request) -> Answer:
        who = self._access.check(request.headers.get(b"authorization"))
        if isinstance(who, Answer):
            return who
        method, target = request.method, request.target
        if self.recordings.active:
            recorded = self.recordings.find(method, target)
            if recorded is not None:
                return recorded
        path = target.partition("?")[0]
        if method == "POST" and path.lower().rstrip("/") == GRAPH_PATH:
            return self._graph.answer(request, who)
        headers, refusal = self.throttle.check(method, target, who)
        if refusal is not None:
            return refusal.with_headers(*headers)
        return self._serve(request).with_headers(*headers)

    def _serve(self, request: Request) -> Answer:
        method = request.method
        status = self._operations.poll(request, self.origin(request))
        if status is not None:
            return status
        if method == "GET":
            return self._get(request)
        if method == "HEAD":
            found = self.router.resolve(request.target)
            exists = isinstance(found, Listing | One)
            return Answer(204 if exists else 404, kind="exists")
        if method == "POST":
            return self._post(request)
        return arm_errors.method_not_allowed(method)

    def _get(self, request: Request) -> Answer:
        compressed = self.settings.gzip and "gzip" in request.header(b"accept-encoding")
        origin = self.origin(request)
        key = (origin, request.target, compressed)
        answer = self._cache.get(key)
        if answer is not None:
            return answer
        found = self.router.resolve(request.target)
        if isinstance(found, Action):
            return self.view(found)
        if isinstance(found, Listing):
            answer = page(found, origin, request.target, self.settings.page_size)
        elif isinstance(found, One):
            answer = Answer(200, found.body, (("Content-Type", JSON_TYPE),), found.kind)
        else:
            answer = found
        if answer.kind.startswith("Microsoft.Compute/"):
            answer = answer.with_headers(_compute_limits(answer.kind))
        if compressed and len(answer.body) >= GZIP_BYTES_MIN:
            answer = msgspec.structs.replace(
                answer, body=gzip.compress(answer.body, compresslevel=1, mtime=0)
            ).with_headers(("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
        if answer.status == 200:
            self._cache.put(key, answer)
        return answer

    def _post(self, request: Request) -> Answer:
        answer = actions.elsewhere(request, self.tenant)
        if answer is not None:
            return answer
        found = self.router.resolve(request.target)
        if isinstance(found, Answer):
            return found
        if isinstance(found, Action):
            return actions.act(found, request, self._operations, self.origin(request))
        return arm_errors.method_not_allowed("POST")

    def _finish(self, request: Request, answer: Answer) -> Answer:
        self._count += 1
        request_id = f"{self._ids}{self._count:012x}"
        correlation = request.header(b"x-ms-correlation-request-id") or request_id
        return msgspec.structs.replace(
            answer,
            kind=f"{request.method} {answer.kind}",
            headers=(
                ("Cache-Control", "no-cache"),
                *answer.headers,
                ("x-ms-request-id", request_id),
                ("x-ms-correlation-request-id", correlation),
            ),
        )

    def _delayed(self, answer: Answer) -> Answer:
        latency = self._latency
        if answer.delivery is not None and latency is not None:
            latency = msgspec.structs.replace(
                answer.delivery, delay_s=answer.delivery.delay_s + latency.delay_s
            )
        return msgspec.structs.replace(answer, delivery=latency)


def _compute_limits(kind: str) -> tuple[str, str]:
    """What Compute says is left of its own limits; the simulator does not enforce them."""
    if kind.endswith(" list"):
        left = "Microsoft.Compute/HighCostGet3Min;136,Microsoft.Compute/HighCostGet30Min;696"
    else:
        left = "Microsoft.Compute/LowCostGet3Min;3993,Microsoft.Compute/LowCostGet30Min;31993"
    return "x-ms-ratelimit-remaining-resource", left

"""Azure Resource Manager: buckets, then Resource Graph, long operations, the tenant."""

from __future__ import annotations

import hashlib

import msgspec

from pipeline.sandbox.arm import actions, arm_errors
from pipeline.sandbox.arm.access import Access
from pipeline.sandbox.arm.answer_cache import AnswerCache
from pipeline.sandbox.arm.api import Dialect, RequestIds
from pipeline.sandbox.arm.graph import GRAPH_PATH, Graph
from pipeline.sandbox.arm.graph_reads import GraphReads
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.padding import padded
from pipeline.sandbox.arm.pages import Listing, One, page
from pipeline.sandbox.arm.router import Action, Router
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.throttle import Throttle
from pipeline.sandbox.arm.wire import JSON_TYPE, Answer, Request, compressed, takes_gzip

# Whose single resources have an ETag; ARM's other providers give none.
TAGGED = "Microsoft.Network/"
ETAG_DIGITS = 32

_DIALECT = Dialect(arm_errors.arm_error, "SubscriptionRequestsThrottled", "nextLink")


class ResourceManager:
    """Answers as ARM does.

    Args:
        tenant: what exists.
        router: finds what a path names.
        operations: those under way.
        ids: request ids.
        settings: sizes of buckets and pages.
        access: whose tokens are taken.
        cache: answers that are ready; of no other page size than that of the settings.
    """

    dialect = _DIALECT

    def __init__(
        self,
        tenant: Tenant,
        router: Router,
        operations: Operations,
        ids: RequestIds,
        settings: Settings,
        access: Access,
        cache: AnswerCache,
    ) -> None:
        self.access = access
        self.throttle = Throttle(settings)
        self.graph = Graph(tenant, settings)
        self._graph_reads = GraphReads(tenant, router, settings)
        self._tenant = tenant
        self._router = router
        self._operations = operations
        self._ids = ids
        self._settings = settings
        self._cache = cache

    def answer(self, request: Request, principal: str, origin: str) -> Answer:
        """The answer to a request; see :class:`~pipeline.sandbox.arm.api.Api`."""
        method, target = request.method, request.target
        path = target.partition("?")[0]
        if method == "POST" and path.lower().rstrip("/") == GRAPH_PATH:
            return self.graph.answer(request, principal)
        headers, refusal = self.throttle.check(method, target, principal)
        if refusal is not None:
            return refusal.with_headers(*headers)
        return self._serve(request, principal, origin).with_headers(*headers)

    def finish(self, request: Request, answer: Answer) -> Answer:
        """The answer with the headers that all of ARM's have."""
        request_id = self._ids.next()
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

    def view(self, action: Action) -> Answer:
        """The answer to GET of what may be a view of a resource."""
        return actions.view(self._tenant, action)

    def _serve(self, request: Request, principal: str, origin: str) -> Answer:
        method = request.method
        status = self._operations.poll(request, origin)
        if status is not None:
            return status
        if method == "GET":
            indexed = self._graph_reads.answer(request, principal, origin)
            if indexed is None:
                return _unless_known(request, self._get(request, origin))
            return compressed(indexed) if self._zips(request) else indexed
        if method == "HEAD":
            found = self._router.resolve(request.target)
            exists = isinstance(found, Listing | One)
            return Answer(204 if exists else 404, kind="exists")
        if method == "POST":
            return self._post(request, origin)
        return arm_errors.method_not_allowed(method)

    def _get(self, request: Request, origin: str) -> Answer:
        zipped = self._zips(request)
        key = (origin, request.target, zipped)
        answer = self._cache.get(key)
        if answer is not None:
            return answer
        found = self._router.resolve(request.target)
        if isinstance(found, Action):
            return self.view(found)
        if isinstance(found, Listing):
            answer = page(found, origin, request.target, self._settings.page_size)
        elif isinstance(found, One):
            body = found.body
            if self._settings.answer_bytes and found.item is not None:
                body = padded(body, found.item, self._settings.answer_bytes)
            answer = Answer(200, body, (("Content-Type", JSON_TYPE),), found.kind)
            if found.kind.startswith(TAGGED):
                answer = answer.with_headers(("ETag", _etag(body)))
        else:
            answer = found
        if answer.kind.startswith("Microsoft.Compute/"):
            answer = answer.with_headers(_compute_limits(answer.kind))
        if zipped:
            answer = compressed(answer)
        if answer.status == 200:
            self._cache.put(key, answer)
        return answer

    def _zips(self, request: Request) -> bool:
        return self._settings.gzip and takes_gzip(request)

    def _post(self, request: Request, origin: str) -> Answer:
        answer = actions.elsewhere(request, self._tenant)
        if answer is not None:
            return answer
        found = self._router.resolve(request.target)
        if isinstance(found, Answer):
            return found
        if isinstance(found, Action):
            return actions.act(found, request, self._operations, origin)
        return arm_errors.method_not_allowed("POST")


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:ETAG_DIGITS]}"'


def _unless_known(request: Request, answer: Answer) -> Answer:
    """The answer, or that nothing has changed for a client that has this very one."""
    known = request.header(b"if-none-match")
    etag = answer.header("ETag") if known else ""
    # RFC 9110, 13.1.2: compared weakly.
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if not etag or (etag not in tags and "*" not in tags):
        return answer
    return Answer(304, headers=(("ETag", etag),), kind=answer.kind)


def _compute_limits(kind: str) -> tuple[str, str]:
    """What Compute says is left of its own limits; the simulator does not enforce them."""
    if kind.endswith(" list"):
        left = "Microsoft.Compute/HighCostGet3Min;136,Microsoft.Compute/HighCostGet30Min;696"
    else:
        left = "Microsoft.Compute/LowCostGet3Min;3993,Microsoft.Compute/LowCostGet30Min;31993"
    return "x-ms-ratelimit-remaining-resource", left

"""From a request to its answer: control, faults, access, recordings, and the API that is asked."""

from __future__ import annotations

from collections.abc import Sized

import msgspec

from pipeline.sandbox.arm import arm_errors, msgraph, spoiling
from pipeline.sandbox.arm.access import Access
from pipeline.sandbox.arm.answer_cache import AnswerCache
from pipeline.sandbox.arm.api import Api, RequestIds
from pipeline.sandbox.arm.control_api import CONTROL, ControlApi
from pipeline.sandbox.arm.directory import Directory
from pipeline.sandbox.arm.faults import AnyFault, Faults, LongOperation, kind_of
from pipeline.sandbox.arm.msgraph import MicrosoftGraph
from pipeline.sandbox.arm.operations import Operations
from pipeline.sandbox.arm.recordings import Recordings
from pipeline.sandbox.arm.resource_manager import ResourceManager
from pipeline.sandbox.arm.router import Router
from pipeline.sandbox.arm.settings import Settings
from pipeline.sandbox.arm.stats import Stats
from pipeline.sandbox.arm.tenant import Tenant
from pipeline.sandbox.arm.wire import Answer, Delivery, Request

# Accepted tokens; None is any.
Tokens = frozenset[str] | None


class Simulator:
    """Everything behind the connections.

    Args:
        settings: how it is set up.
    """

    def __init__(self, settings: Settings) -> None:
        self._start = settings
        self.tenant = Tenant(settings.subscriptions, settings.vms, settings.groups, settings.seed)
        self.directory = Directory(self.tenant.id, settings.users, self.tenant.guid)
        self.router = Router(self.tenant)
        self.stats = Stats(settings.log_requests)
        self.faults = Faults()
        self.recordings = Recordings()
        self.connections: Sized = ()
        self._control = ControlApi(self)
        self._ids = RequestIds()
        self._operations = Operations(self.tenant.guid("operations"))
        self._cache = AnswerCache(settings.cache_mb * 2**20)
        self.settings = settings
        self.configure(settings, _only(settings.token), _only(settings.graph_token))

    def configure(self, settings: Settings, tokens: Tokens, graph_tokens: Tokens) -> None:
        """Go on with these settings; buckets are full again.

        Args:
            settings: their tokens are not looked at.
            tokens: that ARM accepts.
            graph_tokens: that Microsoft Graph accepts.
        """
        if settings.page_size != self.settings.page_size:
            self._cache.clear()
        self.settings = settings
        self.tokens = tokens
        self.graph_tokens = graph_tokens
        tenant, arm, graph = self.tenant, tokens or frozenset(), graph_tokens or frozenset()
        self.manager = ResourceManager(
            tenant,
            self.router,
            self._operations,
            self._ids,
            settings,
            Access(tokens, graph, lambda fault: arm_errors.unauthorized(fault, tenant.id)),
            self._cache,
        )
        self.microsoft_graph = MicrosoftGraph(
            self.directory,
            self._operations,
            self._ids,
            settings,
            Access(graph_tokens, arm, msgraph.unauthorized),
        )
        if settings.log_requests != self.stats.log.maxlen:
            self.stats.keep(settings.log_requests)
        self._latency = (
            Delivery(delay_s=settings.latency_ms / 1000) if settings.latency_ms else None
        )

    def reset(self) -> None:
        """As at the start: settings, full buckets, no faults, no recordings, no counts."""
        start = self._start
        self.faults.replace([])
        self.recordings.clear()
        self.stats.reset()
        self._operations.reset()
        self.configure(start, _only(start.token), _only(start.graph_token))

    # -- requests

    def handle(self, request: Request) -> Answer:
        """ARM's answer to a request, and how it is delivered."""
        return self._handle(request, self.manager)

    def handle_graph(self, request: Request) -> Answer:
        """The same of Microsoft Graph."""
        return self._handle(request, self.microsoft_graph)

    def _handle(self, request: Request, api: Api) -> Answer:
        target = request.target
        if target.startswith(CONTROL):
            return self._control.handle(request)
        stats = self.stats
        if target.startswith("http"):  # the absolute form, as a proxy is asked
            request.target = target = (
                "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
            )
        fault = self.faults.match(request.method, target) if self.faults.active else None
        origin = self._origin(request)
        if fault is None:
            answer = api.finish(request, self._answer(request, api, origin))
        else:
            answer = self._faulty(fault, request, api, origin)
        if self._latency is not None:
            answer = self._delayed(answer)
        if stats.log.maxlen:
            stats.record(request.method, target, request.headers, answer.status)
        return answer

    def _origin(self, request: Request) -> str:
        """Scheme, host and port as the client called them."""
        scheme = "https" if self.settings.certfile else "http"
        return f"{scheme}://{request.header(b'host') or '127.0.0.1'}"

    def _faulty(self, fault: AnyFault, request: Request, api: Api, origin: str) -> Answer:
        self.stats.faults[kind_of(fault)] += 1
        # Faults in a body are put into its text.
        request.headers.pop(b"accept-encoding", None)
        answer = spoiling.replacement(fault, request.target, api.dialect)
        answer = answer or self._answer(request, api, origin)
        if isinstance(fault, LongOperation) and answer.status < 300:
            result = self._operations.take(answer) or answer
            answer = self._operations.begin(fault, request, result, origin)
        return spoiling.spoil(fault, api.finish(request, answer), request, origin, api.dialect)

    def _answer(self, request: Request, api: Api, origin: str) -> Answer:
        who = api.access.check(request.headers.get(b"authorization"))
        if isinstance(who, Answer):
            return who
        if self.recordings.active:
            recorded = self.recordings.find(request.method, request.target)
            if recorded is not None:
                return recorded
        return api.answer(request, who, origin)

    def _delayed(self, answer: Answer) -> Answer:
        latency = self._latency
        if answer.delivery is not None and latency is not None:
            latency = msgspec.structs.replace(
                answer.delivery, delay_s=answer.delivery.delay_s + latency.delay_s
            )
        return msgspec.structs.replace(answer, delivery=latency)


def _only(token: str | None) -> Tokens:
    return None if token is None else frozenset([token])

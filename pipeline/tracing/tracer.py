"""The spans of one process, and their way out. The only file that imports OpenTelemetry.

Spans are made when what they tell of is over, with the time it began, so none is kept open. The
SDK's own thread exports them; its queue is bounded, and what does not fit is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

import pipeline
from pipeline.logs import log, masked
from pipeline.tracing.context import MessageIds

SERVICE = "azure-collector"
# What waits to be exported at the end of a process gets so long.
FLUSH_LIMIT_S = 2.0
# Messages that the span of a load links to, and those that are looked at for some that are sampled:
# a load may have many thousands.
MAX_LINKS = 128
MAX_LOOKED_AT = 2_000
# How often it is told that traces are not delivered.
TELL_EVERY_S = 60.0
LIBRARY = "opentelemetry"

_ROOT = Context()

# None stands for what is not known, and is left out.
Value = str | int | bool | Sequence[str] | None
Attributes = Mapping[str, Value]


class Tracer:
    """Makes spans. Called by the process's loop only.

    Args:
        process: name of the process, e.g. ``execute-0``.
        environ: for whether the service has a name.
    """

    def __init__(self, process: str, environ: Mapping[str, str]) -> None:
        about = {"service.version": pipeline.__version__, "azure_collector.process": process}
        if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            about["service.name"] = SERVICE
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=Resource.create(about), id_generator=self._ids, shutdown_on_exit=False
        )
        self._sampler = self._provider.sampler
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        # What it says of its variables was said before, as any library's.
        _tell_for_the_library()
        self._tracer = self._provider.get_tracer("azure-cloud-collector", pipeline.__version__)

    def message(
        self,
        ids: MessageIds,
        began_ns: int,
        attributes: Attributes,
        *,
        error: str | None = None,
        committed_ns: int | None = None,
    ) -> None:
        """A delivery of a message is over, now.

        Args:
            ids: of the delivery.
            began_ns: nanoseconds since 1970.
            attributes: of the span.
            error: why it failed.
            committed_ns: when its last row was committed, if they all were.
        """
        self._ids.given = ids
        span = self._tracer.start_span(
            "message", _above(ids), SpanKind.CONSUMER, _known(attributes), start_time=began_ns
        )
        self._ids.given = None
        if committed_ns is not None:
            span.add_event("committed", timestamp=committed_ns)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, masked(error)))
        span.end()

    def request(
        self,
        ids: MessageIds,
        began_ns: int,
        ended_ns: int,
        attributes: Attributes,
        error: str | None = None,
    ) -> None:
        """A request of a message has its outcome.

        Args:
            ids: of the message's delivery.
            began_ns: nanoseconds since 1970.
            ended_ns: the same.
            attributes: of the span.
            error: why it failed.
        """
        context = set_span_in_context(NonRecordingSpan(self._span_of(ids)), _ROOT)
        span = self._tracer.start_span(
            "request", context, SpanKind.CLIENT, _known(attributes), start_time=began_ns
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, masked(error)))
        span.end(ended_ns)

    def load(
        self,
        messages: Iterable[MessageIds],
        began_ns: int,
        attributes: Attributes,
        error: str | None = None,
    ) -> None:
        """A load is over, now: a trace of its own, linked to the messages whose rows it had.

        Args:
            messages: their deliveries; the first :data:`MAX_LINKS` of the first
                :data:`MAX_LOOKED_AT` that are sampled are linked to.
            began_ns: nanoseconds since 1970.
            attributes: of the span.
            error: why it failed.
        """
        contexts = (self._span_of(ids) for ids in islice(messages, MAX_LOOKED_AT))
        sampled = (context for context in contexts if context.trace_flags.sampled)
        links = [Link(context) for context in islice(sampled, MAX_LINKS)]
        span = self._tracer.start_span(
            "load", _ROOT, SpanKind.CLIENT, _known(attributes), links, began_ns
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, masked(error)))
        span.end()

    async def close(self) -> None:
        """Export what waits, for as long as that may take; the process may end then."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(ended.set)

        # A thread of our own: those of the loop's pool may all hang in calls.
        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        try:
            await asyncio.wait_for(ended.wait(), FLUSH_LIMIT_S)
        except TimeoutError:
            log.bind(action="traces_dropped").debug("the last traces are not delivered")

    def _span_of(self, ids: MessageIds) -> SpanContext:
        """The span of a delivery, which another process makes: sampled if that samples it."""
        sampled = self._sampler.should_sample(_above(ids), ids.trace_id, "message")
        is_sampled = sampled.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else 0)
        return SpanContext(ids.trace_id, ids.span_id, is_remote=True, trace_flags=flags)


class _Ids(RandomIdGenerator):
    """Random ids, but for the span whose ids are given."""

    def __init__(self) -> None:
        self.given: MessageIds | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.given is None else self.given.trace_id

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.given is None else self.given.span_id


class _Undelivered(logging.Handler):
    """What the SDK says, of which an outage makes a line for each try: one a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told_s: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            log.bind(action="traces_dropped").warning(
                "traces are not delivered: {}", record.getMessage()
            )


def _tell_for_the_library() -> None:
    logger = logging.getLogger(LIBRARY)
    logger.handlers = [_Undelivered()]
    logger.propagate = False


def _above(ids: MessageIds) -> Context:
    """What the span of a delivery stands under."""
    parent = ids.parent
    if parent is None:
        return _ROOT
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else 0)
    span = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span), _ROOT)


def _known(attributes: Attributes) -> dict[str, str | int | bool | Sequence[str]]:
    return {
        name: masked(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }

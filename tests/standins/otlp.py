"""A receiver of traces: OTLP over HTTP, as an OpenTelemetry collector takes them.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.standins.http_server import Answer, Request, StandIn

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class ReceivedSpan:
    """One span; ids in lower-case hexadecimal, ``parent`` is "" for a root.

    Attributes:
        process: the resource's ``azure_collector.process``.
        service: the resource's ``service.name``.
        links: trace id and span id of each.
    """

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    events: list[str]
    links: list[tuple[str, str]]
    failed: bool
    seconds: float
    process: str
    service: str


class Otlp(StandIn):
    """The receiver.

    Attributes:
        spans: in the order in which they came.
        bodies: each request's, as it came.
        headers: of each request.
    """

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        super().__init__()

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def respond(self, request: Request) -> Answer:
        """Take what comes in one request."""
        self.counts[request.path] += 1
        if (request.method, request.path) != ("POST", PATH):
            return Answer(404, {})
        if request.headers.get("content-type") != PROTOBUF:
            return Answer(415, {})
        self.bodies.append(request.body)
        self.headers.append(request.headers)
        for of_resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            about = _values(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.spans += [_received(span, about) for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return Answer(200, answer, {"Content-Type": PROTOBUF})


def _received(span: Any, about: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_values(span.attributes),
        events=[event.name for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        process=about.get("azure_collector.process", ""),
        service=about.get("service.name", ""),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)

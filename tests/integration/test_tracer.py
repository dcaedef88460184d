"""The tracer with the real SDK, and a receiver of its spans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from pipeline.tracing.context import MessageIds, message_ids
from pipeline.tracing.start import start
from pipeline.tracing.tracer import FLUSH_LIMIT_S, MAX_LINKS, Tracer
from tests.standins.otlp import Otlp

PARENT = "00f067aa0ba902b7"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Otlp]:
    with Otlp() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def started(name: str, kind: str) -> Tracer:
    tracer = start(name, kind)
    assert tracer is not None
    return tracer


def messages(count: int, traceparent: str | None = None) -> list[MessageIds]:
    return [message_ids("q", f"id-{number}", 1, traceparent) for number in range(count)]


def trace(*found: MessageIds) -> None:
    """As three processes do that know nothing of each other."""
    fetch, execute = started("fetch", "fetch"), started("execute-0", "execute")
    load = started("load", "load")
    now_ns = time.time_ns()
    for ids in found:
        execute.request(ids, now_ns, now_ns, {})
        fetch.message(ids, now_ns, {})
    load.load(found, now_ns, {})
    for tracer in (fetch, execute, load):
        asyncio.run(tracer.close())


def test_all_processes_sample_the_same_messages(
    receiver: Otlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    trace(*messages(60))
    spans = {span.span for span in receiver.named("message")}
    assert 10 < len(spans) < 50
    assert {span.parent for span in receiver.named("request")} == spans
    # The load is a trace of its own, and may itself not be sampled.
    for load in receiver.named("load"):
        assert {span for _, span in load.links} == spans


@pytest.mark.parametrize(("flags", "count"), [("01", 2), ("00", 0)])
def test_what_the_producer_does_not_sample_is_not_sampled(
    receiver: Otlp, flags: str, count: int
) -> None:
    trace(*messages(2, f"00-{'1' * 32}-{PARENT}-{flags}"))
    assert len(receiver.named("message")) == len(receiver.named("request")) == count
    assert {span.parent for span in receiver.named("message")} <= {PARENT}
    assert [len(load.links) for load in receiver.named("load")] == [count]


def test_a_load_links_to_some_of_its_messages(receiver: Otlp) -> None:
    tracer = started("load", "load")
    tracer.load(messages(MAX_LINKS + 1), time.time_ns(), {})
    asyncio.run(tracer.close())
    assert [len(load.links) for load in receiver.spans] == [MAX_LINKS]


def test_a_receiver_that_does_not_answer_is_not_waited_for(receiver: Otlp) -> None:
    receiver.silent = True
    tracer = started("fetch", "fetch")
    tracer.message(messages(1)[0], time.time_ns(), {})
    began_s = time.monotonic()
    asyncio.run(tracer.close())
    assert time.monotonic() - began_s < FLUSH_LIMIT_S + 1

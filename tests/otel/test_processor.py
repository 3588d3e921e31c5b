"""The processor: live starts, ids from the live parent, unsampled spans."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import set_span_in_context
from support.otel import Fixed, arguments, lines, new_id, provider_with
from support.sdk import names

from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsSpanProcessor

TURN: dict[str, Any] = {"mindlytics.turn.user": "u", "mindlytics.turn.assistant": "a"}


def test_starts_go_out_while_the_spans_are_open(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    tracer = provider.get_tracer("app")
    session_id = new_id()
    session = tracer.start_span(
        "mindlytics.session", attributes={"session.id": session_id, "mindlytics.device.id": "d"}
    )
    shared_service.wait_for(lambda at: names(at.events(session_id)) == ["start_session"])
    conversation = tracer.start_span(
        "mindlytics.conversation",
        context=set_span_in_context(session),
        attributes={"gen_ai.conversation.id": new_id("c")},
    )
    shared_service.wait_for(lambda at: names(at.events(session_id))[1:] == ["Conversation Started"])
    conversation.add_event("mindlytics.turn", TURN)
    conversation.end()
    session.end()
    provider.force_flush()
    assert names(shared_service.events(session_id))[2:] == ["Conversation Turn", "Conversation Ended", "end_session"]
    assert {event["device_id"] for event in shared_service.events(session_id)} == {"d"}
    provider.shutdown()


@pytest.mark.parametrize(("decision", "count"), [(Decision.DROP, 0), (Decision.RECORD_ONLY, 2)])
def test_recorded_spans_are_read_though_they_are_not_sampled(
    shared_service: LocalMindlytics, decision: Decision, count: int
) -> None:
    provider = provider_with(shared_service, "processor", sampler=Fixed(decision))
    session_id = new_id()
    provider.get_tracer("app").start_span("mindlytics.session", attributes={"session.id": session_id}).end()
    provider.force_flush()
    assert len(shared_service.events(session_id)) == count
    provider.shutdown()


def test_other_spans_cost_nothing_and_mean_nothing(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor", project_id=new_id("p"))
    before = shared_service.received
    for name in ("GET /", "chat gpt", "mindlytics", "mindlytics.session.other"):
        provider.get_tracer("app").start_span(name, attributes={"session.id": new_id()}).end()
    assert provider.force_flush() is True
    assert shared_service.received == before
    provider.shutdown()


def test_nothing_it_is_given_makes_it_raise(shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        name = "mindlytics.session"
        instrumentation_scope = None
        attributes: Any = 3
        context = None

    processor = MindlyticsSpanProcessor(**arguments(shared_service))
    broken: Any = Broken()
    processor.on_start(broken)
    processor.on_end(broken)
    processor.shutdown()
    assert "Traceback" not in caplog.text


def test_a_live_span_shows_what_its_provider_cuts(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    limits = SpanLimits(max_attribute_length=100)
    provider = provider_with(shared_service, "processor", limits=limits, project_id=new_id("p"))
    for _ in range(2):
        provider.get_tracer("app").start_span("mindlytics.session", attributes={"session.id": new_id()}).end()
    provider.shutdown()
    (line,) = lines(caplog)
    assert "max_attribute_length" in line


def test_after_its_shutdown_nothing_new_is_read(shared_service: LocalMindlytics) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    processor = MindlyticsSpanProcessor(**arguments(shared_service))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("app")
    before, after = new_id(), new_id()
    open_span = tracer.start_span("mindlytics.session", attributes={"session.id": before})
    processor.shutdown()
    assert processor.is_shut_down
    assert processor.bridge is not None
    late = tracer.start_span("mindlytics.session", attributes={"session.id": after})
    assert not processor.bridge.saw_start(late.get_span_context().span_id)
    open_span.end()
    processor.force_flush()
    assert names(shared_service.events(before)) == ["start_session", "end_session"]
    late.end()


def test_a_log_handler_that_raises_does_not_reach_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError

    monkeypatch.delenv("MLSDK_API_KEY", raising=False)
    handler = Raising()
    logging.getLogger("mlsdk_otel").addHandler(handler)
    try:
        MindlyticsSpanProcessor().shutdown()
    finally:
        logging.getLogger("mlsdk_otel").removeHandler(handler)

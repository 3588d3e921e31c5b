"""Spans of AI libraries through the real SDK: with the exporter, the processor, both, whoever sets the ids."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, Tracer, set_span_in_context
from support.otel import arguments, instrumented, lines, new_id, provider_with
from support.sdk import names, sync_client_of

from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsLogRecordExporter, end_session, using_session

READERS = [("exporter",), ("processor",), ("exporter", "processor")]
CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


def said(*texts: str) -> str:
    """Messages by user and assistant in turn, the first by the user."""
    roles = ("user", "assistant")
    return json.dumps(
        [{"role": roles[place % 2], "parts": [{"type": "text", "content": text}]} for place, text in enumerate(texts)]
    )


def answered(text: str) -> str:
    """The answer of a model."""
    return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text}]}])


def call(tracer: Tracer, *history: str, answer: str | None = "ok", **options: Any) -> None:
    """A call of a model, as a library tells it."""
    with tracer.start_as_current_span("chat m", attributes=CALL, **options) as span:
        span.set_attribute("gen_ai.input.messages", said(*history))
        if answer is not None:
            span.set_attribute("gen_ai.output.messages", answered(answer))


def turns(service: LocalMindlytics, session_id: str) -> list[str]:
    return [
        event["properties"]["user"] for event in service.events(session_id) if event.get("event") == "Conversation Turn"
    ]


@pytest.fixture(params=READERS, ids=len)
def provider(request: pytest.FixtureRequest, shared_service: LocalMindlytics) -> Iterator[TracerProvider]:
    """A provider with each kind of reader."""
    made = provider_with(shared_service, *request.param)
    yield made
    made.shutdown()


def test_ids_of_a_span_above_are_those_of_the_turn(provider: TracerProvider, shared_service: LocalMindlytics) -> None:
    tracer = provider.get_tracer("app")
    session_id = new_id()
    with tracer.start_as_current_span("POST /chat") as span:
        call(tracer, "hi")
        span.set_attributes({"session.id": session_id, "user.id": "ada"})
    assert provider.force_flush() is True
    assert names(shared_service.events(session_id)) == ["Conversation Started", "Conversation Turn"]
    assert {event["user_id"] for event in shared_service.events(session_id)} == {"ada"}
    provider.shutdown()
    shared_service.wait_for(lambda at: names(at.events(session_id))[2:] == ["Conversation Ended"])


def test_a_session_that_is_its_trace_starts_and_ends(provider: TracerProvider, shared_service: LocalMindlytics) -> None:
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("POST /chat") as span:
        session_id = f"{span.get_span_context().trace_id:032x}"
        call(tracer, "hi")
    provider.force_flush()
    provider.shutdown()
    whole = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]
    shared_service.wait_for(lambda at: names(at.events(session_id)) == whole)


def test_the_application_ends_a_session_by_its_id(provider: TracerProvider, shared_service: LocalMindlytics) -> None:
    tracer = provider.get_tracer("app")
    session_id = new_id()
    with tracer.start_as_current_span("POST /chat", attributes={"session.id": session_id}):
        call(tracer, "hi")
    provider.force_flush()
    end_session(session_id)
    end_session(session_id)
    shared_service.wait_for(lambda at: names(at.events(session_id))[2:] == ["Conversation Ended", "end_session"])


def test_parallel_users_are_not_mixed(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    tracer = provider.get_tracer("app")
    users = [new_id("user") for _ in range(100)]

    async def serve(user: str) -> None:
        with using_session(f"s-{user}", user_id=user), tracer.start_as_current_span("POST /chat"):
            await asyncio.sleep(0)
            await asyncio.to_thread(call, tracer, f"I am {user}")
            call(tracer, f"I am {user}", "ok", "bye")

    async def main() -> None:
        await asyncio.gather(*(serve(user) for user in users))

    asyncio.run(main())
    provider.force_flush()
    for user in users:
        assert turns(shared_service, f"s-{user}") == [f"I am {user}", "bye"]
        assert {event["user_id"] for event in shared_service.events(f"s-{user}")} == {user}
    provider.shutdown()


def test_the_inner_surroundings_count_and_those_of_another_session_have_no_part(
    shared_service: LocalMindlytics,
) -> None:
    provider = provider_with(shared_service, "processor")
    tracer = provider.get_tracer("app")
    outer, inner, own = new_id(), new_id(), new_id()
    with using_session(outer, user_id="ada"), tracer.start_as_current_span("POST /chat"):
        call(tracer, "a")
        with using_session(inner, attributes={"plan": "free"}):
            call(tracer, "b")
        with tracer.start_as_current_span("work", attributes={"session.id": own}):
            call(tracer, "c")
    provider.force_flush()
    assert [turns(shared_service, session_id) for session_id in (outer, inner, own)] == [["a"], ["b"], ["c"]]
    assert "user_id" not in shared_service.events(own)[0]
    assert shared_service.events(inner)[0]["properties"] == {"plan": "free"}
    provider.shutdown()


def test_what_a_long_root_says_is_known_before_it_ends(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSDK_OTEL_HOLD_SECONDS", "0")
    provider = provider_with(shared_service, "processor", project_id=new_id("p"))
    tracer = provider.get_tracer("app")
    session_id = new_id()
    with (
        tracer.start_as_current_span("websocket", attributes={"session.id": session_id}),
        tracer.start_as_current_span("message"),
    ):
        call(tracer, "hi")
        shared_service.wait_for(lambda at: turns(at, session_id) == ["hi"])
    provider.shutdown()


def test_a_remote_parent_is_not_waited_for(provider: TracerProvider, shared_service: LocalMindlytics) -> None:
    tracer = provider.get_tracer("app")
    parent = SpanContext(0xF00D, 0xF00D, is_remote=True, trace_flags=TraceFlags(1))
    with using_session(new_id()):
        call(tracer, "hi", context=set_span_in_context(NonRecordingSpan(parent)))
    provider.force_flush()
    assert any(turns(shared_service, str(event["session_id"])) for event in shared_service.events())


@pytest.mark.parametrize("reader", ["exporter", "processor"])
@pytest.mark.parametrize("is_passed", [False, True])
def test_inside_a_session_of_ours_the_application_tells_its_turns(
    shared_service: LocalMindlytics, reader: str, is_passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSDK_OTEL_HOLD_SECONDS", "0")  # a session lasts longer than anything waits for it
    project = new_id("p")
    provider = provider_with(shared_service, reader, project_id=project)
    client = sync_client_of(shared_service, project_id=project)
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        tracer = provider.get_tracer("app")
        with client.create_session(session_id=session_id, device_id="d") as session:
            conversation_id = session.start_conversation()
            with session.use(conversation_id):
                if is_passed:
                    with using_session(session):
                        call(tracer, f"in {session_id}")
                else:
                    call(tracer, f"in {session_id}")
                for _ in range(2):
                    tracer.start_span("chat m", attributes=CALL).end()
                    provider.force_flush()
    # The exporter does not see what was current where a span started.
    expected = [session_id] if is_passed and reader == "processor" else []
    told = [event for event in shared_service.events() if event.get("event") == "Conversation Turn"]
    assert [event["session_id"] for event in told if event["properties"]["user"] == f"in {session_id}"] == expected


def test_texts_in_log_records_are_the_spans(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "exporter", project_id="with-logs")
    logger_provider = LoggerProvider(shutdown_on_exit=False)
    logger_provider.add_log_record_processor(
        BatchLogRecordProcessor(MindlyticsLogRecordExporter(**arguments(shared_service, project_id="with-logs")))
    )
    tracer, session_id = provider.get_tracer("app"), new_id()
    with tracer.start_as_current_span("chat m", attributes={**CALL, "session.id": session_id}):
        record = LogRecord(
            event_name="gen_ai.client.inference.operation.details",
            attributes={
                "gen_ai.input.messages": said("hi"),
                "gen_ai.output.messages": answered("hello"),
            },
        )
        logger_provider.get_logger("app").emit(record)
    logger_provider.force_flush()
    provider.force_flush()
    assert turns(shared_service, session_id) == ["hi"]
    logger_provider.shutdown()
    provider.shutdown()


def test_one_line_says_how_to_have_texts(shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture) -> None:
    provider = provider_with(shared_service, "processor", project_id=new_id("p"))
    tracer = provider.get_tracer("opentelemetry.instrumentation.genai.openai")
    for _ in range(3):
        tracer.start_span("chat m", attributes={**CALL, "gen_ai.usage.input_tokens": 3}).end()
    provider.force_flush()
    [line] = [line for line in lines(caplog) if "texts" in line]
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in line
    provider.shutdown()


def test_a_thread_that_ends_a_span_elsewhere_still_belongs(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    tracer, session_id = provider.get_tracer("app"), new_id()
    with using_session(session_id):
        span = tracer.start_span("chat m", attributes={**CALL, "gen_ai.input.messages": said("hi")})
    span.set_attribute("gen_ai.output.messages", answered("a"))
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join()
    provider.force_flush()
    assert turns(shared_service, session_id) == ["hi"]
    provider.shutdown()

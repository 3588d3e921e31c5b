"""Exporters: honest about delivery where that harms nobody, never in the way where it does, never an exception."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as logs
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from support.otel import arguments, lines, new_id, provider_with
from support.sdk import PATIENCE, names

from mlsdk.local import Fault, LocalMindlytics
from mlsdk_otel import MindlyticsLogRecordExporter, MindlyticsSpanExporter, MindlyticsSpanProcessor
from mlsdk_otel.bridge import bridge_for
from mlsdk_otel.config import resolve
from mlsdk_otel.road import EXPORT_TIMEOUT


def write(provider: TracerProvider, session_id: str, *, turns: int = 1, device: str = "d1") -> None:
    """A native session by hand."""
    tracer = provider.get_tracer("app")
    with (
        tracer.start_as_current_span(
            "mindlytics.session", attributes={"session.id": session_id, "mindlytics.device.id": device}
        ),
        tracer.start_as_current_span("mindlytics.conversation", attributes={"session.id": session_id}) as span,
    ):
        for number in range(turns):
            span.add_event("mindlytics.turn", {"mindlytics.turn.user": str(number), "mindlytics.turn.assistant": "a"})


WHOLE = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


@contextmanager
def hanging(service: LocalMindlytics, *, times: int = 1) -> Iterator[None]:
    """Requests are not answered meanwhile."""
    service.plan(Fault.hang(), times=times)
    try:
        yield
    finally:
        service.wait_for(lambda at: at.hanging == times)  # else it would hang after the release
        service.release()


# -- flush ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readers", [("exporter",), ("processor",), ("exporter", "processor")], ids=len)
def test_flush_returns_when_everything_is_delivered(shared_service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(shared_service, *readers)
    ids = [new_id() for _ in range(5)]
    for session_id in ids:
        write(provider, session_id)
    assert provider.force_flush() is True
    assert [names(shared_service.events(session_id)) for session_id in ids] == [WHOLE] * 5
    provider.shutdown()
    assert [len(shared_service.events(session_id)) for session_id in ids] == [5] * 5


@pytest.mark.parametrize("reader", ["exporter", "processor", "simple"])
def test_nothing_waits_inside_a_running_loop(service: LocalMindlytics, reader: str) -> None:
    provider = provider_with(service, *([] if reader == "simple" else [reader]))
    if reader == "simple":
        provider.add_span_processor(SimpleSpanProcessor(MindlyticsSpanExporter(**arguments(service))))

    async def main() -> float:
        began = time.monotonic()
        write(provider, new_id())
        provider.force_flush()
        provider.shutdown()
        return time.monotonic() - began

    with hanging(service):
        assert asyncio.run(main()) < EXPORT_TIMEOUT  # an export that waited would take as long, a flush longer
    service.wait_for(lambda at: names(at.events()) == WHOLE)


def test_export_waits_for_the_answer(service: LocalMindlytics) -> None:
    provider = provider_with(service, "exporter")
    write(provider, new_id())
    with hanging(service):
        flushing = threading.Thread(target=provider.force_flush)
        flushing.start()
        service.wait_for(lambda at: at.hanging == 1)
        assert flushing.is_alive()
    flushing.join(PATIENCE)
    assert names(service.events()) == WHOLE


@pytest.mark.timed
def test_export_waits_export_timeout_at_most(service: LocalMindlytics) -> None:
    exporter = MindlyticsSpanExporter(export_timeout=0.1, **arguments(service))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    write(provider, new_id())
    with hanging(service):
        began = time.monotonic()
        provider.force_flush()
        assert 0.1 <= time.monotonic() - began < EXPORT_TIMEOUT  # that would be the usual one
    assert exporter.force_flush() is True
    assert names(service.events()) == WHOLE


@pytest.mark.timed
def test_export_does_not_wait_while_the_sender_is_in_trouble(service: LocalMindlytics) -> None:
    provider = provider_with(service, "exporter")
    service.close_port()
    write(provider, new_id())
    began = time.monotonic()
    provider.force_flush()
    assert time.monotonic() - began < EXPORT_TIMEOUT
    service.reopen()
    service.wait_for(lambda at: names(at.events()) == WHOLE)


@pytest.mark.timed
@pytest.mark.parametrize("kind", ["exporter", "processor", "logs"])
def test_shutdown_keeps_its_budget_against_a_server_that_never_answers(service: LocalMindlytics, kind: str) -> None:
    makers: dict[str, Callable[..., Any]] = {
        "exporter": MindlyticsSpanExporter,
        "processor": MindlyticsSpanProcessor,
        "logs": MindlyticsLogRecordExporter,
    }
    made = makers[kind](**arguments(service))
    provider = provider_with(service, "processor")
    with hanging(service):
        write(provider, new_id())
        began = time.monotonic()
        assert made.force_flush(timeout_millis=100) is False
        made.shutdown(timeout_millis=200)
        assert 0.3 <= time.monotonic() - began < 15  # a busy machine; without a budget it would be 30


def test_a_flush_rides_out_a_short_outage(service: LocalMindlytics) -> None:
    provider = provider_with(service, "processor")
    service.fail_next(503)
    write(provider, new_id())
    assert provider.force_flush() is True
    assert names(service.events()) == WHOLE


def test_what_waits_for_spans_to_come_is_sent_by_a_flush(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsdk_otel.translation.translator.WAIT", 3600.0)  # it shall not go by itself
    provider = provider_with(shared_service, "exporter")
    tracer = provider.get_tracer("app")
    session_id = new_id()
    session = tracer.start_span(
        "mindlytics.session",
        attributes={"session.id": session_id, "mindlytics.device.id": "d", "mindlytics.session.conversations": 1},
    )
    session.end()
    provider.force_flush()
    assert names(shared_service.events(session_id)) == ["start_session"]
    exporter = MindlyticsSpanExporter(**arguments(shared_service))
    assert exporter.force_flush() is True
    assert names(shared_service.events(session_id)) == ["start_session", "end_session"]
    provider.shutdown()


# -- settings ---------------------------------------------------------------------------------------------------------


def makers() -> list[Any]:
    return [MindlyticsSpanExporter, MindlyticsSpanProcessor, MindlyticsLogRecordExporter]


BAD: list[dict[str, Any]] = [
    {},  # no key anywhere
    {"api_key": "k"},
    {"api_key": "k\n\u2603", "project_id": "p"},
    {"api_key": "k", "project_id": 12},
    {"api_key": "k", "project_id": "p", "server_endpoint": "ftp://x"},
    {"api_key": "k", "project_id": "p", "ca_file": "/no/such/file"},
    {"api_key": "k", "project_id": "p", "before_send": "x"},
    {"api_key": "k", "project_id": "p", "capture_content": "perhaps"},
    {"api_key": "k", "project_id": "p", "capture_content": 3},
    {"api_key": "k", "project_id": "p", "api_kee": "k"},
]


@pytest.mark.parametrize("maker", makers(), ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("bad", BAD, ids="-".join)
def test_bad_settings_are_one_line_and_no_exception(
    maker: Any, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made = maker(**bad)
    provider = TracerProvider(shutdown_on_exit=False)
    if isinstance(made, MindlyticsSpanProcessor):
        provider.add_span_processor(made)
        write(provider, "s")
    else:
        assert made.export([]).name == "FAILURE"
    made.force_flush()
    made.shutdown()
    (line,) = lines(caplog)
    assert "sends nothing" in line
    assert "Traceback" not in caplog.text
    assert "\u2603" not in line


@pytest.mark.parametrize("timeout", ["soon", -1, float("nan"), True, None])
def test_a_bad_export_timeout_is_one_line(timeout: Any, caplog: pytest.LogCaptureFixture) -> None:
    made = MindlyticsSpanExporter(api_key="k", project_id="p", export_timeout=timeout)
    assert made.export([]) is SpanExportResult.FAILURE
    (line,) = lines(caplog)
    assert "export_timeout" in line


@pytest.mark.parametrize("maker", makers(), ids=lambda maker: maker.__name__)
def test_disabled_is_silent_success(
    maker: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLSDK_DISABLED", "true")
    monkeypatch.setenv("MLSDK_BEFORE_SEND", "no.such:hook")
    made = maker()
    if isinstance(made, MindlyticsSpanProcessor):
        assert made.bridge is None
    else:
        assert made.export([]).name == "SUCCESS"
    assert made.force_flush() is True
    made.shutdown()
    assert lines(caplog) == []


def test_a_key_that_is_refused_is_no_failure_of_an_export(
    service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(service, "exporter", api_key="bad_key")
    write(provider, new_id())
    provider.force_flush()
    provider.shutdown()
    assert len(lines(caplog)) == 1


# -- what is shared ---------------------------------------------------------------------------------------------------


def test_readers_with_the_same_settings_share_delivery_and_state(shared_service: LocalMindlytics) -> None:
    settings = arguments(shared_service, project_id="shared")
    bridge = bridge_for(resolve(**settings))
    exporter, processor = MindlyticsSpanExporter(**settings), MindlyticsSpanProcessor(**settings)
    assert processor.bridge is bridge
    assert exporter in bridge.exporters
    exporter.shutdown()
    assert exporter not in bridge.exporters


def test_another_key_for_a_project_in_use_delivers_nothing_twice(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(shared_service, "exporter", project_id="two-keys")
    provider.add_span_processor(
        MindlyticsSpanProcessor(**arguments(shared_service, project_id="two-keys", api_key="second"))
    )
    session_id = new_id()
    write(provider, session_id)
    provider.force_flush()
    provider.shutdown()
    assert names(shared_service.events(session_id)) == WHOLE
    assert len(lines(caplog)) == 1
    # When nobody uses the first any more, the new key counts: that is how keys are changed.
    later = MindlyticsSpanProcessor(**arguments(shared_service, project_id="two-keys", api_key="third"))
    assert later.bridge is not None
    assert later.bridge.settings.config.connection.api_key == "third"
    later.shutdown()


def test_what_any_reader_keeps_back_is_kept_back(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    def without_model(event: dict[str, Any]) -> dict[str, Any]:
        event.get("properties", {}).pop("model", None)
        return event

    def without_prompt(event: dict[str, Any]) -> dict[str, Any]:
        event.get("properties", {}).pop("prompt_tokens", None)
        return event

    own = {"project_id": "hooks"}
    provider = provider_with(shared_service, "exporter", before_send=without_model, **own)
    provider.add_span_processor(MindlyticsSpanProcessor(**arguments(shared_service, before_send=without_prompt, **own)))
    provider.add_span_processor(
        MindlyticsSpanProcessor(**arguments(shared_service, capture_content=False, before_send=without_model, **own))
    )
    session_id = new_id()
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("mindlytics.conversation", attributes={"session.id": session_id}) as span:
        span.add_event(
            "mindlytics.turn",
            {
                "mindlytics.turn.user": "u",
                "mindlytics.turn.assistant": "a",
                "gen_ai.response.model": "m",
                "gen_ai.usage.input_tokens": 1,
                "gen_ai.usage.output_tokens": 2,
            },
        )
    provider.force_flush()
    provider.shutdown()
    usage = [event for event in shared_service.events(session_id) if event.get("event") == "Conversation Usage"]
    assert [event["properties"] for event in usage] == [{"completion_tokens": 2}] or usage == []
    assert "Conversation Turn" not in names(shared_service.events(session_id))
    # Beside it there is one of the usage, which the service refuses without a model.
    assert sum("differ in their settings" in line for line in lines(caplog)) == 1


# -- loss -------------------------------------------------------------------------------------------------------------


def test_loss_is_said_once_and_counted(shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture) -> None:
    limits = SpanLimits(max_events=2, max_event_attributes=2)
    provider = provider_with(shared_service, "exporter", limits=limits, project_id="lossy")
    bridge = bridge_for(resolve(**arguments(shared_service, project_id="lossy")))
    for _ in range(2):
        tracer = provider.get_tracer("app")
        with tracer.start_as_current_span("mindlytics.conversation", attributes={"session.id": new_id()}) as span:
            for _ in range(5):
                span.add_event(
                    "mindlytics.turn",
                    {"extra": 1, "mindlytics.turn.user": "u", "mindlytics.turn.assistant": "a"},
                )
    provider.force_flush()
    provider.shutdown()
    stats = bridge.stats()
    assert (stats["span_dropped_events"], stats["span_dropped_attributes"]) == (6, 4)
    (line,) = [line for line in lines(caplog) if "dropped" in line and "Mindlytics" in line]
    assert "3 events" in line or "6 events" in line


@pytest.mark.parametrize("reader", ["exporter", "processor"])
def test_a_length_limit_is_said_once_when_something_was_read(
    shared_service: LocalMindlytics,
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100")
    provider = provider_with(shared_service, reader, project_id=f"cut-{reader}")
    assert lines(caplog) == []
    for _ in range(2):
        write(provider, new_id())
    provider.force_flush()
    provider.shutdown()
    assert len(lines(caplog)) == 1


def test_a_span_that_cannot_be_read_costs_no_other(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name = "mindlytics.session"
        instrumentation_scope = None

        @property
        def context(self) -> Any:
            raise ZeroDivisionError("private")

    good: list[Any] = []

    class Catch(SimpleSpanProcessor):
        def on_end(self, span: Any) -> None:
            good.append(span)

    provider = TracerProvider(shutdown_on_exit=False)
    exporter = MindlyticsSpanExporter(**arguments(shared_service))
    provider.add_span_processor(Catch(exporter))
    session_id = new_id()
    write(provider, session_id)
    batch: Any = [Broken(), good[0], Broken(), good[1], object()]
    assert exporter.export(batch) is SpanExportResult.SUCCESS
    assert names(shared_service.events(session_id)) == WHOLE
    assert "private" not in caplog.text
    assert "Traceback" not in caplog.text
    exporter.shutdown()


# -- logs -------------------------------------------------------------------------------------------------------------


def test_log_based_events_deliver(shared_service: LocalMindlytics) -> None:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        logs.BatchLogRecordProcessor(MindlyticsLogRecordExporter(**arguments(shared_service)))
    )
    logger = provider.get_logger("app")
    session_id = new_id()
    logger.emit(
        event_name="mindlytics.turn",
        timestamp=1714557600123456000,
        attributes={
            "session.id": session_id,
            "user.id": "jack",
            "gen_ai.conversation.id": "c",
            "mindlytics.turn.user": "u",
            "mindlytics.turn.assistant": "a",
        },
    )
    logger.emit(event_name="somebody.elses", attributes={"session.id": session_id})
    logger.emit(body="a line", attributes={"session.id": session_id})
    logger.emit(event_name="mindlytics.turn", attributes={"session.id": session_id})  # makes no sense
    logger.emit(event_name="mindlytics.event", attributes={"session.id": session_id, "mindlytics.event.name": "Seen"})
    provider.force_flush()
    turn, seen = shared_service.events(session_id)
    assert turn == {
        "type": "track",
        "session_id": session_id,
        "user_id": "jack",
        "timestamp": "2024-05-01T10:00:00.123456Z",
        "event": "Conversation Turn",
        "conversation_id": "c",
        "properties": {"user": "u", "assistant": "a"},
    }
    assert seen["event"] == "Seen"
    provider.shutdown()


def test_records_of_older_versions_name_their_event_in_an_attribute(shared_service: LocalMindlytics) -> None:
    class Log:
        attributes: dict[str, Any] | None = None
        timestamp = None
        observed_timestamp = 1714557600123456000
        trace_id = span_id = None

    class Record:
        log_record = Log()

    session_id = new_id()
    Log.attributes = {"event.name": "mindlytics.event", "session.id": session_id, "mindlytics.event.name": "Seen"}
    exporter = MindlyticsLogRecordExporter(**arguments(shared_service))
    records: Any = [Record(), object()]
    assert exporter.export(records).name == "SUCCESS"
    assert names(shared_service.events(session_id)) == ["Seen"]
    exporter.shutdown()

"""`configure()`: adds, never replaces, never doubles, never raises."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NoOpTracerProvider
from support import child, lifecycle
from support.otel import Spans, arguments, lines, new_id
from support.sdk import client_of, names, sync_client_of

from mlsdk.local import Fault, LocalMindlytics
from mlsdk_otel import configure
from mlsdk_otel.instrumentation.patching import patches


def provider() -> TracerProvider:
    return TracerProvider(shutdown_on_exit=False)


def test_sessions_are_delivered_by_spans_from_then_on(shared_service: LocalMindlytics) -> None:
    mine = provider()
    kept = Spans()
    mine.add_span_processor(SimpleSpanProcessor(kept))
    handle = configure(tracer_provider=mine, **arguments(shared_service))
    session_id = new_id()

    async def main() -> None:
        async with client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
            await session.track_event(event="1")
            assert await handle.flush() is True
            assert names(shared_service.events(session_id)) == ["start_session", "1"]
            await session.track_event(event="2")

    asyncio.run(main())
    assert names(shared_service.events(session_id)) == ["start_session", "1", "2", "end_session"]
    assert all("mindlytics.delivery" not in (span.attributes or {}) for span in kept.spans)
    assert handle.stats()["delivered"] == handle.stats()["accepted"] > 0
    handle.shutdown()


def test_two_calls_do_not_double(shared_service: LocalMindlytics) -> None:
    mine = provider()
    settings = arguments(shared_service)
    first = configure(tracer_provider=mine, **settings)
    second = configure(tracer_provider=mine, **settings)
    assert second.processor is first.processor
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
        session.track_event(event="E")
    assert names(shared_service.events(session_id)) == ["start_session", "E", "end_session"]
    first.shutdown()
    third = configure(tracer_provider=mine, **settings)
    assert third.processor is not first.processor
    third.shutdown()


def test_after_shutdown_sessions_send_themselves(shared_service: LocalMindlytics) -> None:
    handle = configure(tracer_provider=provider(), **arguments(shared_service))
    assert patches.is_on
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
        session.track_event(event="1")
        handle.shutdown()
        assert not patches.is_on
        session.track_event(event="2")
    assert names(shared_service.events(session_id)) == ["start_session", "1", "2", "end_session"]


@pytest.mark.timed
def test_shutdown_keeps_its_budget(service: LocalMindlytics) -> None:
    handle = configure(tracer_provider=provider(), **arguments(service))
    service.plan(Fault.hang())
    sync_client_of(service).create_session(session_id=new_id(), join=True).track_event(event="E")
    began = time.monotonic()
    handle.shutdown(0.2)
    assert 0.2 <= time.monotonic() - began < 15  # a busy machine; without a budget it would be 30


def test_a_flush_that_is_out_of_time_says_so(service: LocalMindlytics) -> None:
    handle = configure(tracer_provider=provider(), **arguments(service))
    service.plan(Fault.hang())
    sync_client_of(service).create_session(session_id=new_id(), join=True).track_event(event="E")
    assert asyncio.run(handle.flush(0.1)) is False
    service.wait_for(lambda at: at.hanging == 1)
    service.release()
    assert asyncio.run(handle.flush()) is True
    assert names(service.events()) == ["E"]
    handle.shutdown()


def test_instrumentation_may_be_left_out_or_only_mirror(shared_service: LocalMindlytics) -> None:
    handle = configure(tracer_provider=provider(), instrument=False, **arguments(shared_service))
    assert not patches.is_on
    handle.shutdown()
    mine = provider()
    kept = Spans()
    mine.add_span_processor(SimpleSpanProcessor(kept))
    handle = configure(tracer_provider=mine, delivery="direct", **arguments(shared_service))
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d"):
        pass
    assert names(shared_service.events(session_id)) == ["start_session", "end_session"]
    assert [(span.attributes or {})["mindlytics.delivery"] for span in kept.spans] == ["direct"]
    handle.shutdown()


@pytest.mark.parametrize(
    "settings", [{}, {"api_key": "k", "project_id": "p", "nosuch": 1}, {"delivery": "both"}], ids=repr
)
def test_what_cannot_be_used_is_said_and_never_raised(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    handle = configure(tracer_provider=provider(), **settings)
    assert asyncio.run(handle.flush()) is True
    assert handle.stats()["accepted"] == 0
    handle.shutdown()
    # Of this package: an outage that another test left behind is its delivery's to tell, whenever it is noticed.
    said = [record for record in caplog.records if record.name.startswith("mlsdk_otel")]
    assert len(said) == (2 if "delivery" in settings else 1)
    assert "Traceback" not in caplog.text


def test_a_provider_that_takes_no_processors_is_said(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = NoOpTracerProvider()
    handle = configure(tracer_provider=wrong, **arguments(shared_service))
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d"):
        pass
    assert names(shared_service.events(session_id)) == ["start_session", "end_session"]
    assert "takes no span processors" in lines(caplog)[0]
    handle.shutdown()


PROGRAM = """
    import sys

    {first}
    import mlsdk_otel
    from mlsdk.sync import Client
    from opentelemetry import trace

    {provider}
    before = trace.get_tracer_provider()
    handle = mlsdk_otel.configure()
    after = trace.get_tracer_provider()
    assert (after is before) == {kept}, (before, after)
    with Client().create_session(session_id=sys.argv[1], device_id="d") as session:
        session.track_conversation_turn(user="u", assistant="a")
    print(handle.stats()["delivered"])
    {last}
"""
OWN = "from opentelemetry.sdk.trace import TracerProvider; trace.set_tracer_provider(TracerProvider())"
BLOCK = "sys.modules['opentelemetry.instrumentation'] = None"
NAMED = """
    try:
        mlsdk_otel.MindlyticsInstrumentor
    except ImportError as problem:
        print(problem)
"""


@pytest.mark.parametrize("sets_one", [False, True], ids=["none is set", "one is set"])
def test_the_global_provider_is_added_to_and_set_only_where_none_is(
    shared_service: LocalMindlytics, sets_one: bool
) -> None:
    session_id = new_id()
    program = PROGRAM.format(first="", provider=OWN if sets_one else "", kept=sets_one, last="")
    done = child.run(program, session_id, env=lifecycle.address(shared_service), flags=["-W", "error"])
    assert (done.stdout, done.stderr) == ("5\n", "")
    assert len(shared_service.events(session_id)) == 5


def test_it_works_without_the_instrumentation_package_and_the_instrumentor_says_what_is_missing(
    shared_service: LocalMindlytics,
) -> None:
    session_id = new_id()
    program = PROGRAM.format(first=BLOCK, provider="", kept=False, last=NAMED)
    done = child.run(program, session_id, env=lifecycle.address(shared_service), flags=["-W", "error"])
    assert done.stderr == ""
    assert done.stdout.startswith("5\n")
    assert "pip install 'mlsdk-otel[otel]'" in done.stdout
    assert len(shared_service.events(session_id)) == 5


def test_open_sessions_end_at_exit_whatever_was_made_first(shared_service: LocalMindlytics) -> None:
    """An exporter that exists before its provider, as with zero code, and a session that nobody ends."""
    session_id = new_id()
    done = child.run(
        """
        import sys
        import mlsdk_otel
        from mlsdk.sync import Client
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        client = Client()
        exporter = mlsdk_otel.MindlyticsSpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
        mlsdk_otel.MindlyticsInstrumentor().instrument(tracer_provider=provider, delivery="otel")
        session = client.create_session(session_id=sys.argv[1], device_id="d")
        session.start_session()
        session.track_conversation_turn(user="u", assistant="a")
        """,
        session_id,
        env=lifecycle.address(shared_service),
        flags=["-W", "error"],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    whole = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]
    assert names(shared_service.events(session_id)) == whole


@pytest.mark.parametrize("reader", ["exporter", "processor"])
@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_open_sessions_end_in_multiprocessing_children(shared_service: LocalMindlytics, reader: str) -> None:
    """Where neither `atexit` handlers nor the provider's own run."""
    session_id = new_id()
    done = child.run(
        """
        import multiprocessing, sys
        import mlsdk_otel
        from mlsdk.sync import Client
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        kept = []

        def work(session_id):
            session = Client().create_session(session_id=session_id, device_id="d")
            session.start_session()
            session.track_event(event="E")
            kept.append(session)

        provider = TracerProvider()
        if sys.argv[2] == "exporter":
            exporter = mlsdk_otel.MindlyticsSpanExporter()
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
        else:
            provider.add_span_processor(mlsdk_otel.MindlyticsSpanProcessor())
        mlsdk_otel.MindlyticsInstrumentor().instrument(tracer_provider=provider, delivery="otel")
        process = multiprocessing.get_context("fork").Process(target=work, args=(sys.argv[1],))
        process.start()
        process.join()
        print(process.exitcode)
        """,
        session_id,
        reader,
        env=lifecycle.address(shared_service),
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert names(shared_service.events(session_id)) == ["start_session", "E", "end_session"]

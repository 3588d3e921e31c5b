"""The instrumentor: OpenTelemetry's interface, and none of our own traffic in anybody's traces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from support.otel import Spans, arguments, lines, new_id, provider_with
from support.sdk import client_of, names, sync_client_of

import mlsdk.session
from mlsdk.local import LocalMindlytics
from mlsdk_otel import MindlyticsInstrumentor, configure
from mlsdk_otel.instrumentation.patching import patches

aiohttp_client = pytest.importorskip("opentelemetry.instrumentation.aiohttp_client")


@pytest.fixture(autouse=True)
def taken_off() -> Iterator[None]:
    yield
    MindlyticsInstrumentor().uninstrument()


def test_it_puts_on_and_takes_off() -> None:
    original = mlsdk.session.Session.__dict__["_record"]
    MindlyticsInstrumentor().instrument(tracer_provider=provider_with(None))
    assert patches.is_on
    MindlyticsInstrumentor().uninstrument()
    assert mlsdk.session.Session.__dict__["_record"] is original
    assert list(MindlyticsInstrumentor().instrumentation_dependencies()) == []


def test_it_takes_off_what_configure_has_put_on(shared_service: LocalMindlytics) -> None:
    handle = configure(tracer_provider=provider_with(None), **arguments(shared_service))
    MindlyticsInstrumentor().uninstrument()
    assert not patches.is_on
    handle.shutdown()


@pytest.mark.parametrize("wrong", [{"delivery": "both"}, {"max_events_per_span": "many"}, {"tracer_provider": "x"}])
def test_it_never_raises(wrong: dict[str, Any], shared_service: LocalMindlytics) -> None:
    MindlyticsInstrumentor().instrument(skip_dep_check=True, unknown=1, **wrong)
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d"):
        pass
    assert names(shared_service.events(session_id)) == ["start_session", "end_session"]


@pytest.fixture
def traced() -> Iterator[Spans]:
    """Every client session of aiohttp that is made meanwhile is traced."""
    kept = Spans()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    instrumentor = aiohttp_client.AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield kept
    instrumentor.uninstrument()


@pytest.mark.parametrize("road", ["direct, no bridge", "direct", "otel"])
def test_no_request_of_ours_is_traced(service: LocalMindlytics, traced: Spans, road: str) -> None:
    client = client_of(service)
    provider = provider_with(service, "exporter", "processor") if road == "otel" else provider_with(None)
    if road != "direct, no bridge":
        patches.put_on(tracer_provider=provider, delivery=road)

    async def main() -> None:
        async with client.create_session(device_id="d", on_event=lambda event: None) as session:
            await session.track_conversation_turn(user="u", assistant="a")
        await client.user_identify(id="jack")
        await client.user_alias(id="joe", previous_id="jack")
        await client.start_listening(on_event=lambda event: None)
        await client.stop_listening()

    asyncio.run(main())
    assert {request.path.rsplit("/", 1)[-1] for request in service.requests} >= {"queue", "identify", "alias"}
    assert [span.name for span in traced.spans] == []
    provider.shutdown()


def test_the_applications_own_requests_are(service: LocalMindlytics, traced: Spans) -> None:
    import aiohttp

    async def main() -> None:
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}/local/stats"):
            pass

    asyncio.run(main())
    assert [span.name for span in traced.spans] == ["GET"]


def test_instrumenting_twice_says_nothing_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    provider = provider_with(None)
    MindlyticsInstrumentor().instrument(tracer_provider=provider)
    patches.put_on(tracer_provider=provider)
    assert lines(caplog) == []

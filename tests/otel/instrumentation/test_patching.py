"""Sessions as spans: which road an event takes, what is restored, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from support.otel import Fixed, Spans, arguments, instrumented, lines, new_id, provider_with
from support.sdk import Told, client_of, names, sync_client_of

import mlsdk.client
import mlsdk.session
import mlsdk.sync
from mlsdk import Client, MindlyticsError
from mlsdk.local import Fault, LocalMindlytics
from mlsdk_otel import MindlyticsSpanExporter, using_session
from mlsdk_otel.instrumentation.patching import patches

OWNED = [
    "start_session",
    "Conversation Started",
    "Conversation Turn",
    "identify",
    "Seen",
    "Conversation Ended",
    "end_session",
]
JOINED = ["Conversation Turn", "identify", "Seen"]


async def say_async(service: LocalMindlytics, session_id: str, *, joined: bool) -> None:
    client = client_of(service)
    who: dict[str, Any] = {"join": True, "conversation_id": f"c-{session_id}"} if joined else {"device_id": "d1"}
    async with client.create_session(session_id=session_id, **who) as session:
        await session.track_conversation_turn(user="u", assistant="a")
        await session.user_identify(id="jack")
        await session.track_event(event="Seen", properties={"n": 1})


def say_sync(service: LocalMindlytics, session_id: str, *, joined: bool) -> None:
    client = sync_client_of(service)
    who: dict[str, Any] = {"join": True, "conversation_id": f"c-{session_id}"} if joined else {"device_id": "d1"}
    with client.create_session(session_id=session_id, **who) as session:
        session.track_conversation_turn(user="u", assistant="a")
        session.user_identify(id="jack")
        session.track_event(event="Seen", properties={"n": 1})


READERS: list[tuple[str, ...]] = [(), ("exporter",), ("processor",), ("exporter", "processor")]


@pytest.mark.parametrize("api", ["async", "sync"])
@pytest.mark.parametrize("joined", [False, True], ids=["owned", "joined"])
@pytest.mark.parametrize("decision", list(Decision), ids=[decision.name for decision in Decision])
@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("project", ["p1", "p2"], ids=["same", "other"])
@pytest.mark.parametrize("readers", READERS, ids=["neither", "exporter", "processor", "both"])
@pytest.mark.parametrize("is_on", [False, True], ids=["plain", "instrumented"])
def test_each_event_arrives_once_whatever_the_road(  # noqa: PLR0917 - the table has so many columns
    shared_service: LocalMindlytics,
    is_on: bool,
    readers: tuple[str, ...],
    project: str,
    delivery: str,
    decision: Decision,
    joined: bool,
    api: str,
) -> None:
    provider = provider_with(shared_service, *readers, sampler=Fixed(decision), project_id=project)
    session_id = new_id()
    if is_on:
        patches.put_on(tracer_provider=provider, delivery=delivery)
    if api == "async":
        asyncio.run(say_async(shared_service, session_id, joined=joined))
    else:
        say_sync(shared_service, session_id, joined=joined)
    at_once = shared_service.records(session_id)
    patches.take_off()
    provider.shutdown()

    # Leaving the session waits for delivery, on both roads.
    assert sorted(names([record.event for record in at_once])) == sorted(JOINED if joined else OWNED)
    assert shared_service.records(session_id) == at_once
    assert {record.app_id for record in at_once} == {"p1"}
    if not joined:
        arrived = names([record.event for record in at_once])
        assert (arrived[0], arrived[-1]) == ("start_session", "end_session")


@pytest.mark.parametrize("readers", READERS, ids=["neither", "exporter", "processor", "both"])
@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("joined", [False, True], ids=["owned", "joined"])
def test_a_sampler_that_forgets_attributes_costs_nothing(
    shared_service: LocalMindlytics, readers: tuple[str, ...], delivery: str, joined: bool
) -> None:
    provider = provider_with(shared_service, *readers, sampler=Fixed(Decision.RECORD_AND_SAMPLE, forgets=True))
    session_id = new_id()
    before = shared_service.received
    with instrumented(provider, delivery=delivery):
        say_sync(shared_service, session_id, joined=joined)
    wanted = JOINED if joined else OWNED
    assert names(shared_service.events(session_id)) == wanted
    assert shared_service.received - before == len(wanted)


def roads(provider: TracerProvider) -> Spans:
    """Keeps the spans of a provider, to see which road was taken."""
    kept = Spans()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return kept


def is_direct(spans: Spans) -> bool:
    (direct,) = {(span.attributes or {}).get("mindlytics.delivery") == "direct" for span in spans.spans}
    return direct


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (SpanLimits(max_attribute_length=20), "max_attribute_length"),
        (SpanLimits(max_span_attribute_length=20), "max_span_attribute_length"),
        (SpanLimits(max_events=0), "max_events"),
        (SpanLimits(max_event_attributes=5), "max_event_attributes"),
        (SpanLimits(max_span_attributes=5), "max_span_attributes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_limits_that_would_damage_an_event_have_it_sent_directly(
    shared_service: LocalMindlytics, limits: SpanLimits, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(shared_service, "processor", "exporter", limits=limits)
    ids = [new_id(), new_id()]
    with instrumented(provider, delivery="otel"):
        for session_id in ids:
            with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
                session.track_conversation_turn(user="u" * 50, assistant="a", properties={str(i): i for i in range(20)})
    for session_id in ids:
        (turn,) = [e for e in shared_service.events(session_id) if e.get("event") == "Conversation Turn"]
        assert turn["properties"] == {"user": "u" * 50, "assistant": "a"} | {str(i): i for i in range(20)}
        assert len(shared_service.events(session_id)) == 5
    (line,) = [line for line in lines(caplog) if "mindlytics" in line.lower() or "directly" in line]
    assert what in line


@pytest.mark.parametrize("variable", ["OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"])
def test_a_length_limit_in_the_environment_has_sessions_sent_directly(
    shared_service: LocalMindlytics,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(variable, "10")
    provider = provider_with(shared_service, "exporter")
    ids = [new_id(), new_id()]
    with instrumented(provider, delivery="otel"):
        for session_id in ids:
            with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
                session.track_conversation_turn(user="u" * 50, assistant="a")
    for session_id in ids:
        (turn,) = [e for e in shared_service.events(session_id) if e.get("event") == "Conversation Turn"]
        assert turn["properties"]["user"] == "u" * 50
    assert len([line for line in lines(caplog) if "directly" in line]) == 1


def test_an_exporter_on_another_provider_does_not_count(shared_service: LocalMindlytics) -> None:
    elsewhere = provider_with(shared_service, "exporter")
    provider = provider_with(shared_service)
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        say_sync(shared_service, session_id, joined=False)
    assert names(shared_service.events(session_id)) == OWNED
    elsewhere.shutdown()


def test_an_exporter_that_is_shut_down_does_not_count(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "exporter")
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        provider.shutdown()
        say_sync(shared_service, session_id, joined=False)
    assert names(shared_service.events(session_id)) == OWNED


def test_a_processor_that_is_shut_down_reads_what_is_open_and_nothing_new(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    before, after = new_id(), new_id()
    with instrumented(provider, delivery="otel"):
        client = sync_client_of(shared_service)
        with client.create_session(session_id=before, device_id="d") as session:
            session.track_event(event="E")
            provider.shutdown()
            say_sync(shared_service, after, joined=False)
    assert names(shared_service.events(before)) == ["start_session", "E", "end_session"]
    assert names(shared_service.events(after)) == OWNED


def test_a_provider_that_is_set_later_is_used_and_its_limits_hold(shared_service: LocalMindlytics) -> None:
    """As when an application instruments first and sets its provider up afterwards."""
    now: list[TracerProvider] = [provider_with(shared_service)]
    later = provider_with(shared_service, "processor", limits=SpanLimits(max_events=3))
    session_id = new_id()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: now[0])
        with instrumented(None, delivery="otel"):
            now[0] = later
            with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
                for number in range(10):
                    session.track_conversation_turn(user=str(number), assistant="a")
    turns = [
        e["properties"]["user"] for e in shared_service.events(session_id) if e.get("event") == "Conversation Turn"
    ]
    assert turns == [str(number) for number in range(10)]
    later.shutdown()


# -- on and off -------------------------------------------------------------------------------------------------------


def targets() -> dict[tuple[type, str], object]:
    return {(owner, name): owner.__dict__[name] for owner, name, _ in patches._targets()}


def test_what_is_put_on_is_taken_off_exactly() -> None:
    before = targets()
    provider = provider_with(None)
    for _ in range(2):
        patches.put_on(tracer_provider=provider)
        once = targets()
        patches.put_on(tracer_provider=provider)
        assert targets() == once
        assert all(once[key] is not before[key] for key in before)
        patches.take_off()
        patches.take_off()
        assert all(targets()[key] is before[key] for key in before)


def test_somebody_elses_wrapper_on_top_stays_and_nothing_is_doubled(shared_service: LocalMindlytics) -> None:
    original = mlsdk.session.Session.__dict__["_record"]
    provider = provider_with(shared_service, "processor")
    spans = roads(provider)
    patches.put_on(tracer_provider=provider)
    ours = mlsdk.session.Session.__dict__["_record"]

    def theirs(self: Any, *args: Any, **kwargs: Any) -> None:
        ours.__get__(self)(*args, **kwargs)

    mlsdk.session.Session._record = theirs  # type: ignore[method-assign]
    try:
        patches.take_off()
        assert mlsdk.session.Session.__dict__["_record"] is theirs
        say_sync(shared_service, new_id(), joined=False)
        assert spans.spans == []
        patches.put_on(tracer_provider=provider)
        session_id = new_id()
        say_sync(shared_service, session_id, joined=False)
        assert names(shared_service.events(session_id)) == OWNED
        assert sorted(span.name for span in spans.spans) == ["mindlytics.conversation", "mindlytics.session"]
    finally:
        mlsdk.session.Session._record = ours  # type: ignore[method-assign]
        patches.take_off()
    assert mlsdk.session.Session.__dict__["_record"] is original


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_taken_off_in_the_middle_of_a_session(shared_service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    client = sync_client_of(shared_service)
    with (
        instrumented(provider, delivery="otel"),
        client.create_session(session_id=session_id, device_id="d") as session,
    ):
        session.track_conversation_turn(user="1", assistant="a")
        patches.take_off()
        session.track_conversation_turn(user="2", assistant="a")
    whole = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Turn", "Conversation Ended"]
    assert names(shared_service.events(session_id)) == [*whole, "end_session"]
    provider.shutdown()
    assert len(shared_service.events(session_id)) == 6


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_put_on_in_the_middle_of_a_session(shared_service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
        session.track_conversation_turn(user="1", assistant="a")
        patches.put_on(tracer_provider=provider, delivery="otel")
        session.track_conversation_turn(user="2", assistant="a")
    patches.take_off()
    whole = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Turn", "Conversation Ended"]
    assert sorted(names(shared_service.events(session_id))) == sorted([*whole, "end_session"])
    provider.shutdown()
    assert len(shared_service.events(session_id)) == 6


def test_another_delivery_while_it_is_on_is_said_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    provider = provider_with(None)
    with instrumented(provider, delivery="direct"):
        patches.put_on(tracer_provider=provider, delivery="otel")
    assert len(lines(caplog)) == 1


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_500_turns_and_150_properties_arrive_on_a_default_provider(
    shared_service: LocalMindlytics, readers: tuple[str, ...]
) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    many = {f"k{number}": number for number in range(150)}
    with (
        instrumented(provider, delivery="otel"),
        sync_client_of(shared_service).create_session(
            session_id=session_id, device_id="d", attributes={f"a{number}": number for number in range(64)}
        ) as session,
    ):
        conversation = session.start_conversation(properties={f"p{number}": number for number in range(64)})
        for number in range(500):
            session.track_conversation_turn(user=str(number), assistant="a")
        session.track_conversation_turn(user="500", assistant="a", properties=many)
        session.end_conversation(
            conversation_id=conversation, properties={f"q{number}": number for number in range(64)}
        )
        session.end_session(attributes={f"b{number}": number for number in range(64)})
    events = shared_service.events(session_id)
    turns = [event["properties"] for event in events if event.get("event") == "Conversation Turn"]
    assert [turn["user"] for turn in turns] == [str(number) for number in range(501)]
    assert turns[-1] == {"user": "500", "assistant": "a", **many}
    assert [len(event.get("attributes", event.get("properties", {}))) for event in (*events[:2], *events[-2:])] == [
        64
    ] * 4
    assert len(events) == 505


@pytest.mark.parametrize("max_events", [1, 2, 128, 1000])
@pytest.mark.parametrize("limit", [1, 2, 128, SpanLimits.UNSET])
def test_spans_are_continued_before_any_limit_also_when_an_error_is_recorded(
    shared_service: LocalMindlytics, max_events: int, limit: int
) -> None:
    provider = provider_with(shared_service, "exporter", limits=SpanLimits(max_events=limit))
    session_id = new_id()

    def say_and_fail() -> None:
        with sync_client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
            for number in range(130):
                session.track_event(event=f"E{number}")
            raise ZeroDivisionError

    with instrumented(provider, delivery="otel", max_events_per_span=max_events), pytest.raises(ZeroDivisionError):
        say_and_fail()
    assert names(shared_service.events(session_id)) == [
        "start_session",
        *[f"E{number}" for number in range(130)],
        "end_session",
    ]


def test_a_span_is_handed_out_when_it_has_lasted_long_enough(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    session_id = new_id()
    client = sync_client_of(shared_service)
    with (
        instrumented(provider, delivery="otel", max_span_seconds=0.000001),
        client.create_session(session_id=session_id, device_id="d") as session,
    ):
        session.track_event(event="1")
        session.track_event(event="2")
        shared_service.wait_for(lambda at: names(at.events(session_id)) == ["start_session", "1"])


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
@pytest.mark.parametrize("flushes", ["session", "client"])
@pytest.mark.parametrize("joined", [False, True], ids=["owned", "joined"])
def test_a_flush_in_the_middle_hands_out_what_was_recorded(
    shared_service: LocalMindlytics, readers: tuple[str, ...], flushes: str, joined: bool
) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    client = sync_client_of(shared_service)
    with instrumented(provider, delivery="otel"):
        who: dict[str, Any] = {"join": True} if joined else {"device_id": "d"}
        with client.create_session(session_id=session_id, **who) as session:
            session.track_event(event="1")
            (session if flushes == "session" else client).flush()
            assert names(shared_service.events(session_id)) == [*([] if joined else ["start_session"]), "1"]
            session.track_event(event="2")
    assert names(shared_service.events(session_id))[-1] == "2" if joined else "end_session"


def test_a_client_is_flushed_when_the_session_is_gone(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "exporter")
    session_id = new_id()
    client = sync_client_of(shared_service)
    with instrumented(provider, delivery="otel"):
        client.create_session(session_id=session_id, join=True).track_event(event="1")
        gc.collect()
        client.flush()
        assert names(shared_service.events(session_id)) == ["1"]


# -- what the spans are like ------------------------------------------------------------------------------------------


def test_explicit_timestamps_are_those_of_spans_and_events(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    kept = roads(provider)
    moments = [f"2024-05-01T10:00:0{second}.123456Z" for second in range(5)]
    with instrumented(provider, delivery="otel"):
        session = sync_client_of(shared_service).create_session(device_id="d")
        session.start_session(timestamp=moments[0])
        conversation = session.start_conversation(timestamp=moments[1])
        session.track_conversation_turn(user="u", assistant="a", timestamp=moments[2])
        session.end_conversation(conversation_id=conversation, timestamp=moments[3])
        session.end_session(timestamp=moments[4])
    assert [event["timestamp"] for event in shared_service.events(session.session_id)] == moments
    base = 1714557600123456000
    conversation_span, session_span = kept.spans
    assert [(span.start_time, span.end_time) for span in kept.spans] == [
        (base + 10**9, base + 3 * 10**9),
        (base, base + 4 * 10**9),
    ]
    assert [event.timestamp for event in conversation_span.events] == [base + 2 * 10**9]
    assert session_span.parent is None
    assert conversation_span.parent is not None
    assert conversation_span.parent.span_id == session_span.context.span_id


@pytest.mark.parametrize("delivery", ["direct", "otel"])
def test_an_error_of_the_application_is_on_the_span_and_goes_on(shared_service: LocalMindlytics, delivery: str) -> None:
    provider = provider_with(shared_service, "processor")
    kept = roads(provider)
    error = ValueError("theirs")

    async def work() -> None:
        async with client_of(shared_service).create_session(device_id="d") as session:
            await session.track_event(event="E")
            raise error

    with instrumented(provider, delivery=delivery), pytest.raises(ValueError, match="theirs") as caught:
        asyncio.run(work())
    assert caught.value is error
    (span,) = kept.spans
    assert [event.name for event in span.events] == ["mindlytics.event", "exception"]
    assert span.status.status_code is trace.StatusCode.ERROR


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_a_cancelled_session_ends_without_waiting(shared_service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()

    async def work(started: asyncio.Event) -> None:
        async with client_of(shared_service).create_session(session_id=session_id, device_id="d") as session:
            await session.track_event(event="E")
            started.set()
            await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(work(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client_of(shared_service).flush()

    with instrumented(provider, delivery="otel"):
        asyncio.run(main())
        assert names(shared_service.events(session_id)) == ["start_session", "E", "end_session"]


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
@pytest.mark.parametrize("way", ["collected", "closed"])
def test_an_abandoned_session_ends(shared_service: LocalMindlytics, readers: tuple[str, ...], way: str) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    client = sync_client_of(shared_service)
    with instrumented(provider, delivery="otel"):
        session = client.create_session(session_id=session_id, device_id="d")
        session.start_session()
        session.track_conversation_turn(user="u", assistant="a")
        if way == "collected":
            del session
            gc.collect()
            client.flush()
        else:
            client.close()
        assert names(shared_service.events(session_id)) == [*OWNED[:3], *OWNED[-2:]]


# -- context ----------------------------------------------------------------------------------------------------------


def test_spans_are_children_where_the_code_says_so_and_only_there(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    kept = roads(provider)
    tracer = provider.get_tracer("app")

    async def model(name: str) -> None:
        await asyncio.sleep(0)
        tracer.start_span(name).end()

    async def main() -> None:
        async with client_of(shared_service).create_session(device_id="d") as session:
            await model("outside")
            with session.use():
                await model("in session")
            one = await session.start_conversation()
            two = await session.start_conversation()
            with session.use(one):
                await asyncio.gather(*(model(f"in one, {number}") for number in range(3)))
                with session.use(two):
                    await model("in two")
                await model("in one again")
            await model("outside again")

    with instrumented(provider):
        asyncio.run(main())
    by_name = {span.name: span for span in kept.spans}
    one, two = [span for span in kept.spans if span.name == "mindlytics.conversation"]
    parents = {span.name: None if span.parent is None else span.parent.span_id for span in kept.spans}
    root = by_name["mindlytics.session"].context.span_id
    assert (parents["outside"], parents["outside again"], parents["in session"]) == (None, None, root)
    assert {parents[f"in one, {number}"] for number in range(3)} == {one.context.span_id}
    assert (parents["in two"], parents["in one again"]) == (two.context.span_id, one.context.span_id)


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
    "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}]',
}


@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("in_use", [False, True], ids=["around", "used"])
def test_turns_of_libraries_in_a_session_of_the_sdk_end_before_it(
    shared_service: LocalMindlytics, delivery: str, in_use: bool
) -> None:
    provider = provider_with(shared_service, "processor")
    session_id = new_id()
    made = sync_client_of(shared_service).create_session(session_id=session_id, device_id="d")
    with (
        instrumented(provider, delivery=delivery),
        made as session,
        session.use() if in_use else nullcontext(),
        using_session(session),
    ):
        provider.get_tracer("library").start_span("chat m", attributes=CALL).end()
    provider.shutdown()
    assert names(shared_service.events(session_id)) == [
        *("start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"),
    ]
    assert not shared_service.session(session_id).is_open


@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_a_turn_that_is_recorded_by_a_call_is_none_of_the_librarys_where_the_session_is_used(
    shared_service: LocalMindlytics, delivery: str, readers: tuple[str, ...]
) -> None:
    project_id = new_id("p")
    provider = provider_with(shared_service, *readers, project_id=project_id)
    made = sync_client_of(shared_service, project_id=project_id).create_session(device_id="d")
    with instrumented(provider, delivery=delivery), made as session, session.use():
        provider.get_tracer("library").start_span("chat m", attributes=CALL).end()
        session.track_conversation_turn(user="hi", assistant="hello")
    provider.shutdown()
    assert names([record.event for record in shared_service.records() if record.app_id == project_id]) == [
        *("start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"),
    ]


def test_a_session_below_a_request_is_a_root_with_a_link(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "processor")
    kept = roads(provider)
    with instrumented(provider), provider.get_tracer("web").start_as_current_span("request") as request:
        say_sync(shared_service, new_id(), joined=False)
        assert trace.get_current_span() is request
    session = next(span for span in kept.spans if span.name == "mindlytics.session")
    assert session.parent is None
    assert [link.context.span_id for link in session.links] == [request.get_span_context().span_id]


def test_nothing_is_said_of_contexts_whatever_leaves_where(
    shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(shared_service, "processor")
    client = client_of(shared_service)

    async def stream() -> Any:
        async with client.create_session(device_id="d") as session:
            with session.use():
                yield 1
                yield 2

    async def step(stream: Any) -> None:
        await anext(stream)

    async def main() -> None:
        closed_elsewhere = stream()
        await anext(closed_elsewhere)
        await asyncio.create_task(closed_elsewhere.aclose())
        by_tasks = stream()
        for _ in range(2):
            await asyncio.create_task(step(by_tasks))
        await by_tasks.aclose()
        collected = stream()
        await asyncio.create_task(step(collected))
        del collected
        gc.collect()
        entered = client.create_session(device_id="d")
        await asyncio.create_task(entered.__aenter__())
        await asyncio.create_task(entered.__aexit__(None, None, None))
        first, second = client.create_session(device_id="1"), client.create_session(device_id="2")
        await first.__aenter__()
        await second.__aenter__()
        in_first, in_second = first.use(), second.use()
        in_first.__enter__()
        in_second.__enter__()
        in_first.__exit__(None, None, None)
        in_second.__exit__(None, None, None)
        await first.__aexit__(None, None, None)
        await second.__aexit__(None, None, None)

    with instrumented(provider, delivery="otel"):
        asyncio.run(main())
        asyncio.run(client.flush())
    assert lines(caplog) == []


# -- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_a_refused_event_is_told_to_its_session(service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(service, *readers)
    told, other = Told(), Told()
    service.on_request(lambda request: Fault.answer(400) if b"Bad" in request.body else None)
    with instrumented(provider, delivery="otel"):
        client = sync_client_of(service)
        with client.create_session(device_id="e", on_error=other) as quiet:
            quiet.track_event(event="Good")
        with client.create_session(device_id="d", on_error=told) as session:
            session.track_event(event="Good")
            session.track_event(event="Bad")
        joined = client.create_session(session_id=new_id(), join=True, on_error=told)
        joined.track_event(event="Bad too")
        joined.flush()
    assert [error.status for error in told.errors] == [400, 400]
    assert (session.errors, joined.errors, other.errors) == (1, 1, [])


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_a_refused_key_is_told_once_and_nobody_waits(service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(service, *readers, api_key="bad_key")
    told = Told()
    client = sync_client_of(service, api_key="bad_key")
    with (
        instrumented(provider, delivery="otel"),
        client.create_session(device_id="d", on_error=told) as session,
    ):
        session.track_event(event="E")
    assert [error.status for error in told.errors] == [403]


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_an_outage_is_told_once(service: LocalMindlytics, readers: tuple[str, ...]) -> None:
    provider = provider_with(service, *readers)
    statuses: list[int | None] = []

    def on_error(error: MindlyticsError) -> None:
        statuses.append(error.status)
        service.reopen()

    client = sync_client_of(service)
    service.close_port()
    with (
        instrumented(provider, delivery="otel"),
        client.create_session(device_id="d", on_error=on_error) as session,
    ):
        session.track_event(event="E")
    assert names(service.events(session.session_id)) == ["start_session", "E", "end_session"]
    assert statuses == [-1]


@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
@pytest.mark.parametrize("shares", [True, False], ids=["one delivery", "another address for live events"])
def test_live_events_are_awaited(service: LocalMindlytics, readers: tuple[str, ...], shares: bool) -> None:
    provider = provider_with(service, *readers)
    seen: list[str] = []

    async def main() -> None:
        wss = {"wss_endpoint": service.ws_url if shares else service.ws_url.replace("127.0.0.1", "localhost")}
        client = client_of(service, **wss)
        async with client.create_session(device_id="d", on_event=lambda event: seen.append(event.event)) as session:
            await session.track_conversation_turn(user="u", assistant="a")

    with instrumented(provider, delivery="otel"):
        asyncio.run(main())
    assert seen[-1] == "Session Ended"
    assert "Conversation Summary" in seen


# -- before_send ------------------------------------------------------------------------------------------------------


def masking(event: dict[str, Any]) -> Mapping[str, Any] | None:
    if event.get("event") == "Hidden":
        return None
    if event.get("event") == "Broken":
        raise ZeroDivisionError
    if "user" in event.get("properties", {}):
        event["properties"]["user"] = "***"
    return event


@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("readers", READERS, ids=["neither", "exporter", "processor", "both"])
def test_what_before_send_takes_out_is_in_no_span_either(
    shared_service: LocalMindlytics, readers: tuple[str, ...], delivery: str
) -> None:
    provider = provider_with(shared_service, *readers)
    kept = roads(provider)
    asked = itertools.count()

    def before_send(event: dict[str, Any]) -> Mapping[str, Any] | None:
        next(asked)
        return masking(event)

    session_id = new_id()
    with instrumented(provider, delivery=delivery):
        client = sync_client_of(shared_service, before_send=before_send)
        before = client.stats()["dropped"]
        with client.create_session(session_id=session_id, device_id="d") as session:
            session.track_conversation_turn(user="secret", assistant="a")
            session.track_event(event="Hidden")
            session.track_event(event="Broken")
        dropped = {reason: count - before.get(reason, 0) for reason, count in client.stats()["dropped"].items()}
    events = shared_service.events(session_id)
    assert names(events) == [*OWNED[:3], *OWNED[-2:]]
    assert events[2]["properties"]["user"] == "***"
    assert {reason: count for reason, count in dropped.items() if count} == {
        "before_send": 1,
        "before_send_failed": 1,
    }
    assert next(asked) == 7
    assert "secret" not in repr([span.to_json() for span in kept.spans])
    assert "Hidden" not in repr([span.to_json() for span in kept.spans])


@pytest.mark.parametrize("kept_back", ["start_session", "Conversation Started", "Conversation Ended", "end_session"])
@pytest.mark.parametrize("readers", READERS[1:], ids=["exporter", "processor", "both"])
def test_starts_and_ends_that_before_send_keeps_back_cost_nothing_else(
    shared_service: LocalMindlytics, readers: tuple[str, ...], kept_back: str
) -> None:
    provider = provider_with(shared_service, *readers)
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        client = sync_client_of(
            shared_service, before_send=lambda event: None if names([event]) == [kept_back] else event
        )
        with client.create_session(session_id=session_id, device_id="d") as session:
            session.track_conversation_turn(user="1", assistant="a")
            session.track_event(event="E")
    provider.force_flush()
    wanted = [*OWNED[:3], "E", *OWNED[-2:]]
    wanted.remove(kept_back)
    shared_service.wait_for(lambda at: sorted(names(at.events(session_id))) == sorted(wanted))


@pytest.mark.parametrize("delivery", ["direct", "otel"])
@pytest.mark.parametrize("readers", READERS, ids=["neither", "exporter", "processor", "both"])
def test_a_hook_of_client_and_reader_alike_is_asked_once(
    shared_service: LocalMindlytics, readers: tuple[str, ...], delivery: str
) -> None:
    """As when `MLSDK_BEFORE_SEND` names it: a hook that hides a name behind a hash must not hash the hash."""

    def before_send(event: dict[str, Any]) -> Mapping[str, Any]:
        if "user" in event.get("properties", {}):
            event["properties"]["user"] += "!"
        return event

    project = new_id("p")
    provider = provider_with(shared_service, *readers, project_id=project, before_send=before_send)
    session_id, joined_id = new_id(), new_id()
    with instrumented(provider, delivery=delivery):
        client = sync_client_of(shared_service, project_id=project, before_send=before_send)
        with client.create_session(session_id=session_id, device_id="d") as session:
            session.track_conversation_turn(user="u", assistant="a")
        with client.create_session(session_id=joined_id, conversation_id="c", join=True) as session:
            session.track_conversation_turn(user="u", assistant="a")
    for each in (session_id, joined_id):
        turns = [event for event in shared_service.events(each) if event.get("event") == "Conversation Turn"]
        assert [turn["properties"]["user"] for turn in turns] == ["u!"]


# -- odd surroundings -------------------------------------------------------------------------------------------------


def test_a_disabled_sdk_makes_no_spans() -> None:
    provider = provider_with(None)
    kept = roads(provider)
    with instrumented(provider):
        client = mlsdk.sync.Client(enabled=False)
        with client.create_session(device_id="d") as session:
            session.track_event(event="E")
    assert kept.spans == []


def test_a_disabled_opentelemetry_is_no_news(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = provider_with(shared_service, "processor")
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        say_sync(shared_service, session_id, joined=False)
    assert names(shared_service.events(session_id)) == OWNED
    assert lines(caplog) == []


def test_a_mirror_that_fails_costs_no_event(
    shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = provider_with(shared_service, "processor")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("private text")

    monkeypatch.setattr(Tracer, "start_span", fail)
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        say_sync(shared_service, session_id, joined=False)
    assert names(shared_service.events(session_id)) == OWNED
    assert "ZeroDivisionError" in caplog.text
    assert "private text" not in caplog.text
    assert "Traceback" not in caplog.text


def test_many_threads_share_a_session_and_a_client(shared_service: LocalMindlytics) -> None:
    provider = provider_with(shared_service, "exporter", "processor")
    session_id = new_id()

    async def main() -> None:
        async with Client(**arguments(shared_service)).create_session(session_id=session_id, device_id="d") as session:

            def record(start: int) -> None:
                async def work() -> None:
                    for number in range(start, start + 50):
                        await session.track_event(event=f"E{number}")

                asyncio.run(work())

            await asyncio.gather(*(asyncio.to_thread(record, 50 * number) for number in range(4)))

    with instrumented(provider, delivery="otel"):
        asyncio.run(main())
    events = names(shared_service.events(session_id))
    assert sorted(events) == sorted(["start_session", *[f"E{number}" for number in range(200)], "end_session"])


@pytest.mark.parametrize(
    "wrong",
    [{"delivery": "both"}, {"max_events_per_span": 0}, {"max_events_per_span": True}, {"max_span_seconds": -1}],
    ids=repr,
)
def test_arguments_that_cannot_be_used_change_nothing(wrong: dict[str, Any]) -> None:
    before = targets()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        patches.put_on(tracer_provider=provider_with(None), **wrong)
    assert not patches.is_on
    assert targets() == before


def test_the_environment_chooses_the_delivery(shared_service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_OTEL_DELIVERY", "otel")
    provider = provider_with(shared_service, "processor")
    kept = roads(provider)
    with instrumented(provider):
        say_sync(shared_service, new_id(), joined=False)
    assert not is_direct(kept)


def test_spans_of_an_exporter_wrapped_by_another_are_not_counted_on(shared_service: LocalMindlytics) -> None:
    """Sent directly then, and marked so: the wrapped exporter leaves them alone."""

    class Wrapping(Spans):
        inner = MindlyticsSpanExporter(**arguments(shared_service))

        def export(self, spans: Any) -> Any:
            return self.inner.export(spans)

    provider = provider_with(None)
    provider.add_span_processor(BatchSpanProcessor(Wrapping(), schedule_delay_millis=60_000))
    session_id = new_id()
    with instrumented(provider, delivery="otel"):
        say_sync(shared_service, session_id, joined=False)
        provider.force_flush()
    assert names(shared_service.events(session_id)) == OWNED
    Wrapping.inner.shutdown()


def test_the_log_is_quiet_in_normal_life(shared_service: LocalMindlytics, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    provider = provider_with(shared_service, "exporter", "processor")
    with instrumented(provider, delivery="otel"):
        say_sync(shared_service, new_id(), joined=False)
    assert lines(caplog) == []

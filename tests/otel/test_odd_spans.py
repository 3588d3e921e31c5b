"""Whatever spans hold, nothing is raised into the application, nothing is logged with a traceback, and what is sent is
right: a fuzz test through the real SDK, the exporter and the processor."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags, set_span_in_context
from opentelemetry.trace.propagation import get_current_span
from support.sdk import KEY, PROJECT, MemoryDoor
from support.spans import NOON, check_wire

from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor, attributes, bridge
from mlsdk_otel.translation.conventions import native


class Door(MemoryDoor):
    is_in_trouble = False

    def stats(self) -> dict[str, Any]:
        return {"accepted": len(self.events)}


@contextmanager
def delivering() -> Iterator[Door]:
    """Readers that are made inside deliver to a list."""
    door = Door()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge, "_bridges", {})
        patch.setattr(bridge, "delivery_for", lambda config: door)
        yield door


@contextmanager
def no_traceback() -> Iterator[None]:
    """Fails if one is logged."""
    found: list[str] = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.name.startswith("mlsdk"):
                found.append(self.format(record))

    watch = Watch()
    logging.getLogger().addHandler(watch)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(watch)
    assert found == []


class Hostile:
    """Cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:  # for the report of a failure
        return "Hostile()"


NAMES: Final = [
    value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str) and value != "*"
]
keys = st.sampled_from([f"{name}k" if name.endswith(".") else name for name in NAMES]) | st.sampled_from(
    [f"{name}*" for name in NAMES if name.endswith(".")] + ["mlsdk", "", "mindlytics.property.user"]
)
PLAIN: Final = [
    *("c", "s", "u", "", "x" * 500, "\ud800", "true", "direct", PROJECT, "1e5", "-1", "Conversation Turn"),
    *('{"timestamp":"2025-01-01T00:00:00Z","id":"u"}', '{"k":[1]}', "{", "2025-01-01T00:00:00Z", "then"),
    *(float("nan"), float("inf"), -0.0, 1e300, 10**30, -1, 0, 3, True, False, None, b"\xff", 2**63),
    *(Hostile(), datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)),
]
# Flat lists to choose from: drawing nested values one by one takes most of a test's time.
values = st.sampled_from(
    [*PLAIN, [], {}, *([value] for value in PLAIN), *({"k": [value], "": value} for value in PLAIN)]
)
usual = st.sampled_from(
    [
        {},
        {"session.id": "s1", "user.id": "u"},
        {"session.id": "s2", "gen_ai.conversation.id": "c"},
        {"mindlytics.turn.user": "q", "mindlytics.turn.assistant": "a", "gen_ai.conversation.id": "c"},
        {"mindlytics.event.name": "Conversation Turn", "mindlytics.property.user": "q"},
        {"gen_ai.tool.name": "f", "mindlytics.event.name": "Paid"},
    ]
)
held = st.builds(lambda some, more: {**some, **more}, usual, st.lists(st.tuples(keys, values), max_size=4).map(dict))
times = st.one_of(
    st.integers(NOON, NOON + 10**10),
    st.sampled_from([None, 0, -1, 1.5e18, float("nan"), -(10**30), 10**30, "noon", True]),
)
span_names = st.sampled_from([*native.SPAN_NAMES, *native.SPAN_NAMES, "POST /"])
event_names = st.sampled_from([*native.EVENT_NAMES, "exception", ""])
inner = st.lists(st.tuples(event_names, held, times), max_size=3)


@st.composite
def contexts(draw: st.DrawFn) -> SpanContext | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    return SpanContext(
        draw(st.integers(0, 2)), draw(st.integers(0, 5)), is_remote=draw(st.booleans()), trace_flags=TraceFlags(1)
    )


readable = st.builds(
    lambda name, context, parent, own, events, start, end: ReadableSpan(
        name,
        context=context,
        parent=parent,
        attributes=own,
        events=[Event(event, attributes=said, timestamp=time) for event, said, time in events],
        start_time=start,
        end_time=end,
    ),
    span_names,
    contexts(),
    st.none() | contexts(),
    st.none() | held,
    inner,
    times,
    times,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(readable, max_size=4))
def test_spans_made_by_anybody(spans: list[ReadableSpan]) -> None:
    with delivering() as door, no_traceback():
        exporter = MindlyticsSpanExporter(api_key=KEY, project_id=PROJECT)
        processor = MindlyticsSpanProcessor(api_key=KEY, project_id=PROJECT)
        for span in spans:
            processor.on_start(span)  # type: ignore[arg-type]  # as odd as it gets
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        for span in spans:
            processor.on_end(span)
        assert exporter.force_flush()
        assert processor.force_flush()
        check_wire(door.events)


@st.composite
def plays(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Spans one after another: name, which earlier one is the parent, attributes at start and later, events, times."""
    count = draw(st.integers(1, 4))
    return [
        (
            draw(span_names),
            draw(st.integers(-2, number - 1)),
            draw(held),
            draw(held),
            draw(inner),
            draw(times),
            draw(times),
        )
        for number in range(count)
    ]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plays(), st.booleans())
def test_spans_of_the_sdk(play: list[tuple[Any, ...]], is_nested: bool) -> None:
    logging.disable(logging.WARNING)  # OpenTelemetry's, about such values
    try:
        with delivering() as door, no_traceback():
            exporter = MindlyticsSpanExporter(api_key=KEY, project_id=PROJECT)
            provider = TracerProvider(shutdown_on_exit=False)
            provider.add_span_processor(MindlyticsSpanProcessor(api_key=KEY, project_id=PROJECT))
            spans: list[Any] = []
            for name, parent, first, *_, start, _ in play:
                above = set_span_in_context(spans[parent]) if parent >= 0 else set_span_in_context(get_current_span())
                tracer = provider.get_tracer("t")
                spans.append(tracer.start_span(name, above, attributes=_tame(first), start_time=start))
            for span, (_, _, _, later, events, _, end) in zip(reversed(spans), play, strict=True):
                span.set_attributes(_tame(later))
                for event, said, time in events:
                    span.add_event(event, _tame(said), timestamp=time)
                span.end(end)
            exporter.export(spans if is_nested else spans[::-1])
            assert provider.force_flush()
            provider.shutdown()
            check_wire(door.events)
    finally:
        logging.disable(logging.NOTSET)


def _tame(said: dict[str, Any]) -> dict[str, Any]:
    """What the SDK itself takes: it tells of the rest by `str`."""
    return {key: value for key, value in said.items() if "Hostile" not in _kinds(value)}


def _kinds(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_kinds, value), {"list"})
    if isinstance(value, dict):
        return set().union(*map(_kinds, value.values()), {"dict"})
    return {type(value).__name__}


def test_a_span_whose_name_is_no_text_is_left_alone() -> None:
    with delivering() as door, no_traceback():
        span = ReadableSpan(["mindlytics.session"])  # type: ignore[arg-type]
        processor = MindlyticsSpanProcessor(api_key=KEY, project_id=PROJECT)
        processor.on_start(span)  # type: ignore[arg-type]
        processor.on_end(span)
        assert MindlyticsSpanExporter(api_key=KEY, project_id=PROJECT).export([span]) is SpanExportResult.SUCCESS
        assert door.events == []

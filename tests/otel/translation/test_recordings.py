from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from mlsdk_otel.translation import recordings
from mlsdk_otel.translation.spanview import EventView, SpanView, of_span

NOON = 1_750_000_000_000_000_000
WANTED = SpanView(
    name="chat",
    trace_id=1,
    span_id=2,
    parent_id=3,
    has_remote_parent=False,
    start=NOON,
    end=NOON + 5000,
    attributes={"text": "a", "number": 7, "flag": True, "list": ["x", 1.5], "map": {"k": "v"}},
    events=(EventView("e", NOON + 1000, {"k": "v"}),),
    is_error=True,
    scope="lib",
    logs=(EventView("gen_ai.user.message", NOON + 2000, {"a": "b"}, body={"content": "Hi"}),),
)


def otlp(raw: Any) -> dict[str, Any]:
    if isinstance(raw, bool):
        return {"boolValue": raw}
    if isinstance(raw, int):
        return {"intValue": str(raw)}
    if isinstance(raw, float):
        return {"doubleValue": raw}
    if isinstance(raw, list):
        return {"arrayValue": {"values": [otlp(inner) for inner in raw]}}
    if isinstance(raw, dict):
        return {"kvlistValue": {"values": pairs(raw)}}
    return {"stringValue": raw}


def pairs(raw: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": otlp(value)} for key, value in raw.items()]


OTLP = [
    {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs({"service.name": "x"})},
                "scopeSpans": [
                    {
                        "scope": {"name": "lib"},
                        "spans": [
                            {
                                "name": "chat",
                                "traceId": f"{1:032x}",
                                "spanId": f"{2:016x}",
                                "parentSpanId": f"{3:016x}",
                                "startTimeUnixNano": str(NOON),
                                "endTimeUnixNano": str(NOON + 5000),
                                "status": {"code": 2},
                                "attributes": pairs(WANTED.attributes),
                                "events": [{"name": "e", "timeUnixNano": NOON + 1000, "attributes": pairs({"k": "v"})}],
                            }
                        ],
                    }
                ],
            }
        ]
    },
    {
        "resourceLogs": [
            {
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "eventName": "gen_ai.user.message",
                                "timeUnixNano": str(NOON + 2000),
                                "traceId": f"{1:032x}",
                                "spanId": f"{2:016x}",
                                "attributes": pairs({"a": "b"}),
                                "body": otlp({"content": "Hi"}),
                            }
                        ]
                    }
                ]
            }
        ]
    },
]
RECORDING = {
    "spans": [
        {
            "name": "chat",
            "context": {"trace_id": f"{1:032x}", "span_id": f"{2:016x}"},
            "parent_span_id": f"{3:016x}",
            "start_time_unix_nano": NOON,
            "end_time_unix_nano": NOON + 5000,
            "status": {"code": "ERROR"},
            "scope": {"name": "lib"},
            "attributes": WANTED.attributes,
            "events": [{"name": "e", "timestamp": NOON + 1000, "attributes": {"k": "v"}}],
        }
    ],
    "logs": [
        {
            "event_name": "gen_ai.user.message",
            "timestamp": NOON + 2000,
            "trace_id": f"{1:032x}",
            "span_id": f"{2:016x}",
            "attributes": {"a": "b"},
            "body": {"content": "Hi"},
        }
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        orjson.dumps(OTLP),
        b"\n".join(orjson.dumps(document) for document in OTLP),
        orjson.dumps({**OTLP[0], **OTLP[1]}),
        orjson.dumps(RECORDING).decode(),
        orjson.dumps(RECORDING, option=orjson.OPT_INDENT_2),
    ],
    ids=["list", "lines", "one", "recording", "indented"],
)
def test_spans_and_their_log_records_are_read(text: str | bytes) -> None:
    assert recordings.views(recordings.documents(text)) == [WANTED]


def test_what_the_console_exporter_prints_is_read() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with provider.get_tracer("lib").start_as_current_span("outer") as outer:
        outer.set_attributes({"a": 1, "b": ["x"]})
        with provider.get_tracer("lib").start_as_current_span("inner") as inner:
            inner.set_status(Status(StatusCode.ERROR, "no"))
    made = memory.get_finished_spans()
    printed = "\n".join(span.to_json() for span in made)
    read = recordings.views(recordings.documents(printed))
    for found, span in zip(read, made, strict=True):
        view = of_span(span)
        assert (found.name, found.trace_id, found.span_id, found.parent_id, found.is_error) == (
            view.name,
            view.trace_id,
            view.span_id,
            view.parent_id,
            view.is_error,
        )
        assert abs(found.start - view.start) < 1000  # it prints microseconds
    assert dict(read[1].attributes) == {"a": 1, "b": ["x"]}


def test_what_the_program_itself_prints_is_passed_over() -> None:
    one = {"name": "chat", "context": {"trace_id": "0x1", "span_id": "0x2"}}
    span = orjson.dumps(one, option=orjson.OPT_INDENT_2).decode()
    printed = f"Hello [1]\n42 {{'a': 1}}\nloading... {span}\n{{done}} {{\"half\": \n{span}\nbye"
    assert [view.name for view in recordings.views(recordings.documents(printed))] == ["chat", "chat"]


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        recordings.documents("no json")


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["name", "context", "trace_id", "spanId", "start_time", "status", "attributes", "events", "body", "scope"]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), ODD), max_size=3), ODD)
def test_odd_fields_are_left_out(spans: list[dict[str, Any]], odd: Any) -> None:
    read = recordings.views([{"spans": spans, "logs": spans}, {"resourceSpans": odd, "spans": odd}])
    assert len(read) >= len(spans)

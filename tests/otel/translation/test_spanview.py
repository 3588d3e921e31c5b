from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from mlsdk_otel.translation.spanview import EventView, SpanView, event_of_log_record, of_log_record, of_span

NOON = datetime(2025, 6, 15, 12, tzinfo=timezone.utc)
NOON_NS = 1_749_988_800_000_000_000


def test_a_span_of_the_sdk_is_copied_whole() -> None:
    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child", start_time=5) as span:
        span.set_attributes({"a": 1, "b": [1, 2]})
        span.add_event("e", {"k": "v"}, timestamp=7)
    view = of_span(span)
    context = span.get_span_context()
    assert view == SpanView(
        name="child",
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id=parent.get_span_context().span_id,
        has_remote_parent=False,
        start=5,
        end=view.end,
        attributes={"a": 1, "b": (1, 2)},
        events=(EventView("e", 7, {"k": "v"}),),
        scope="t",
    )
    assert view.end > NOON_NS


def test_what_limits_dropped_is_told() -> None:
    tracer = TracerProvider().get_tracer("t")
    span = tracer.start_span("s")
    span.set_attributes({f"k{number}": number for number in range(130)})
    for _ in range(129):
        span.add_event("e", {f"k{number}": number for number in range(129)})
    view = of_span(span)
    assert (view.dropped_events, view.dropped_attributes, view.events[0].dropped_attributes) == (1, 2, 1)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (1.5e18, 1_500_000_000_000_000_000),
        (-5, -5),
        (10**30, 10**30),
        (NOON, NOON_NS),
        (NOON.astimezone(timezone(timedelta(hours=2))), NOON_NS),
        (None, 77),
        (True, 77),
        ("noon", 77),
        (float("nan"), 77),
        (float("inf"), 77),
        (NOON.replace(tzinfo=None), 77),
    ],
)
def test_times_are_read_as_far_as_they_make_sense(given: Any, wanted: int) -> None:
    view = of_span(ReadableSpan("s", start_time=given, end_time=77, events=[Event("e", timestamp=given or 77)]))
    assert view.start == wanted
    assert view.end == max(wanted, 77)
    assert view.events[0].time == wanted
    assert of_span(ReadableSpan("s", start_time=77, end_time=given)).end == max(wanted, 77)


def test_a_span_without_anything_is_read() -> None:
    """It once cost the whole batch, with a traceback in the log."""
    view = of_span(ReadableSpan("s"))
    assert view == SpanView("s", 0, 0, None, has_remote_parent=False, start=0, end=0, attributes={})


def test_a_parent_in_another_process_is_told() -> None:
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    view = of_span(ReadableSpan("s", parent=parent))
    assert (view.parent_id, view.has_remote_parent) == (2, True)


class Plain(Mapping[str, object]):
    """A mapping without a `copy` of its own."""

    def __getitem__(self, key: str) -> object:
        return {"k": 1}[key]

    def __iter__(self) -> Any:
        return iter(["k"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({1: "a", None: "b", "c": None}, {"1": "a", "None": "b", "c": None}),
        (MappingProxyType({"k": 1}), {"k": 1}),
        (Plain(), {"k": 1}),
        (None, {}),
    ],
)
def test_odd_attributes_are_read(given: Any, wanted: object) -> None:
    view = of_span(ReadableSpan("s", attributes=given, events=[Event("e", given, 5)]))
    assert view.attributes == view.events[0].attributes == wanted


def test_a_log_record_is_a_span_with_one_event() -> None:
    log = SimpleNamespace(
        event_name="e", timestamp=None, observed_timestamp=9, trace_id=None, span_id=3, attributes={"k": 1}
    )
    view = of_log_record(SimpleNamespace(log_record=log, dropped_attributes=2), name="n", attributes={"j": True})
    assert view == SpanView(
        "n",
        0,
        3,
        None,
        has_remote_parent=False,
        start=9,
        end=9,
        attributes={"k": 1, "j": True},
        events=(EventView("e", 9, {"k": 1}, 2),),
    )


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.UNSET, StatusCode.ERROR])
def test_a_failure_is_told(code: StatusCode) -> None:
    assert of_span(ReadableSpan("s", status=Status(code))).is_error == (code is StatusCode.ERROR)


@pytest.mark.parametrize(
    ("name", "attributes", "wanted"),
    [("e", {"k": 1}, "e"), (None, {"event.name": "old"}, "old"), (None, None, "")],
)
def test_a_log_record_is_an_event_of_its_span(name: Any, attributes: Any, wanted: str) -> None:
    log = SimpleNamespace(
        event_name=name, timestamp=5, observed_timestamp=9, attributes=attributes, body={"content": "Hi"}
    )
    event = event_of_log_record(SimpleNamespace(log_record=log))
    assert event == EventView(wanted, 5, attributes or {}, body={"content": "Hi"})

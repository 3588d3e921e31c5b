"""Spans for tests of the OpenTelemetry road: views as the translator takes them, and finished spans of the real SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final

import orjson

from mlsdk.events import Event, encode
from mlsdk.models import wire_model
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.spanview import EventView, SpanView

NOON: Final = 1_750_000_000_000_000_000
"""Some moment, in nanoseconds since 1970."""
SECOND: Final = 1_000_000_000

_ids = count(1_000_000)


def at(seconds: float) -> int:
    """A moment some seconds after noon, in nanoseconds."""
    return NOON + round(seconds * 1e6) * 1000


def event(name: str, seconds: float = 1, **attributes: Any) -> EventView:
    """An event of a span; in the names of attributes `__` stands for a dot."""
    return EventView(name, at(seconds), dotted(attributes))


def turn(text: str, seconds: float = 1, **attributes: Any) -> EventView:
    """A turn with the same text on both sides."""
    texts = {names.TURN_USER: text, names.TURN_ASSISTANT: text}
    return EventView(names.TURN, at(seconds), {**texts, **dotted(attributes)})


def dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with dots in their names."""
    return {name.replace("__", "."): value for name, value in attributes.items()}


def session(*events: EventView, **fields: Any) -> SpanView:
    """A session's span."""
    return span(names.SESSION_SPAN, *events, **fields)


def conversation(*events: EventView, **fields: Any) -> SpanView:
    """A conversation's span."""
    return span(names.CONVERSATION_SPAN, *events, **fields)


def span(
    name: str,
    *events: EventView,
    trace: int = 1,
    number: int | None = None,
    below: SpanView | int | None = None,
    remote: bool = False,
    start: float = 0,
    end: float = 10,
    dropped_events: int = 0,
    dropped_attributes: int = 0,
    **attributes: Any,
) -> SpanView:
    """A finished span, `below` another; in the names of attributes `__` stands for a dot."""
    return SpanView(
        name=name,
        trace_id=below.trace_id if isinstance(below, SpanView) else trace,
        span_id=next(_ids) if number is None else number,
        parent_id=below.span_id if isinstance(below, SpanView) else below,
        has_remote_parent=remote,
        start=at(start),
        end=at(end),
        attributes=dotted(attributes),
        events=events,
        dropped_events=dropped_events,
        dropped_attributes=dropped_attributes,
    )


def told(events: Iterable[Event]) -> list[str]:
    """Events in short: `start s`, `open c`, `turn c text`, `close c`, `end s`, or their name."""
    return [_in_short(event) for event in events]


def _in_short(event: Event) -> str:
    conversation_id = event.get("conversation_id")
    properties: Any = event.get("properties", {})
    short = {
        "start_session": f"start {event['session_id']}",
        "end_session": f"end {event['session_id']}",
        "Conversation Started": f"open {conversation_id}",
        "Conversation Ended": f"close {conversation_id}",
        "Conversation Turn": f"turn {conversation_id} {properties.get('user')}",
    }
    name = str(event.get("event", event["type"]))
    return short.get(name, name if conversation_id is None else f"{name} {conversation_id}")


def check_wire(events: Sequence[Event]) -> None:
    """Every event, as it goes over the wire, is as the service's own models want it."""
    for event in events:
        arrived = orjson.loads(encode(event))
        model = wire_model(arrived)
        assert model is not None, event
        model.model_validate(arrived, strict=True)

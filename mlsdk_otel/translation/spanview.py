"""A plain, read-only copy of a finished span, whoever made it.

Reading is tolerant: OpenTelemetry validates neither times nor nesting, and a span that nobody can make sense of must
not cost the others. Times are nanoseconds since the Unix epoch, as OpenTelemetry has them; an end before its start is
moved to the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from math import isfinite
from typing import Any, Final, NamedTuple

Attributes = Mapping[str, object]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)


class EventView(NamedTuple):
    """An event of a span, or a log record that belongs to one.

    A tuple, since spans have many: a frozen dataclass takes three times as long to make.

    Attributes:
        body: A log record's own value; an event of a span has none.
    """

    name: str
    time: int
    attributes: Attributes
    dropped_attributes: int = 0
    body: object = None


@dataclass(frozen=True, slots=True)
class SpanView:
    """A span that has ended.

    Attributes:
        trace_id: 0 for a span that has no ids.
        span_id: Likewise.
        parent_id: The parent's span id, or None for a root.
        has_remote_parent: The parent is a span of another process.
        dropped_events: Events that the span's limits dropped before anybody saw them.
        dropped_attributes: Likewise of its attributes.
        is_error: Its status says that it failed.
        scope: The name of the library that made it.
        logs: Log records that carry its ids; some libraries put the texts there.
        surroundings: The ids that were set where it started, by `using_session` or in baggage, by attribute name.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    has_remote_parent: bool
    start: int
    end: int
    attributes: Attributes
    events: tuple[EventView, ...] = ()
    dropped_events: int = 0
    dropped_attributes: int = 0
    is_error: bool = False
    scope: str | None = None
    logs: tuple[EventView, ...] = ()
    surroundings: Attributes = field(default_factory=dict)


def of_span(span: Any) -> SpanView:
    """A view of an SDK span (`opentelemetry.sdk.trace.ReadableSpan`)."""
    parent = span.parent
    start = _nanoseconds(span.start_time, _nanoseconds(span.end_time, 0))
    return SpanView(
        name=str(span.name),
        trace_id=_id(span.context, "trace_id"),
        span_id=_id(span.context, "span_id"),
        parent_id=None if parent is None else _id(parent, "span_id"),
        has_remote_parent=getattr(parent, "is_remote", False) is True,
        start=start,
        end=max(start, _nanoseconds(span.end_time, start)),
        attributes=_copy(span.attributes),
        # span.events makes a new tuple at each access.
        events=tuple(
            EventView(
                name=str(event.name),
                time=_nanoseconds(event.timestamp, start),
                attributes=_copy(event.attributes),
                dropped_attributes=getattr(event, "dropped_attributes", 0) or 0,
            )
            for event in span.events
        ),
        dropped_events=getattr(span, "dropped_events", 0) or 0,
        dropped_attributes=getattr(span, "dropped_attributes", 0) or 0,
        is_error=getattr(getattr(getattr(span, "status", None), "status_code", None), "name", None) == "ERROR",
        scope=_scope(getattr(span, "instrumentation_scope", None)),
    )


def event_of_log_record(record: Any) -> EventView:
    """A log record as an event of the span whose ids it carries.

    Args:
        record: `opentelemetry.sdk._logs.ReadableLogRecord`.
    """
    log = record.log_record
    own = _copy(log.attributes)
    return EventView(
        name=str(getattr(log, "event_name", None) or own.get("event.name") or ""),
        time=_nanoseconds(log.timestamp, _nanoseconds(log.observed_timestamp, 0)),
        attributes=own,
        dropped_attributes=getattr(record, "dropped_attributes", 0) or 0,
        body=log.body,
    )


def of_log_record(record: Any, *, name: str, attributes: Attributes) -> SpanView:
    """A log record with an event's name, as a span of the given name with that one event in it.

    Args:
        record: `opentelemetry.sdk._logs.ReadableLogRecord`.
        name: The span's name.
        attributes: The span's attributes, beside the record's.
    """
    log = record.log_record
    time = _nanoseconds(log.timestamp, _nanoseconds(log.observed_timestamp, 0))
    own = _copy(log.attributes)
    return SpanView(
        name=name,
        trace_id=_id(log, "trace_id"),
        span_id=_id(log, "span_id"),
        parent_id=None,
        has_remote_parent=False,
        start=time,
        end=time,
        attributes={**own, **attributes},
        events=(
            EventView(str(getattr(log, "event_name", "")), time, own, getattr(record, "dropped_attributes", 0) or 0),
        ),
    )


def _scope(scope: Any) -> str | None:
    found = getattr(scope, "name", None)
    return found if isinstance(found, str) and found else None


def _id(context: Any, name: str) -> int:
    found = getattr(context, name, None)
    return found if isinstance(found, int) else 0


def _copy(attributes: Any) -> Attributes:
    if not isinstance(attributes, Mapping):
        return {}
    try:
        # BoundedAttributes.copy() takes a seventh of the time of dict(), which goes through its locks key by key.
        copied: Attributes = attributes.copy()  # type: ignore[attr-defined]
    except AttributeError:
        copied = {key: attributes[key] for key in attributes}
    for key in copied:
        if type(key) is not str:
            return {str(key): value for key, value in copied.items()}
    return copied


def _nanoseconds(value: object, otherwise: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and isfinite(value):
        return int(value)
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return (value - _EPOCH) // _MICROSECOND * 1000
    return otherwise

"""Wire events as attributes of spans and span events: what `translation.conventions.native` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, cast

import orjson

from mlsdk import events
from mlsdk.events import Event, Value
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions.native import FIELDS, READERS, SPAN_EVENTS

Written: TypeAlias = dict[str, Value]

_TYPES: Final = {
    events.IDENTIFY: names.IDENTIFY,
    events.ALIAS: names.ALIAS,
    events.END_SESSION: names.SESSION_ENDED,
}


def nanoseconds(event: Event) -> int:
    """An event's moment as OpenTelemetry has it."""
    return events.parse_timestamp(event["timestamp"]) * 1000


def text(event: Event, field: str) -> str | None:
    """A field of an event that is text."""
    value = event.get(field)
    return value if isinstance(value, str) else None


def values(event: Event, field: str) -> Mapping[str, Value]:
    """The properties, attributes or traits of an event; empty if it has none."""
    return cast("Mapping[str, Value]", event.get(field) or {})


def ids(event: Event) -> Written:
    """Whose an event is."""
    written: Written = {names.SESSION_ID: str(event["session_id"])}
    for field, name in (("user_id", names.USER_ID), ("device_id", names.DEVICE_ID)):
        if (value := text(event, field)) is not None:
            written[name] = value
    return written


def session_start(event: Event) -> str:
    """The start of a session as JSON text, for each of its spans."""
    told = {name: event[name] for name in ("timestamp", "id", "device_id", "attributes") if name in event}
    return _json(told)


def prefixed(prefix: str, given: Mapping[str, Value], *, beside: int = 0) -> Written:
    """Values below a prefix: one attribute each, or all in one when they are too many.

    Args:
        prefix: What their names begin with.
        given: The values.
        beside: How many the span has already.
    """
    if given and (len(given) + beside > names.MAX_SINGLE_VALUES or names.ALL in given):
        return {prefix + names.ALL: _json(given)}
    return {prefix + name: value for name, value in given.items()}


def event_name(event: Event) -> str:
    """The span event that an event becomes."""
    if event["type"] != events.TRACK:
        return _TYPES[str(event["type"])]
    return names.CUSTOM if is_custom(event) else SPAN_EVENTS[str(event["event"])]


def is_custom(event: Event) -> bool:
    """Whether a tracked event is the application's own; one without a conversation is, whatever its name."""
    return str(event["event"]) not in SPAN_EVENTS or text(event, "conversation_id") is None


def event_attributes(event: Event, span: Mapping[str, Value]) -> Written:
    """The attributes of the span event that an event becomes; with its ids, since they may change in a session.

    Args:
        event: The event.
        span: The attributes of the span, whose ids stand for all of its events that do not say otherwise.
    """
    name = event_name(event)
    written = _ids_on(event, span, user=names.USER_ID)
    if (conversation_id := text(event, "conversation_id")) is not None:
        written[names.CONVERSATION_ID] = conversation_id
    if name in (names.IDENTIFY, names.ALIAS):
        return _identity(event, span)
    if name == names.SESSION_ENDED:
        return {**written, **prefixed(names.PROPERTY, values(event, "attributes"))}
    if name == names.CUSTOM:
        written[names.EVENT_NAME] = str(event["event"])
    fields = FIELDS.get(name, {})
    own: dict[str, Value] = {}
    for key, value in values(event, "properties").items():
        # What does not fit stays a property: a field would be read as something else.
        if key in fields and _same(READERS[key](value), value):
            written[fields[key]] = value
        else:
            own[key] = value
    return {**written, **prefixed(names.PROPERTY, own)}


def _same(read: Value | None, value: Value) -> bool:
    return type(read) is type(value) and read == value


def _identity(event: Event, span: Mapping[str, Value]) -> Written:
    """On these two events `user.id` is who the user is from now on."""
    written = _ids_on(event, span, user=names.KNOWN_USER_ID)
    for field, name in (("id", names.USER_ID), ("previous_id", names.PREVIOUS_ID)):
        if (value := text(event, field)) is not None:
            written[name] = value
    return {**written, **prefixed(names.TRAIT, values(event, "traits"))}


def end_ids(event: Event, span: Mapping[str, Value]) -> Written:
    """Whose a session or conversation is at its end, where that is not what its span says of the start."""
    now = _ids_on(event, span, user=names.USER_ID)
    ended = ((names.USER_ID, names.END_USER_ID), (names.DEVICE_ID, names.END_DEVICE_ID))
    return {end: now[name] for name, end in ended if name in now and now[name] != span.get(name)}


def _ids_on(event: Event, span: Mapping[str, Value], *, user: str) -> Written:
    """The ids of an event on a span; an empty text where the span has one and the event has none."""
    written: Written = {}
    for field, name, key in (("user_id", names.USER_ID, user), ("device_id", names.DEVICE_ID, names.DEVICE_ID)):
        if (value := text(event, field)) is not None:
            written[key] = value
        elif name in span:
            written[key] = ""
    return written


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, which the wire replaces anyway
        return events.encode(cast("Event", value)).decode()

"""Wire events as attributes of spans and span events: what `translation.conventions.native` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, cast

import orjson

from mlsdk import events
from mlsdk.events import Event, Value
from mlsdk_otel import attributes as names

Written: TypeAlias = dict[str, Value]

_EVENTS: Final = {
    events.CONVERSATION_STARTED: names.CONVERSATION_STARTED,
    events.CONVERSATION_ENDED: names.CONVERSATION_ENDED,
    events.CONVERSATION_TURN: names.TURN,
    events.CONVERSATION_USAGE: names.USAGE,
    events.CONVERSATION_FUNCTION: names.FUNCTION,
}
_TYPES: Final = {
    events.IDENTIFY: names.IDENTIFY,
    events.ALIAS: names.ALIAS,
    events.END_SESSION: names.SESSION_ENDED,
}
_USAGE_FIELDS: Final = {
    "model": names.RESPONSE_MODEL,
    "prompt_tokens": names.INPUT_TOKENS,
    "completion_tokens": names.OUTPUT_TOKENS,
    "cost": names.COST,
}
_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    names.TURN: {
        "user": names.TURN_USER,
        "assistant": names.TURN_ASSISTANT,
        "assistant_id": names.TURN_ASSISTANT_ID,
        **_USAGE_FIELDS,
    },
    names.USAGE: _USAGE_FIELDS,
    names.FUNCTION: {
        "name": names.TOOL_NAME,
        "args": names.TOOL_ARGUMENTS,
        "result": names.TOOL_RESULT,
        "runtime": names.RUNTIME_MS,
    },
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


def prefixed(prefix: str, given: Mapping[str, Value]) -> Written:
    """Values below a prefix: one attribute each, or all in one when they are too many."""
    if len(given) > names.MAX_SINGLE_VALUES or names.ALL in given:
        return {prefix + names.ALL: _json(given)}
    return {prefix + name: value for name, value in given.items()}


def event_name(event: Event) -> str:
    """The span event that an event becomes."""
    if event["type"] != events.TRACK:
        return _TYPES[str(event["type"])]
    return _EVENTS.get(str(event["event"]), names.CUSTOM)


def event_attributes(event: Event) -> Written:
    """The attributes of the span event that an event becomes; with its ids, since they may change in a session."""
    written = ids(event)
    del written[names.SESSION_ID]  # the span has it
    name = event_name(event)
    if (conversation_id := text(event, "conversation_id")) is not None:
        written[names.CONVERSATION_ID] = conversation_id
    if name in (names.IDENTIFY, names.ALIAS):
        return {**written, **_identity(event)}
    if name == names.SESSION_ENDED:
        return {**written, **prefixed(names.PROPERTY, values(event, "attributes"))}
    if name == names.CUSTOM:
        written[names.EVENT_NAME] = str(event["event"])
    fields = _FIELDS.get(name, {})
    own: dict[str, Value] = {}
    for key, value in values(event, "properties").items():
        if key in fields:
            written[fields[key]] = value
        else:
            own[key] = value
    return {**written, **prefixed(names.PROPERTY, own)}


def _identity(event: Event) -> Written:
    """On these two events `user.id` is who the user is from now on."""
    written: Written = {}
    known = text(event, "user_id")
    if known is not None:
        written[names.KNOWN_USER_ID] = known
    for field, name in (("id", names.USER_ID), ("previous_id", names.PREVIOUS_ID)):
        if (value := text(event, field)) is not None:
            written[name] = value
    return {**written, **prefixed(names.TRAIT, values(event, "traits"))}


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, which the wire replaces anyway
        return events.encode(cast("Event", value)).decode()

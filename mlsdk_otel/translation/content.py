"""What is left of an event when texts must not leave the process (`MLSDK_CAPTURE_CONTENT=false`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk import events
from mlsdk.events import Event, Value

_TOKENS: Final = ("model", "prompt_tokens", "completion_tokens")
_TEXTS: Final = frozenset({"args", "result"})


def without_content(event: Event) -> Event | None:
    """A turn becomes its usage, or nothing; a function call loses its arguments and result; others stay."""
    properties = event.get("properties")
    if event["type"] != events.TRACK or not isinstance(properties, Mapping):
        return event
    if event["event"] == events.CONVERSATION_TURN:
        usage = _usage(properties)
        return {**event, "event": events.CONVERSATION_USAGE, "properties": usage} if usage else None
    if event["event"] == events.CONVERSATION_FUNCTION:
        return {**event, "properties": {name: value for name, value in properties.items() if name not in _TEXTS}}
    return event


def _usage(properties: Mapping[str, Value]) -> dict[str, Value]:
    """What the wire takes as usage by itself: a cost, or a model and both counts of tokens."""
    if "cost" in properties:
        return {"cost": properties["cost"]}
    if all(name in properties for name in _TOKENS):
        return {name: properties[name] for name in _TOKENS}
    return {}

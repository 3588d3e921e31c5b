"""Texts in one event for each message, as OpenTelemetry's GenAI conventions had them up to 1.36.

The event is a log record (`opentelemetry-instrumentation-openai-v2`), an event of the span (Strands, Azure), or one
of a list in an attribute (pydantic-ai's first format); its fields are the record's body, attributes of the event, or
JSON text in one attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from mlsdk_otel.translation.conventions import messages, reading
from mlsdk_otel.translation.facts import Message, ToolRun
from mlsdk_otel.translation.spanview import EventView, SpanView

_ROLES: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_CHOICE: Final = "gen_ai.choice"
_PROMPT: Final = "gen_ai.content.prompt"
_COMPLETION: Final = "gen_ai.content.completion"
_IN_ONE: Final = ("gen_ai.event.content", "event_body", "gen_ai.event.body")
_LISTED: Final = ("events", "all_messages_events")
"""Where pydantic-ai and Logfire had them all as JSON text at first."""
NAMES: Final = frozenset((*_ROLES, _CHOICE, _PROMPT, _COMPLETION))


def exchange(view: SpanView) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """What was sent and what was answered."""
    sent: list[Message] = []
    answer: list[Message] = []
    for event in _events(view):
        if event.name in _ROLES:
            sent += _message(event, _ROLES[event.name])
        elif event.name == _CHOICE:
            answer += _choice(event)
        elif event.name == _PROMPT:
            sent += messages.history(event.attributes.get("gen_ai.prompt"))
        elif event.name == _COMPLETION:
            answer += messages.history(event.attributes.get("gen_ai.completion"), role="assistant")
    return tuple(sent), tuple(answer)


def tool(view: SpanView) -> ToolRun:
    """What the events on the span of a function say: what it was given, and what it gave."""
    given = came = call_id = None
    for event in (*view.events, *view.logs):
        fields = _fields(event)
        if event.name == "gen_ai.tool.message":
            given = messages.arguments(fields.get("content"))
            call_id = fields.get("id") or call_id
        elif event.name == _CHOICE:
            came = messages.result(messages.loaded(fields.get("message")))
            call_id = fields.get("id") or call_id
    return ToolRun(None, reading.identifier(call_id), given, came)


def _events(view: SpanView) -> Iterator[EventView]:
    yield from view.events
    yield from view.logs
    for key in _LISTED:
        listed = messages.loaded(view.attributes.get(key))
        for fields in listed if isinstance(listed, list | tuple) else ():
            if isinstance(fields, Mapping) and isinstance(name := fields.get("event.name"), str):
                yield EventView(name, view.start, fields)


def _message(event: EventView, role: str) -> tuple[Message, ...]:
    fields = _fields(event)
    content = fields.get("content")
    if isinstance(content, str) and content.startswith("{"):
        # Google's content is a structure; other text that happens to be JSON is what was said.
        found = messages.loaded(content)
        content = found if isinstance(found, Mapping) and "parts" in found else content
    message = messages.one({**fields, "role": _role(fields, role), "content": content}, role=role)
    return () if message is None else (message,)


def _role(fields: Mapping[str, object], role: str) -> str:
    """A message may name its own role; the event's name says more than a role nobody knows."""
    given = fields.get("role")
    return given if given in ("user", "assistant", "system", "tool") else role


def _choice(event: EventView) -> tuple[Message, ...]:
    fields = dict(_fields(event))
    raw = fields.get("message", fields.get("content"))
    found = messages.loaded(raw)
    if isinstance(found, Mapping):
        if "content" not in found and isinstance(fields.get("content"), str | Mapping | list | tuple):
            found = {**found, "content": fields["content"]}
        message = messages.one({"role": "assistant", **fields, "message": found}, role="assistant")
    elif isinstance(found, list | tuple):
        message = messages.one({"role": "assistant", "content": found}, role="assistant")
    else:
        message = messages.one(
            {"role": "assistant", "content": raw, "tool_calls": fields.get("tool_calls")}, role="assistant"
        )
    return () if message is None else (message,)


def _fields(event: EventView) -> Mapping[str, object]:
    if (told := reading.mapping(event.body)) is not None:  # Semantic Kernel's body is JSON text
        return told
    for key in _IN_ONE:
        if (told := reading.mapping(event.attributes.get(key))) is not None:
            return told
    return event.attributes

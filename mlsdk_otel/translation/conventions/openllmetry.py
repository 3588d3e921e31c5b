"""OpenLLMetry up to 0.4x: indexed `gen_ai.prompt.N` and `llm.request.type`, and the decorators of the Traceloop SDK.

Newer versions follow the GenAI conventions and only their decorators are left here. LiteLLM's callback writes the same
indexed names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import calls, genai, messages, reading
from mlsdk_otel.translation.facts import Message, Reading
from mlsdk_otel.translation.spanview import SpanView

_REQUEST_TYPE: Final = "llm.request.type"
_KIND: Final = "traceloop.span.kind"
_ENTITY_NAME: Final = "traceloop.entity.name"
_ENTITY_INPUT: Final = "traceloop.entity.input"
_ENTITY_OUTPUT: Final = "traceloop.entity.output"
_FIRST: Final = ("gen_ai.prompt.0.content", "gen_ai.prompt.0.role", "gen_ai.completion.0.content")
MARKERS: Final = frozenset({_REQUEST_TYPE, _KIND, *_FIRST})

_SPOKEN: Final = ("chat", "completion")


def claims(view: SpanView) -> bool:
    """Whether a span has names of OpenLLMetry's own."""
    return not MARKERS.isdisjoint(view.attributes)


def read(view: SpanView) -> Reading | None:
    """What a span says."""
    own = view.attributes
    kind = reading.text(own.get(_KIND))
    if kind and _REQUEST_TYPE not in own:
        return _decorated(view, kind)
    requested = (reading.text(own.get(_REQUEST_TYPE)) or "chat").lower()
    if not any(word in requested for word in _SPOKEN) and requested != "unknown":
        return None
    sent, answer = genai.exchange(view)
    return calls.model_call(view, sent, answer)


def _decorated(view: SpanView, kind: str) -> Reading:
    own = view.attributes
    if kind != "tool":
        agent = own.get(_ENTITY_NAME) if kind == "agent" else None
        return calls.enclosure(view, agent=agent, sent=_only_text(own.get(_ENTITY_INPUT)))
    given = reading.mapping(own.get(_ENTITY_INPUT)) or {}
    if "input_str" in given:  # LangChain's
        sent, came, call_id = genai.unwrapped(own[_ENTITY_INPUT], own.get(_ENTITY_OUTPUT), own.get(names.TOOL_CALL_ID))
        name = own.get(_ENTITY_NAME) or own.get(names.TOOL_NAME)
        return calls.tool_run(view, name=name, call_id=call_id, arguments=sent, result=came)
    arguments: object = given.get("kwargs") or given.get("args") or given.get("inputs")
    if arguments is None and _ENTITY_INPUT in own and not {"args", "kwargs"} & given.keys():
        arguments = own[_ENTITY_INPUT]
    came = messages.loaded(own.get(_ENTITY_OUTPUT))
    if isinstance(came, Mapping) and isinstance(output := came.get("output"), Mapping | str):
        kwargs = output.get("kwargs") if isinstance(output, Mapping) else None
        came = kwargs.get("content") if isinstance(kwargs, Mapping) else output
    return calls.tool_run(
        view,
        name=own.get(_ENTITY_NAME) or own.get(names.TOOL_NAME),
        call_id=own.get(names.TOOL_CALL_ID),
        arguments=arguments,
        result=messages.result(came),
    )


def _only_text(raw: object) -> tuple[Message, ...]:
    """What a decorated function was given, where that is one text."""
    given = reading.mapping(raw) or {}
    args, kwargs = given.get("args"), given.get("kwargs")
    values = [
        *(args if isinstance(args, list | tuple) else ()),
        *(kwargs.values() if isinstance(kwargs, Mapping) else ()),
    ]
    return (Message("user", values[0]),) if len(values) == 1 and isinstance(values[0], str) else ()

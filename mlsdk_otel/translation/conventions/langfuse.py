"""The Langfuse SDK from version 3 on: `langfuse.observation.type`, with input and output as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mlsdk_otel.translation.conventions import calls, messages, reading
from mlsdk_otel.translation.facts import Message, Reading, Usage
from mlsdk_otel.translation.spanview import SpanView

_TYPE: Final = "langfuse.observation.type"
_INPUT: Final = "langfuse.observation.input"
_OUTPUT: Final = "langfuse.observation.output"
_MODEL: Final = "langfuse.observation.model.name"
_USAGE: Final = "langfuse.observation.usage_details"
_LEVEL: Final = "langfuse.observation.level"
_INPUT_TOKENS: Final = ("input", "prompt_tokens", "input_tokens", "promptTokens")
_OUTPUT_TOKENS: Final = ("output", "completion_tokens", "output_tokens", "completionTokens")
_AROUND: Final = frozenset({"span", "agent", "chain"})
MARKERS: Final = frozenset({_TYPE})


def claims(view: SpanView) -> bool:
    """Whether a span names the type of an observation."""
    return _TYPE in view.attributes


def read(view: SpanView) -> Reading | None:
    """What a span says; None for observations that are no part of a conversation."""
    own = view.attributes
    if own.get(_LEVEL) == "ERROR":
        view = replace(view, is_error=True)
    kind = reading.text(own.get(_TYPE))
    if kind == "generation":
        told = reading.mapping(own.get(_USAGE)) or {}
        usage = Usage(_tokens(told, _INPUT_TOKENS), _tokens(told, _OUTPUT_TOKENS))
        model = own.get(_MODEL)
        sent, answer = _said(own.get(_INPUT), "user"), _said(own.get(_OUTPUT), "assistant")
        return calls.model_call(view, sent, answer, request_model=model, response_model=model, tokens=usage)
    if kind == "tool":
        given = reading.mapping(own.get(_INPUT))
        is_call = given is not None and set(given) <= {"args", "kwargs"}
        arguments = given.get("kwargs") if given is not None and is_call else own.get(_INPUT)
        result = messages.loaded(own.get(_OUTPUT))
        return calls.tool_run(view, name=view.name, call_id=None, arguments=arguments, result=messages.result(result))
    if kind in _AROUND:
        return calls.enclosure(view, agent=view.name if kind == "agent" else None)
    return None


def _said(raw: object, role: str) -> tuple[Message, ...]:
    found = messages.loaded(raw)
    if isinstance(found, Mapping) and isinstance(found.get("messages"), list):
        found = found["messages"]  # beside the definitions of functions
    return messages.history(found, role=role)


def _tokens(told: Mapping[str, object], keys: tuple[str, ...]) -> int | None:
    return reading.count(messages.first(told, keys))
